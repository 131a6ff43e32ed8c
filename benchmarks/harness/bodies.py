"""The requests that cost a service the most: as large, as deep, as many or as wrong as they come.

`random_request` draws one; `refused` and `accepted` list the worst of each route.
"""

import json
import random
from collections.abc import Iterator, Sequence

MIB = 2**20
Route = tuple[str, str, dict[str, object]]  # path, the field of its texts, what a body needs besides
ROUTES: tuple[Route, ...] = (
    ("/v1/embeddings", "input", {}),
    ("/embed", "inputs", {}),
    ("/", "inputs", {}),
    ("/embed_all", "inputs", {}),
    ("/tokenize", "inputs", {}),
    ("/decode", "ids", {}),
    ("/v2/embed", "texts", {"model": "me5-small", "input_type": "search_query"}),
    ("/v1/embed", "texts", {"model": "me5-small", "input_type": "search_document"}),
    ("/v1/score", "documents", {"queries": ["a"], "details": True}),
    ("/v1/score", "queries", {"documents": ["a"]}),
    ("/similarity", "inputs", {}),
    ("/api/embed", "input", {"model": "me5-small"}),
)
SEARCH = ("/v1/search", "query", {})  # where there is a store
RERANK: tuple[Route, ...] = (  # where there is a reranker
    ("/rerank", "texts", {"query": "a"}),
    ("/v1/rerank", "documents", {"query": "a"}),
    ("/v2/rerank", "documents", {"query": "a"}),
)
FIELDS = (
    "model", "side", "task", "input_type", "prompt_name", "truncate", "truncation", "truncation_direction", "normalize",
    "dimensions", "encoding_format", "embedding_types", "output_dimension", "priority", "max_tokens", "user", "images",
    "parameters", "add_special_tokens", "skip_special_tokens", "details", "k", "language", "source", "filter", "hybrid",
    "weight", "highlight", "inputs", "input", "texts", "ids", "queries", "documents", "query",
)  # fmt: skip
# Of a string, what stands again and again between its quotes, as JSON.
LETTERS = (
    b" a", b"a", b" ", b"a b\\n", "南".encode(), "。".encode(), "\u200b".encode(), "\U0001f469\u200d".encode(), b'\\"',
    b"\\\\", b"\\u0041", "e\u0301".encode(), b", ", b"x1 ", "\ufdfa".encode(), b"{[,",
    b"<s>",
)  # fmt: skip
ITEMS = (b"1", b"null", b"true", b'""', b'"a"', b"[]", b"{}", b"1e400", b"[1]", b'{"a":1}', b"-1", b'"float"', b"49998")
SINGLES = (b"9" * 5000, b"1e400", b"-0.0", b"null", b"{}", b"[]", b'"\\u0000"', b"1" + b"0" * 400, b"false")


