"""Ollama's dialect, field by field, and the log's line about callers that never name a side."""

import json
import logging

import numpy as np
import pytest

from me5 import Embedder
from me5.service.wire.sides import Sides

TEXTS = ["how tall is K2?", "南瓜的家常做法"]


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


def test_vectors_are_those_of_the_model(client):
    name = client.get("/v1/models").json()["data"][0]["id"]
    embedder = Embedder.load(threads=1)
    for model, encode in ((name, embedder.encode_document), (f"{name}:latest", embedder.encode_document),
                          (f"{name}:query", embedder.encode_query)):  # fmt: skip
        reply = client.post("/api/embed", json={"model": model, "input": TEXTS, "keep_alive": "5m", "options": {}})
        body = reply.json()
        np.testing.assert_allclose(body["embeddings"], encode(TEXTS), atol=1e-6)
        assert body["model"] == model
        assert body["prompt_eval_count"] == int(reply.headers["x-me5-tokens"])
        assert body["total_duration"] > body["load_duration"] == 0
        assert reply.headers["x-me5-ignored"] == "keep_alive,options"
    assert len(client.post("/api/embed", json={"model": name, "input": TEXTS[0]}).json()["embeddings"]) == 1


def test_truncation_and_dimensions(client):
    name = client.get("/v1/models").json()["data"][0]["id"]
    long = "one two three " * 600
    cut = client.post("/api/embed", json={"model": name, "input": long, "truncate": True})
    assert cut.headers["x-me5-truncated"] == "1"
    refused = client.post("/api/embed", json={"model": name, "input": long, "truncate": False})
    assert refused.status_code == 400
    assert set(refused.json()) == {"error"}
    short = client.post("/api/embed", json={"model": name, "input": "ok", "dimensions": 8})
    assert "was not trained for" in short.json()["error"]


def test_the_model_is_described(client):
    listed = client.get("/api/tags").json()["models"]
    name = client.get("/v1/models").json()["data"][0]["id"]
    assert [one["name"] for one in listed] == [f"{name}:latest", f"{name}:query", f"{name}:document", f"{name}:both"]
    assert all(one["model"] == one["name"] and one["size"] > 1e6 and len(one["digest"]) == 32 for one in listed)
    for asked in (name, *(one["name"] for one in listed)):
        shown = client.post("/api/show", json={"model": asked}).json()
        assert shown["capabilities"] == ["embedding"]
        assert shown["details"] == listed[0]["details"]
    info, embedder = shown["model_info"], Embedder.load(threads=1)
    family = info["general.architecture"]
    assert info[f"{family}.embedding_length"] == embedder.dim
    assert info[f"{family}.context_length"] == embedder.max_seq_length
    assert shown["details"]["parameter_size"] == f"{info['general.parameter_count'] / 1e6:.0f}M"
    assert client.get("/api/version").json()["version"]
    unknown = client.post("/api/show", json={"model": "llama3"})
    assert (unknown.status_code, list(unknown.json())) == (404, ["error"])


def test_callers_that_never_name_a_side_are_logged_once_each(caplog):
    sides = Sides(matter=True)
    with caplog.at_level(logging.WARNING):
        for caller, named in (("a", False), ("a", False), ("b", True), ("b", False), ("c", False), ("a", True)):
            sides.note(caller, named=named)
        Sides(matter=False).note("d", named=False)
    assert [record.fields["caller"] for record in caplog.records] == ["a", "c"]
    assert "its queries too" in caplog.records[0].message
    for number in range(2000):
        sides.note(f"another {number}", named=True)
    assert len(sides._known) == 1000


def test_the_service_logs_them(launch):
    server = launch()
    with server.client() as client:
        for _ in range(2):
            client.post("/v1/embeddings", json={"input": "a"}).raise_for_status()
        client.post("/v1/score", json={"queries": ["a"], "documents": ["b"]}).raise_for_status()
    (line,) = [line for line in server.log().splitlines() if "a caller names no side" in line]
    assert json.loads(line)["caller"] == "127.0.0.1"
