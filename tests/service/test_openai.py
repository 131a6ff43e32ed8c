"""OpenAI's dialect, field by field: what `openai`'s own clients do with it is in test_others.py."""

import base64

import numpy as np
import pytest

from me5 import Embedder

TEXTS = ["how tall is K2?", "南瓜的家常做法"]
LONG = "one two three four five " * 300


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load()


def ask(client, **fields):
    return client.post("/v1/embeddings", json={"input": TEXTS, **fields})


def vectors(reply):
    assert reply.status_code == 200, reply.text[:500]
    return np.array([item["embedding"] for item in reply.json()["data"]], np.float32)


def refused(reply, status=400):
    assert reply.status_code == status, reply.text[:500]
    return reply.json()["error"]


def test_the_reply_has_openai_s_shape_and_ours_beside(client, embedder):
    reply = ask(client, side="query", model="me5-small")
    body = reply.json()
    assert body["object"] == "list"
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert {item["object"] for item in body["data"]} == {"embedding"}
    assert body["model"] == "me5-small"
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] == sum(body["me5"]["tokens"])
    assert body["me5"]["prompt"] == embedder.prompts.prefix("query", None)
    assert body["me5"]["chunks"] == [1, 1]
    assert reply.headers["x-me5-side"] == "query"
    assert float(reply.headers["openai-processing-ms"]) > 0
    np.testing.assert_array_equal(vectors(reply), embedder.encode_query(TEXTS))


def test_base64_and_raw_are_the_same_numbers(client):
    floats = vectors(ask(client))
    encoded = ask(client, encoding_format="base64").json()["data"]
    decoded = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in encoded]
    np.testing.assert_array_equal(decoded, floats)
    raw = client.post("/v1/embeddings", json={"input": TEXTS}, headers={"accept": "application/octet-stream"})
    rows, dim = map(int, raw.headers["x-me5-shape"].split(","))
    np.testing.assert_array_equal(np.frombuffer(raw.content, "<f4").reshape(rows, dim), floats)


@pytest.mark.parametrize(
    ("fields", "side"),
    [
        ({}, "document"),
        ({"side": "query"}, "query"),
        ({"side": "both"}, "both"),
        ({"model": "me5-small:query"}, "query"),
        ({"model": "me5-small:document"}, "document"),
        ({"input_type": "query"}, "query"),
        ({"input_type": "passage"}, "document"),
        ({"input_type": "search_query"}, "query"),
        ({"input_type": "classification"}, "both"),
        ({"model": "me5-small:query", "side": "query", "input_type": "search_query"}, "query"),
    ],
    ids=str,
)
def test_every_way_to_say_the_side(client, fields, side):
    assert ask(client, **fields).json()["me5"]["side"] == side


def test_sides_that_disagree_are_refused(client):
    error = refused(ask(client, model="me5-small:query", side="document"))
    assert error["message"] == "`model` asks for 'query' and `side` for 'document'; send one of them"
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "side", "invalid_value")


def test_a_task_is_a_name_or_a_sentence_and_needs_a_side(client):
    prompts = [ask(client, side="query", task=task).json()["me5"]["prompt"] for task in ("bitext", "Find the recipe.")]
    assert prompts == [
        "Instruct: Retrieve parallel sentences.\nQuery: ",
        "Instruct: Find the recipe.\nQuery: ",
    ]
    assert "needs a side" in refused(ask(client, task="bitext"))["message"]


def test_truncation_is_told_and_can_be_chosen(client):
    cut = client.post("/v1/embeddings", json={"input": ["short", LONG]})
    notes = cut.json()["me5"]
    assert notes["truncated"] == 1
    assert notes["lost"][0] == 0 < notes["lost"][1]
    assert cut.headers["x-me5-truncated"] == "1"
    assert int(cut.headers["x-me5-tokens-lost"]) == sum(notes["lost"])
    whole = client.post("/v1/embeddings", json={"input": ["short", LONG], "truncation": "chunk"}).json()["me5"]
    assert whole["lost"] == [0, 0]
    assert whole["chunks"][1] > 1
    for field in ({"truncation": "error"}, {"truncate": "NONE"}, {"truncate": False}):
        error = refused(client.post("/v1/embeddings", json={"input": ["short", LONG], **field}))
        assert "text 1" in error["message"]
        assert error["param"] == "input"