def string(letters: bytes, size: int) -> bytes:
    """A JSON string of about so many bytes."""
    return b'"' + letters * max(1, size // len(letters)) + b'"'


def many(item: bytes, size: int) -> bytes:
    """A JSON list of about so many bytes."""
    count = max(1, size // (len(item) + 1))
    return b"[" + (item + b",") * (count - 1) + item + b"]"


def nested(size: int) -> bytes:
    """Lists in lists."""
    return b"[" * (size // 2) + b"]" * (size // 2)


def unknown(size: int) -> bytes:
    """Fields that nobody knows, as the inside of an object."""
    return b",".join(b'"f%d":%d' % (at, at) for at in range(max(1, size // 16)))


def body(fields: dict[str, bytes], more: bytes = b"") -> bytes:
    """A JSON object of fields that are JSON already."""
    inside = [json.dumps(name).encode() + b":" + value for name, value in fields.items()]
    return b"{" + b",".join([*inside, *([more] if more else [])]) + b"}"


def needed(path: str, name: str, besides: dict[str, object]) -> dict[str, bytes]:
    """The fields of the smallest body that a route takes."""
    texts: object = {"/decode": [[5]], "/v1/search": "a"}.get(path, ["a"])
    if path == "/similarity":
        texts = {"source_sentence": "a", "sentences": ["b"]}
    return {key: json.dumps(value).encode() for key, value in {**besides, name: texts}.items()}


def random_request(
    rng: random.Random, routes: Sequence[Route] = ROUTES, largest: int = 16 * MIB - 1000, skew: float = 1.0
) -> tuple[str, bytes]:
    """(path, body) of one of the worst requests.

    Sizes are spread evenly over the powers of two; with a skew above 1 small ones are more frequent: a share of
    1 - 0.8 ** (1 / skew) is larger than a megabyte.
    """
    path, name, besides = rng.choice(routes)
    size = min(largest, int(2 ** (4 + 20.1 * rng.random() ** skew)))
    fields = needed(path, name, besides)
    kind = rng.randrange(8)
    if kind == 0:
        fields[name] = string(rng.choice(LETTERS), size)
    elif kind == 1:
        fields[name] = many(string(rng.choice(LETTERS), int(size ** rng.uniform(0, 1))), size)
    elif kind == 2:
        fields[name] = many(rng.choice(ITEMS), size)
    elif kind == 3:
        fields[rng.choice(FIELDS)] = many(rng.choice(ITEMS), size)
    elif kind == 4:
        fields[rng.choice(FIELDS)] = string(rng.choice(LETTERS), size)
    elif kind == 5:
        fields[rng.choice((name, *FIELDS))] = rng.choice((nested(min(size, MIB)), *SINGLES))
    elif kind == 6:
        return path, body(fields, unknown(min(size, 4 * MIB)))
    else:
        fields |= {"side": b'"query"', "task": string(b"word ", min(size, 1000 * rng.choice((1, 40))))}
        fields[name] = many(string(b"a b ", 8), min(size, 20_000))
    for option in rng.sample(("truncation", "truncate"), rng.randrange(2)):
        fields[option] = rng.choice((b'"chunk"', b'"start"', b'"START"', b"true", b'"error"'))
    return path, body(fields)


def refused_anywhere(route: Route, size: int) -> Iterator[tuple[str, str, bytes]]:
    """(what, path, body) of what any route of texts refuses."""
    path, name, besides = route
    small = needed(path, name, besides)
    for item in (b"1", b"[]", b"{}", b"null"):
        if not (path == "/decode" or (item == b"1" and name == "inputs")):  # token ids
            yield f"wrong items {item.decode()}", path, body({**small, name: many(item, size)})
    yield "unknown fields", path, body(small, unknown(size))
    yield "nesting", path, body({**small, name: nested(size)})
    yield "values", path, body({**small, "user": many(b"1", size)})


def refused_by_rerankers(size: int = MIB) -> Iterator[tuple[str, str, bytes]]:
    """(what, path, body) of the worst requests that no route of a reranker takes."""
    for route in RERANK:
        yield from refused_anywhere(route, size)
        path, name, _ = route
        yield "a long query", path, body({"query": string(b" a", size), name: many(b'"a"', 16 * 4)})


def refused(size: int = MIB) -> Iterator[tuple[str, str, bytes]]:
    """(what, path, body) of the worst requests that no route takes, but for those of rerankers."""
    for path, name, besides in ROUTES:
        small = needed(path, name, besides)
        yield from refused_anywhere((path, name, besides), size)
        if path == "/decode":  # which has no other field
            continue
        yield "a long task", path, body({**small, "task": string(b"word ", size), "side": b'"query"'})
        if path != "/similarity":  # which looks at no model
            yield "a long name", path, body({**small, "model": string(b"a", size)})
        yield "a huge number", path, body({**small, "dimensions": b"9" * 5000, "k": b"9" * 5000, "task": b"9" * 5000})
    cohere = {"model": b'"me5-small"', "input_type": b'"search_query"'}
    for item in (b"1", b'"float"', b"null"):
        yield "embedding types", "/v2/embed", body({**cohere, "texts": b'["a"]', "embedding_types": many(item, size)})
    yield "inputs of Cohere's", "/v2/embed", body({**cohere, "inputs": many(b"1", size)})
    yield "contents of Cohere's", "/v2/embed", body({**cohere, "inputs": many(b'{"content":[{"type":"text"}]}', size)})
    for path in ("/similarity", "/"):
        yield "sentences", path, body({"inputs": body({"source_sentence": b'"a"', "sentences": many(b"1", size)})})
    long_task = {"task": string(b"word ", 100_000), "side": b'"query"'}
    yield "a task for each text", "/v1/embeddings", body({**long_task, "input": many(b'"a"', 8192)})
    yield "too many tokens told", "/tokenize", body({"inputs": string(b" a", size)})
    details = {"queries": b'["a"]', "details": b"true"}
    yield "too many tokens told", "/v1/score", body({**details, "documents": many(string(b" a", size // 4), size)})
    yield "too many characters", "/embed", body({"inputs": string(b" a", 4 * size), "truncate": b"false"})
    chunked = {"input": string(b" a", 8 * size), "truncation": b'"chunk"'}
    yield "too many characters", "/v1/embeddings", body(chunked)
    yield "no place to cut", "/v1/embeddings", body({"input": string(b"a", size)})
    yield "too many ids", "/decode", body({"ids": many(b"[49998,5]", size)})


def accepted(size: int = MIB) -> Iterator[tuple[str, str, bytes]]:
    """(what, path, body) of the worst requests that are answered, without those that only keep the engine busy."""
    for path, name, besides in ROUTES:
        if path in ("/v1/embeddings", "/embed", "/v2/embed"):
            for letters in (b" a", "南瓜 a\\n".encode()):
                yield "a long text", path, body({**needed(path, name, besides), name: many(string(letters, size), 1)})
    start = {"input": string(b" a", size), "truncation": b'"start"'}
    yield "a long text from its end", "/v1/embeddings", body(start)
    yield "special tokens as text", "/v1/embeddings", body({"input": string(b"<s>", 250_000)})
    yield "many texts", "/v1/embeddings", body({"input": many(b'"a"', 4 * 500)})
    task = {"task": string(b"word ", 1000), "side": b'"query"'}
    yield "the longest task", "/v1/embeddings", body({**task, "input": many(b'"a"', 4 * 20)})
    yield "tokens told", "/tokenize", body({"inputs": string(b" a", 60_000)})
    details = {"queries": b'["a"]', "details": b"true"}
    yield "tokens told", "/v1/score", body({**details, "documents": many(string(b" a", 600), 10 * 600)})
    yield "ids", "/decode", body({"ids": many(b"49998", 6 * 200_000)})
    yield "states", "/embed_all", body({"inputs": many(string(b" a", 1000), 4000)})
