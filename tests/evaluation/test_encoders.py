"""Every kind of model under test: prompts on the right side, the cache, services that fail, reduced vectors."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest

from me5 import Embedder, EngineError, InputError, Me5Error
from me5.errors import ServiceError
from me5.evaluation.encoders import open_encoder
from me5.evaluation.encoders.base import Float32, Prompt, unit
from me5.evaluation.encoders.cached import CachedEncoder
from me5.evaluation.encoders.checkpoint import CheckpointEncoder
from me5.evaluation.encoders.endpoint import EndpointEncoder
from me5.evaluation.encoders.reduced import ReducedEncoder, Reduction
from me5.prompts import E5_PREFIX, INSTRUCT

QUERY = Prompt("query", None, "query: ")


class Recording:
    """Made-up vectors; remembers every text that it was asked for."""

    name = "recording"

    def __init__(self, fingerprint: str = "f" * 32, dim: int = 4) -> None:
        self.fingerprint, self.dim = fingerprint, dim
        self.asked: list[str] = []

    def prompt(self, side: str, task: str) -> Prompt:
        return QUERY

    def embed(self, texts: list[str], prompt: Prompt, advance: object = None) -> Float32:
        self.asked += [prompt.text + text for text in texts]
        rows = [np.random.default_rng(list(map(ord, prompt.text + text))).random(self.dim) for text in texts]
        return unit(rows, len(texts), self.name)


def test_checkpoints_read_the_prompt_to_the_letter(embedder: Embedder) -> None:
    encoder = CheckpointEncoder(embedder)
    asked = encoder.prompt("query", "web-search")
    assert asked.task == "Given a web search query, retrieve relevant passages that answer the query"
    assert np.array_equal(encoder.embed(["tall"], asked), embedder.encode_query(["tall"]))
    bare = encoder.embed(["tall"], Prompt("query", None, ""))
    assert np.array_equal(bare, embedder.encode_document(["tall"]))
    assert encoder.embed([], asked).shape == (0, embedder.dim)


def test_fingerprints_tell_weights_and_precision_apart(embedder: Embedder, xlmr: Path) -> None:
    tiny = Embedder.load(xlmr, precision="f32", prompts="none")
    other = Embedder.load(xlmr, precision="int8", prompts="none")
    found = {CheckpointEncoder(one).fingerprint for one in (embedder, tiny, other)}
    assert len(found) == 3
    assert CheckpointEncoder(tiny).fingerprint in found


def test_cache_gives_back_the_very_vectors_and_asks_once(tmp_path: Path) -> None:
    inner = Recording()
    texts = ["a", "b", "a", "c"]
    first = CachedEncoder(inner, tmp_path).embed(texts, QUERY)
    assert inner.asked == ["query: a", "query: b", "query: c"]
    again = CachedEncoder(inner, tmp_path).embed([*texts, "d"], QUERY)
    assert np.array_equal(again[:4], first)
    assert np.array_equal(first, Recording().embed(texts, QUERY))
    assert inner.asked[3:] == ["query: d"]
    CachedEncoder(inner, tmp_path).embed(["a"], Prompt("document", None, ""))
    assert inner.asked[4:] == ["a"]
    # Prompt and text are told apart, whatever they read together.
    CachedEncoder(inner, tmp_path).embed(["y: a"], Prompt("query", None, "quer"))
    assert inner.asked[5:] == ["query: a"]
    other = Recording("0" * 32)
    CachedEncoder(other, tmp_path).embed(["a"], QUERY)
    assert other.asked == ["query: a"]


def test_a_broken_cache_is_named(tmp_path: Path) -> None:
    path = CachedEncoder(Recording(), tmp_path).path
    for file in tmp_path.iterdir():
        file.write_bytes(b"no database" * 99)
    with pytest.raises(InputError, match=rf"the vector cache .*{path.name} cannot be used"):
        CachedEncoder(Recording(), tmp_path).embed(["a"], QUERY)


KILLED = """
    import os, sys, time
    from pathlib import Path
    import numpy as np
    from me5.evaluation.encoders import cached
    from me5.evaluation.encoders.base import Prompt
    cached._STEP = 10

    class Slow:
        name, fingerprint, steps = "slow", "f" * 32, 0
        def embed(self, texts, prompt, advance=None):
            Slow.steps += 1
            if Slow.steps == 6:
                print("now", flush=True)
                time.sleep(60)
            return np.full((len(texts), 4), 0.5, np.float32)

    encoder = cached.CachedEncoder(Slow(), Path(sys.argv[1]))
    encoder.embed([str(at) for at in range(100)], Prompt("query", None, ""))
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    inner = Recording()
    inner.name = "slow"
    CachedEncoder(inner, tmp_path).embed([str(at) for at in range(100)], Prompt("query", None, ""))
    assert inner.asked == [str(at) for at in range(50, 100)]


def serving(answer: Callable[[dict, int], httpx2.Response]) -> tuple[httpx2.MockTransport, list[httpx2.Request]]:
    """A service that answers by (body, number of the request)."""
    requests: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return answer(json.loads(request.content), len(requests))

    return httpx2.MockTransport(handle), requests


def vectors_of(texts: list[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


def openai(body: dict, _: int) -> httpx2.Response:
    data = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors_of(body["input"]))]
    return httpx2.Response(200, json={"data": data[::-1], "model": body["model"]})


