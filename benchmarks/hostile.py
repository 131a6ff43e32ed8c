"""Send `me5 serve` the requests that cost the most, at random, and watch what they cost.

    python benchmarks/hostile.py                        # 2,000 requests, a few minutes
    python benchmarks/hostile.py --requests 100000 --clients 8

Starts a service of the bundled model (or asks the one at --url), sends every route bodies that are as large, as deep,
as many or as wrong as they come, and asks /health all the while. A client hangs up after --patience seconds, as hostile
ones do. Prints counts by status, percentiles of /health, and the memory of both processes before, at most, and after.
Ends with status 1 where a reply was a 500, the worker was restarted, or the service is gone. tests/service/test_cost.py
holds the worst bodies against limits.
"""

import argparse
import contextlib
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

MIB = 2**20
GAVE_UP = "gave up"
Route = tuple[str, str, dict[str, object]]  # path, the field of its texts, what a body needs besides
ROUTES: tuple[Route, ...] = (
    ("/v1/embeddings", "input", {}),
    ("/embed", "inputs", {}),
    ("/", "inputs", {}),
    ("/embed_all", "inputs", {}),
    ("/tokenize", "inputs", {}),
    ("/decode", "ids", {}),
    ("/v2/embed", "texts", {"model": "me5-mini", "input_type": "search_query"}),
    ("/v1/embed", "texts", {"model": "me5-mini", "input_type": "search_document"}),
    ("/v1/score", "documents", {"queries": ["a"], "details": True}),
    ("/v1/score", "queries", {"documents": ["a"]}),
    ("/similarity", "inputs", {}),
)
SEARCH = ("/v1/search", "query", {})  # where there is a store
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
    rng: random.Random, routes: Sequence[Route] = ROUTES, largest: int = 16 * MIB - 1000
) -> tuple[str, bytes]:
    """(path, body) of one of the worst requests; sizes are spread evenly over the powers of two."""
    path, name, besides = rng.choice(routes)
    size = min(largest, int(2 ** rng.uniform(4, 24.1)))
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


def refused(size: int = MIB) -> Iterator[tuple[str, str, bytes]]:
    """(what, path, body) of the worst requests that no route takes."""
    for path, name, besides in ROUTES:
        small = needed(path, name, besides)
        for item in (b"1", b"[]", b"{}", b"null"):
            if not (path == "/decode" or (item == b"1" and name == "inputs")):  # token ids
                yield f"wrong items {item.decode()}", path, body({**small, name: many(item, size)})
        yield "unknown fields", path, body(small, unknown(size))
        yield "nesting", path, body({**small, name: nested(size)})
        yield "values", path, body({**small, "user": many(b"1", size)})
        if path == "/decode":  # which has no other field
            continue
        yield "a long task", path, body({**small, "task": string(b"word ", size), "side": b'"query"'})
        if path != "/similarity":  # which looks at no model
            yield "a long name", path, body({**small, "model": string(b"a", size)})
        yield "a huge number", path, body({**small, "dimensions": b"9" * 5000, "k": b"9" * 5000, "task": b"9" * 5000})
    cohere = {"model": b'"me5-mini"', "input_type": b'"search_query"'}
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
    yield "many texts", "/v1/embeddings", body({"input": many(b'"a"', 4 * 500)})
    task = {"task": string(b"word ", 1000), "side": b'"query"'}
    yield "the longest task", "/v1/embeddings", body({**task, "input": many(b'"a"', 4 * 20)})
    yield "tokens told", "/tokenize", body({"inputs": string(b" a", 60_000)})
    details = {"queries": b'["a"]', "details": b"true"}
    yield "tokens told", "/v1/score", body({**details, "documents": many(string(b" a", 600), 10 * 600)})
    yield "ids", "/decode", body({"ids": many(b"49998", 6 * 200_000)})
    yield "states", "/embed_all", body({"inputs": many(string(b" a", 1000), 4000)})


