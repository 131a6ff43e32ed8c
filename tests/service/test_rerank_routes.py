"""`me5 serve --reranker`: TEI's, Cohere's and Jina's requests give the library's scores, within limits."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoints import SENTENCES, XLMR

from me5 import AsyncClient, Client, InputError, Reranker, ServiceError, TruncationWarning

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from harness import bodies

QUERY, DOCUMENTS = SENTENCES[0], list(SENTENCES[1:9])
LONG = " ".join(SENTENCES * 2)


@pytest.fixture(scope="module")
def reranker(build_reranker):
    return Reranker.load(
        build_reranker(XLMR, sbert_ce_default_activation_function="torch.nn.Identity"), precision="f32"
    )


@pytest.fixture(scope="module")
def reranking(launch, xlmr, reranker):
    """A service of a tiny embedding model and a tiny reranker whose own scores are logits."""
    options = ("--prompts", "none", "--precision", "f32", "--max-items", "16", "--max-request-tokens", "6000")
    return launch("--model", str(xlmr), "--reranker", str(reranker.checkpoint.path), *options)


@pytest.fixture
def http(reranking):
    with reranking.client() as client:
        yield client


def test_tei(http, reranker):
    reply = http.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS})
    expected = reranker.rank(QUERY, DOCUMENTS, activation="sigmoid")
    assert [(one["index"], pytest.approx(one["score"])) for one in reply.json()] == [
        (one.index, one.score) for one in expected
    ]
    assert reply.headers["x-compute-type"] == "cpu"
    assert "x-me5-prompt" not in reply.headers
    raw = http.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS, "raw_scores": True, "return_text": True})
    assert [one["text"] for one in raw.json()] == [DOCUMENTS[one.index] for one in expected]
    scores = [one.score for one in reranker.rank(QUERY, DOCUMENTS)]
    np.testing.assert_allclose([one["score"] for one in raw.json()], scores, rtol=1e-6)


def test_tei_cuts_or_refuses(http, reranker):
    texts = ["ok", LONG]
    cut = http.post("/rerank", json={"query": QUERY, "texts": texts})
    assert (cut.headers["x-me5-truncated"], int(cut.headers["x-me5-tokens-lost"]) > 0) == ("1", True)
    refused = http.post("/rerank", json={"query": QUERY, "texts": texts, "truncate": False})
    assert refused.status_code == 422
    assert "pair 1 has" in refused.json()["error"]
    left = http.post("/rerank", json={"query": QUERY, "texts": texts, "truncation_direction": "left"}).json()
    other = Reranker(reranker.checkpoint, reranker.engine, truncation="start")
    with pytest.warns(TruncationWarning):
        expected = other.rank(QUERY, texts, activation="sigmoid")
    assert [one["index"] for one in left] == [one.index for one in expected]
    np.testing.assert_allclose([one["score"] for one in left], [one.score for one in expected], rtol=1e-6)


def test_cohere(reranking, reranker):
    cohere = pytest.importorskip("cohere")
    model = reranker.checkpoint.name
    with cohere.ClientV2(base_url=reranking.url, api_key="any") as client:
        reply = client.rerank(model=model, query=QUERY, documents=DOCUMENTS, top_n=3)
        cut = client.rerank(model=model, query=QUERY, documents=["ok", LONG], max_tokens_per_doc=100)
        with pytest.raises(cohere.NotFoundError, match="there is no model 'other' here"):
            client.rerank(model="other", query=QUERY, documents=DOCUMENTS)
    expected = reranker.rank(QUERY, DOCUMENTS, top=3, activation="sigmoid")
    assert [one.index for one in reply.results] == [one.index for one in expected]
    np.testing.assert_allclose(
        [one.relevance_score for one in reply.results], [one.score for one in expected], rtol=1e-6
    )
    assert reply.meta.billed_units.input_tokens > 100
    assert "pairs longer than 512 tokens were cut: 1 of 2" in cut.meta.warnings[0]
    assert "max_tokens_per_doc" in cut.meta.warnings[1]
    with cohere.Client(base_url=reranking.url, api_key="any") as first:
        documents = [{"text": text} for text in DOCUMENTS]
        older = first.rerank(model=model, query=QUERY, documents=documents, top_n=3, return_documents=True)
    assert [one.document.text for one in older.results] == [DOCUMENTS[one.index] for one in expected]


def test_jina(http, reranker):
    body = {"model": reranker.checkpoint.name, "query": QUERY, "documents": DOCUMENTS, "top_n": 2}
    reply = http.post("/v1/rerank", json={**body, "return_documents": True}).json()
    expected = reranker.rank(QUERY, DOCUMENTS, top=2)
    assert reply["object"] == "list"
    assert reply["model"] == reranker.checkpoint.name
    assert reply["usage"]["total_tokens"] > 100
    assert [one["index"] for one in reply["results"]] == [one.index for one in expected]
    assert [one["document"]["text"] for one in reply["results"]] == [DOCUMENTS[one.index] for one in expected]


def test_our_clients(reranking, reranker):
    expected = reranker.rank(QUERY, DOCUMENTS, top=4)
    with Client(reranking.url) as client:
        ranked = client.rerank(QUERY, DOCUMENTS, top=4, raw=True)
        assert [one.index for one in ranked] == [one.index for one in expected]
        np.testing.assert_allclose([one.score for one in ranked], [one.score for one in expected], rtol=1e-6)
        assert client.rerank(QUERY, []) == []
        with pytest.warns(TruncationWarning, match="were cut: 1 of 1"):
            client.rerank(QUERY, LONG)
        with pytest.raises(InputError, match="document 1 is None"):
            client.rerank(QUERY, ["a", None])

    async def ask():
        async with AsyncClient(reranking.url) as client:
            return await client.rerank(QUERY, DOCUMENTS, top=4, raw=True)

    assert asyncio.run(ask()) == ranked


def test_a_service_without_one_says_so(server):
    with Client(server.url) as client, pytest.raises(ServiceError, match="start the service with --reranker"):
        client.rerank(QUERY, DOCUMENTS)
    with server.client() as http:
        for path in ("/v1/rerank", "/v2/rerank"):
            reply = http.post(path, json={"query": QUERY, "documents": DOCUMENTS})
            assert reply.status_code == 424
            assert "--reranker" in reply.json()["message"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"documents": []}, "`documents` is an empty list"),
        ({"documents": ["a"] * 17}, "at most 16 are read at once"),
        ({"documents": ["a", ""]}, "empty string, item 1"),
        ({"documents": [{"title": "a"}]}, "item 0 is null"),
        ({"documents": {"a": 1}}, "should be a list of strings"),
        ({"documents": ["a"], "query": ""}, "`query`"),
        ({"documents": ["a"], "top_n": 0}, "`top_n`"),
        ({"documents": [LONG] * 15}, "the service takes 6,000"),
        ({"documents": ["a"] * 16, "query": "a " * 5000}, "characters would have to be read"),
    ],
)
def test_what_cannot_be_read_is_named(http, fields, said):
    reply = http.post("/v2/rerank", json={"query": QUERY, **fields})
    assert reply.status_code == 400
    assert said in reply.json()["message"]


def test_both_workers_count_for_health_and_one_does_not_stop_the_other(http):
    assert http.get("/health").status_code == 200
    assert http.post("/embed", json={"inputs": DOCUMENTS}).status_code == 200
    document = http.get("/openapi.json").json()
    assert {"/rerank", "/v1/rerank", "/v2/rerank"} <= set(document["paths"])


def test_a_model_that_is_no_reranker_is_refused(xlmr):
    import subprocess
    import sys

    command = [sys.executable, "-m", "me5", "serve", "--port", "0", "--model", str(xlmr), "--reranker", str(xlmr)]
    done = subprocess.run([*command, "--prompts", "none"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 3
    assert "is not a cross-encoder" in done.stdout + done.stderr


def test_the_worst_bodies_are_refused_in_few_words(http):
    for what, path, body in bodies.refused_by_rerankers():
        reply = http.post(path, content=body, headers={"content-type": "application/json"})
        assert reply.status_code in (400, 422), (what, path, reply.status_code, reply.text[:300])
        assert len(reply.content) < 1000, (what, path)
        assert http.get("/health").status_code == 200, (what, path)