def tei(body: dict, _: int) -> httpx2.Response:
    return httpx2.Response(200, json=vectors_of(body["inputs"]))


def test_both_dialects_carry_the_prompt_in_the_text() -> None:
    texts = [f"{'x' * at}" for at in range(70)]  # three requests
    for url, answer, path in (
        ("http://h:1/v1#intfloat/multilingual-e5-small", openai, "/v1/embeddings"),
        ("http://h:1", tei, "/embed"),
    ):
        transport, requests = serving(answer)
        encoder = EndpointEncoder(url, prompts=E5_PREFIX, key="secret", transport=transport)
        found = encoder.embed(texts, encoder.prompt("document", "sts"))
        expected = unit(vectors_of([f"passage: {text}" for text in texts]), 70, "")
        assert np.allclose(found, expected)
        assert {request.url.path for request in requests} == {path}
        assert requests[0].headers["authorization"] == "Bearer secret"
    assert EndpointEncoder("http://h/v1#multilingual-e5-small").prompt("query", "sts").text == "query: "
    assert EndpointEncoder("http://h", prompts=INSTRUCT).prompt("document", "sts").text == ""


def test_refused_requests_are_repeated_when_the_service_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    replies = [
        httpx2.Response(429, headers={"retry-after": "7"}),
        httpx2.Response(503, headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        httpx2.Response(500),
    ]
    transport, _ = serving(lambda body, number: replies[number - 1] if number <= 3 else tei(body, number))
    encoder = EndpointEncoder("http://h", prompts=E5_PREFIX, transport=transport)
    assert encoder.embed(["a"], QUERY).shape == (1, 2)
    assert [record.levelname for record in caplog.records if record.name == "me5.client"] == ["WARNING"] * 3
    assert 7 <= waits[0] <= 7 * 1.5
    assert 0.5 <= waits[1] <= 0.5 * 1.5  # its date is long gone
    assert 1 <= waits[2] <= 1.5


def test_what_cannot_be_helped_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)

    def failing(answer: Callable[[dict, int], httpx2.Response], url: str = "http://h") -> Me5Error:
        transport, _ = serving(answer)
        with pytest.raises(Me5Error) as caught:
            EndpointEncoder(url, prompts=E5_PREFIX, transport=transport).embed(["a", "b"], QUERY)
        return caught.value

    error = failing(lambda *_: httpx2.Response(401, text="bad key"))
    assert isinstance(error, ServiceError)
    assert (error.status, error.tries) == (401, 1)
    error = failing(lambda *_: httpx2.Response(503))
    assert isinstance(error, ServiceError)
    assert (error.status, error.tries) == (503, 6)
    assert "is not JSON" in str(failing(lambda *_: httpx2.Response(200, text="hello")))
    assert "without data" in str(failing(lambda *_: httpx2.Response(200, json={}), "http://h/v1"))
    assert "mixed dimensions" in str(failing(lambda *_: httpx2.Response(200, json=[[1.0], [1.0, 2.0]])))
    assert "for 2 texts" in str(failing(lambda *_: httpx2.Response(200, json=[[1.0, 2.0]])))
    assert "zero or not finite" in str(failing(lambda *_: httpx2.Response(200, json=[[0.0], [1.0]])))


def test_reduced_vectors() -> None:
    vectors = unit(np.random.default_rng(1).standard_normal((40, 64)), 40, "")
    halved = Reduction(32).apply(vectors)
    assert np.allclose(halved, unit(vectors[:, :32], 40, ""))
    int8 = Reduction(64, "int8").apply(vectors)
    assert ((int8 * vectors).sum(axis=1) > 0.9995).all()
    binary = Reduction(64, "binary").apply(vectors)
    differing = ((vectors[0] > 0) != (vectors[1] > 0)).sum()
    assert binary[0] @ binary[1] == pytest.approx(1 - 2 * differing / 64, abs=1e-6)
    assert [Reduction(60, kind).bytes_per_vector for kind in ("float32", "int8", "binary")] == [240, 60, 8]
    with pytest.raises(InputError, match="cannot be cut to 65"):
        ReducedEncoder(Recording(dim=64), Reduction(65)).embed(["a"], QUERY)


@pytest.mark.filterwarnings("ignore")  # the library's own
def test_a_model_of_sentence_transformers_gives_the_checkpoints_vectors(embedder: Embedder, bundled: Path) -> None:
    theirs = open_encoder(f"st:{bundled}")
    ours = CheckpointEncoder(embedder)
    for side in ("query", "document"):
        prompt = theirs.prompt(side, "web-search")
        assert prompt == ours.prompt(side, "web-search")
        texts = ["how tall is K2", "a text"]
        cosines = (theirs.embed(texts, prompt) * ours.embed(texts, prompt)).sum(axis=1)
        assert cosines.min() > 0.9999
    assert theirs.fingerprint != ours.fingerprint


def test_options_that_a_service_cannot_take_are_refused() -> None:
    with pytest.raises(InputError, match="leave --device, --precision, --threads and --revision out"):
        open_encoder("http://h", precision="int8")


def test_vectors_that_are_none() -> None:
    with pytest.raises(EngineError, match="expected \\(2, dim\\)"):
        unit([[1.0]], 2, "x")
