"""What a request may cost: each route's worst bodies, and the service lives, answers /health and gives memory back.

benchmarks/harness/bodies.py makes the bodies, and benchmarks/hostile.py sends thousands at random.
"""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
from test_pipeline import inputs, run

from me5 import InputError
from me5.service.errors import FieldError, Overloaded
from me5.service.pipeline import COUNTED_CHARS, MAX_LISTED_TOKENS
from me5.service.wire.reading import MAX_TASK_CHARS
from me5.service.wire.routing import MAX_FIELDS, _parsed

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import hostile
from harness import bodies

# Far more than the 0.25 s that are wanted: a busy machine is no fault.
HEALTH_S = 10.0
GROWTH = 200 * 2**20
COHERE = {"model": "me5-small", "input_type": "search_query", "texts": ["a"]}
TYPED = {"content-type": "application/json"}


def post(client, path, body):
    return client.post(path, content=body if isinstance(body, bytes) else json.dumps(body), headers=TYPED)


def restarts(client):
    return re.search(r"^me5_worker_restarts_total (\S+)$", client.get("/metrics").text, re.MULTILINE)[1]


def test_the_worst_bodies_of_every_route(launch):
    server = launch("--no-page")
    with server.client() as client:
        assert post(client, "/v1/embeddings", {"input": ["a b"] * 200}).status_code == 200
        # What is opened once, when it is first needed: the library that lists tokens has the vocabulary once more.
        assert post(client, "/tokenize", {"inputs": "a b"}).status_code == 200
        with hostile.Watch(server.url) as watch:
            for what, path, body in bodies.refused():
                reply = post(client, path, body)
                assert reply.status_code in (400, 404, 422), (what, path, reply.status_code, reply.text[:300])
                assert len(reply.content) < 1000, (what, path)
            for what, path, body in bodies.accepted():
                reply = post(client, path, body)
                assert reply.status_code == 200, (what, path, reply.status_code, reply.text[:300])
        assert restarts(client) == "0.0"
        final = hostile.resident(server.url)
    assert not watch.failures
    assert max(watch.seconds) < HEALTH_S
    for sizes in (watch.most, final):
        grown = [(late - early) >> 20 for early, late in zip(watch.first, sizes, strict=True)]
        assert max(grown) < GROWTH >> 20, (watch.first, watch.most, final)


TOO_MUCH = (
    (
        "/v1/embeddings",
        {"input": ["a"], "side": "query", "task": "word " * 201},
        f"at most {MAX_TASK_CHARS} characters",
    ),
    ("/embed", {"inputs": "a", "prompt_name": "word " * 201}, f"at most {MAX_TASK_CHARS} characters"),
    ("/v1/score", {"queries": ["a"], "documents": ["b"], "task": "w" * 1001}, f"at most {MAX_TASK_CHARS} characters"),
    ("/v1/embeddings", {"input": "a", **{f"f{at}": 0 for at in range(100)}}, f"101 fields, at most {MAX_FIELDS}"),
    ("/v1/embeddings", {"input": [1] * 320_000}, "values or more, at most 316,384"),
    ("/v2/embed", {**COHERE, "embedding_types": [1] * 9}, "types.0`"),
    ("/v2/embed", {**COHERE, "embedding_types": ["int8"] * 9}, "at most 6"),
    (
        "/tokenize",
        {"inputs": [" a" * 20_000] * 2},
        f"more than the {MAX_LISTED_TOKENS:,} tokens that are listed at once",
    ),
    ("/tokenize", {"inputs": "\ufdfa" * 20_000}, "more than the 262,144 characters that are read, once those"),
    ("/tokenize", {"inputs": "a" * 300_000}, f"at most {COUNTED_CHARS:,} are read"),
    ("/decode", {"ids": [[5] * 290_000, [5] * 20_000]}, "310,000 token ids, the service takes 300,000"),
    ("/decode", {"ids": [[5]] * 2049}, "2,049 items, at most 2,048"),
    ("/embed", {"inputs": [[5], "a"] * 1025}, "2,050 items, at most 2,048"),
    ("/embed_all", {"inputs": ["a b c " * 200] * 30}, "the service takes 16,777,216"),
    ("/v1/embeddings", {"input": " a" * 2_000_000, "truncation": "chunk"}, "more than 2,400,000 characters"),
)


@pytest.mark.parametrize(("path", "fields", "said"), TOO_MUCH, ids=[f"{path} {said}" for path, _, said in TOO_MUCH])
def test_what_is_too_much_is_told(client, path, fields, said):
    reply = post(client, path, fields)
    assert reply.status_code in (400, 422), reply.text[:500]
    assert said in reply.text
    assert len(reply.content) < 1000