def test_texts_that_bring_a_prompt_are_warned_of(client):
    reply = ask(client, input=["fine", "query: how tall is K2?"], side="query")
    (warning,) = reply.json()["me5"]["warnings"]
    assert "'query: ': 1 of 2 (item 1)" in warning
    assert "x-me5-warning" in reply.headers


def test_unknown_fields_are_let_through_and_named(client):
    reply = ask(client, user="me", cache_salt="x", priority=3)
    assert reply.json()["me5"]["ignored"] == ["cache_salt", "priority"]
    assert reply.headers["x-me5-ignored"] == "cache_salt,priority"


@pytest.mark.parametrize(
    ("fields", "said", "param"),
    [
        ({"input": []}, "`input` is an empty list", "input"),
        ({"input": ""}, "`input` holds an empty string, item 0", "input"),
        ({"input": ["a", ""]}, "`input` holds an empty string, item 1", "input"),
        ({"input": ["a", 3]}, "`input` should hold strings, item 1 is 3", "input"),
        ({"input": 3}, "`input` should be a string or a list of strings, got 3", "input"),
        ({"input": None}, "`input` should be a string or a list of strings, got null", "input"),
        ({"input": [1, 2, 3]}, "check_embedding_ctx_length=False", "input"),
        ({"input": [[1, 2], [3]]}, "token ids", "input"),
        ({"input": ["a"] * 2049}, "has 2,049 texts, at most 2,048 are read at once", "input"),
        ({"encoding_format": "hex"}, "`encoding_format`", "encoding_format"),
        ({"dimensions": 64}, "was not trained for such vectors, but for ", "dimensions"),
        ({"dimensions": 512}, "vectors of this model have 384 numbers", "dimensions"),
        ({"dimensions": 0}, "`dimensions`", "dimensions"),
        ({"side": "left"}, "`side`", "side"),
        ({"side": "query", "task": "web-serch"}, "did you mean web-search?", "task"),
        ({"input_type": "image"}, "`input_type` should be one of query, document", "input_type"),
        ({"truncation": "middle"}, "`truncation`: input should be 'end'", "truncation"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(client, fields, said, param):
    error = refused(ask(client, **fields))
    assert said in error["message"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


def test_an_unknown_model_is_a_404_that_lists_the_names(client):
    error = refused(ask(client, model="text-embedding-3-small"), 404)
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert "me5-small:query" in error["message"]


def test_models_are_listed_with_their_sides(client):
    listed = client.get("/v1/models").json()["data"]
    assert [model["id"] for model in listed] == [f"me5-small{end}" for end in ("", ":query", ":document", ":both")]
    one = client.get("/v1/models/me5-small:query").json()
    assert (one["side"], one["dimensions"]) == ("query", 384)
    assert refused(client.get("/v1/models/other"), 404)["code"] == "model_not_found"


def test_short_vectors_and_any_model_name_where_the_service_allows_them(launch, embedder):
    server = launch("--allow-dimensions", "--no-strict-model", "--served-name", "search,old-name", "--max-items", "3")
    with server.client() as client:
        reply = ask(client, dimensions=64, model="gpt", side="query")
        short = embedder.encode_query(TEXTS)[:, :64]
        np.testing.assert_array_equal(vectors(reply), short / np.linalg.norm(short, axis=1, keepdims=True))
        assert reply.json()["model"] == "search"
        assert "there is no model 'gpt' here" in reply.json()["me5"]["warnings"][0]
        assert "x-me5-warning" in reply.headers
        assert not ask(client, model="old-name:query").json()["me5"]["warnings"]
        assert "at most 3" in refused(ask(client, input=["a"] * 4))["message"]