@dataclass
class Watch:
    """/health and the memory of the processes, looked at until `over` is set. Bytes are (HTTP process, worker)."""

    url: str
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    first: tuple[int, int] = (0, 0)
    most: tuple[int, int] = (0, 0)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self.first = self.most = resident(self.url)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self.over.wait(0.2):
            began = time.perf_counter()
            try:
                status, _ = get(f"{self.url}/health")
                if status != 200:
                    self.failures.append(f"status {status}")
                self.seconds.append(time.perf_counter() - began)
                self.most = tuple(map(max, zip(self.most, resident(self.url), strict=True)))
            except OSError as error:
                self.failures.append(repr(error))

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share of the looks at /health was answered."""
        ordered = sorted(self.seconds) or [0.0]
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def get(url: str) -> tuple[int, str]:
    """(status, text)."""
    try:
        with urllib.request.urlopen(url, timeout=600) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def resident(url: str) -> tuple[int, int]:
    """Bytes in memory of the HTTP process and of the worker."""
    text = get(f"{url}/metrics")[1]
    names = ("process_resident_memory_bytes", "me5_worker_process_resident_memory_bytes")
    first, second = (int(metric(text, name)) for name in names)
    return first, second


def post(url: str, path: str, content: bytes, patience: float = 600) -> tuple[int | str, str]:
    """(status, the reply's beginning); `GAVE_UP` after the seconds of patience; else the name of the error."""
    request = urllib.request.Request(f"{url}{path}", content, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=patience) as reply:
            return reply.status, reply.read(2000).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(2000).decode("utf-8", "replace")
    except TimeoutError:
        return GAVE_UP, ""
    except OSError as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            return GAVE_UP, ""
        return type(error).__name__, str(error)


def failed(status: int | str) -> bool:
    """Whether that is no answer that a service may give."""
    return status == 500 or (isinstance(status, str) and status != GAVE_UP)


def send(
    url: str, requests: int, clients: int, patience: float, seed: int, told: Callable[[str], None]
) -> Counter[int | str]:
    """Send random requests from several threads; counts by status."""
    counts: Counter[int | str] = Counter()
    routes = (*ROUTES, SEARCH) if SEARCH[0] in get(f"{url}/openapi.json")[1] else ROUTES
    numbers, lock, began = iter(range(requests)), threading.Lock(), time.monotonic()

    def client() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            path, content = random_request(random.Random(seed * 1_000_003 + number), routes)
            status, text = post(url, path, content, patience)
            with lock:
                counts[status] += 1
                if failed(status):
                    told(f"request {number}, {path}, {len(content):,} bytes: {status} {text[:200]}")
                if sum(counts.values()) % 100 == 0:
                    told(f"{sum(counts.values()):,} requests, {time.monotonic() - began:.0f} s: {dict(counts)}")

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def started() -> tuple[subprocess.Popen[bytes], str]:
    """A service of its own on a free port, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "me5", "serve", "--port", str(port), "--threads", "1", "--log-level", "error"]
    process, url = subprocess.Popen(command, stdin=subprocess.DEVNULL), f"http://127.0.0.1:{port}"
    while process.poll() is None:
        with contextlib.suppress(OSError):
            if get(f"{url}/health")[0] == 200:
                return process, url
        time.sleep(0.2)
    raise SystemExit("the service did not start")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--patience", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--url", help="a running service; without it, one is started")
    asked = parser.parse_args()
    process, url = (None, asked.url) if asked.url else started()
    try:
        with Watch(url) as watch:
            counts = send(
                url, asked.requests, asked.clients, asked.patience, asked.seed, lambda line: print(line, flush=True)
            )
        time.sleep(1)
        restarts = metric(get(f"{url}/metrics")[1], "me5_worker_restarts_total")
        after = resident(url)
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    result = {
        "requests": asked.requests,
        "statuses": {str(status): count for status, count in sorted(counts.items(), key=str)},
        "health_ms": {
            name: round(watch.percentile(share)) for name, share in (("p50", 0.5), ("p99", 0.99), ("most", 1))
        },
        "health_failures": watch.failures[:5],
        "mib": {
            name: [round(size / MIB) for size in sizes]
            for name, sizes in (("before", watch.first), ("most", watch.most), ("after", after))
        },
        "worker_restarts": restarts,
    }
    print(json.dumps(result, indent=1))
    bad = restarts or watch.failures or any(map(failed, counts))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