def test_names_of_ignored_fields_are_short(client):
    reply = post(client, "/v1/embeddings", {"input": "a", "f" * 100_000: 1})
    assert reply.json()["me5"]["ignored"] == ["f" * 57 + "..."]


def test_a_book_is_cut_before_it_is_tokenized_and_the_reply_says_so(client):
    book = " a" * 1_000_000
    reply = post(client, "/v1/embeddings", {"input": ["a", book]})
    notes = reply.json()["me5"]
    assert (notes["tokens"][0], notes["lost"][0]) == (3, 0)
    assert notes["tokens"][1] - notes["lost"][1] == 512
    assert 512 < notes["tokens"][1] < 10_000
    assert "are lower bounds" in notes["warnings"][0]
    assert "are lower bounds" in reply.headers["x-me5-warning"]
    exact = post(client, "/v1/embeddings", {"input": book[:200_000]}).json()["me5"]
    assert (exact["tokens"], exact["lost"], exact["warnings"]) == ([100_002], [99_490], [])


def test_keys_are_told_what_they_may_and_pay_on_every_route(launch):
    with launch("--no-page", "--key-tokens-per-minute", "60", keys="a,b,c,d").client() as client:

        def left(key, path, **fields):
            reply = client.post(path, json=fields, headers={"authorization": f"Bearer {key}"})
            assert reply.headers["x-ratelimit-limit-tokens"] == "60"
            assert re.fullmatch(r"\d+ms|[\d.]+s|1m0s", reply.headers["x-ratelimit-reset-tokens"])
            return reply.status_code, int(reply.headers["x-ratelimit-remaining-tokens"])

        for key, path, fields in (
            ("a", "/v1/embeddings", {"input": " a" * 55}),
            ("b", "/tokenize", {"inputs": " a" * 55}),
            ("c", "/decode", {"ids": [5] * 57}),
        ):
            status, remaining = left(key, path, **fields)
            assert status == 200
            assert remaining < 57, path
            assert left(key, path, **fields)[0] == 429, path
        assert left("d", "/v1/embeddings", input=" a" * 80)[0] == 400  # which never fits
        assert left("d", "/v1/embeddings", input=3) == (400, 60)


class Purse:
    """An allowance that only counts."""

    most = 10**9
    used = 0

    def take(self, tokens):
        self.used += tokens

    def give_back(self, tokens):
        self.used -= tokens


def test_what_the_engine_took_is_paid_by_who_hung_up():
    async def use(pipeline):
        purse = Purse()
        asked = asyncio.create_task(pipeline.embed(inputs(pipeline, ["one"] * 2000, allowance=purse)))
        while not pipeline.load().running:
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert 0 < purse.used < 2000 * 3
        late = Purse()
        with pytest.raises(InputError, match="send fewer texts"):
            await pipeline.embed(inputs(pipeline, [" a" * 400] * 2000, allowance=late))
        assert late.used == 0, "what is refused costs nothing"

    run(use, opener="engines:slow_as_wide")


def test_one_caller_s_books_leave_room_for_others():
    book = " a b c" * 30_000  # read whole as chunks

    async def use(pipeline):
        book_inputs = inputs(pipeline, [book], "query", truncation="chunk", caller="greedy")
        greedy = [asyncio.create_task(pipeline.embed(book_inputs)) for _ in range(4)]
        await asyncio.sleep(0)
        answer = await pipeline.embed(inputs(pipeline, ["how tall is K2?"], caller="polite"))
        assert answer.usage.tokens[0] > 3
        results = await asyncio.gather(*greedy, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Overloaded)]
        assert refused
        assert all(error.retry_after >= 1 for error in refused)

    run(use, opener="engines:fake", max_queue_tokens=100_000, max_request_tokens=100_000)


@pytest.mark.parametrize(
    ("body", "most"),
    [
        (b'{"a":"' + b"," * 1000 + b'"}', 5),
        (b'{"a":"' + b'\\",[' * 500 + b'"}', 5),
        (b'{"a":"\\\\","b":[1,2]}', 5),
        (json.dumps({"a": ["\\", '"', ",", "[{"]}).encode(), 6),
    ],
)
def test_commas_within_strings_are_no_values(body, most):
    assert _parsed(body, most) == json.loads(body)


@pytest.mark.parametrize(
    "body", [b"[" * 50, b"[" + b"1," * 50, b'{"a":[' * 50, b"[" + b'"",' * 50, b'["\\\\",' + b"[]," * 50]
)
def test_too_many_values_are_refused_before_they_are_made(body):
    with pytest.raises(FieldError, match="at most 20 are read"):
        _parsed(body, 20)
