"""TEI's dialect, field by field: what huggingface_hub and llama-index do with it is in test_others.py."""

import numpy as np
import pytest
from vectors import ROUNDING

from me5 import Embedder

TEXTS = ["how tall is K2?", "南瓜的家常做法"]
LONG = "one two three four five " * 300


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load()


def post(client, path, status=200, **fields):
    reply = client.post(path, json=fields)
    assert reply.status_code == status, reply.text[:500]
    return reply


def refused(client, path, status=422, **fields):
    error = post(client, path, status, **fields).json()
    assert set(error) == {"error", "error_type"}
    return error["error"], error["error_type"]


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_vectors_and_headers(client, embedder, path):
    reply = post(client, path, inputs=TEXTS)
    np.testing.assert_array_equal(np.array(reply.json(), np.float32), embedder.encode_document(TEXTS))
    for name in ("compute-time", "compute-characters", "compute-tokens", "total-time", "tokenization-time"):
        assert reply.headers[f"x-{name}"].isdecimal(), name
    assert {"x-queue-time", "x-inference-time"} <= set(reply.headers)
    assert reply.headers["x-compute-type"] == "cpu"
    assert reply.headers["x-compute-characters"] == str(sum(map(len, TEXTS)))
    one = post(client, path, inputs=TEXTS[0]).json()
    np.testing.assert_array_equal(np.array(one, np.float32), embedder.encode_document(TEXTS[:1]))


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("query", "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "),
        ("document", ""),
        ("bitext", "Instruct: Retrieve parallel sentences.\nQuery: "),
    ],
)
def test_prompt_names_are_sides_and_tasks(client, name, prompt):
    from urllib.parse import unquote

    reply = post(client, "/embed", inputs=TEXTS, prompt_name=name)
    assert unquote(reply.headers["x-me5-prompt"]) == prompt


def test_an_unknown_prompt_name_is_refused(client):
    message, kind = refused(client, "/embed", inputs=TEXTS, prompt_name="querry")
    assert "did you mean" in message or "unknown task" in message
    assert kind == "Validation"


def test_without_norm(client):
    raw = np.array(post(client, "/embed", inputs=TEXTS, normalize=False).json())
    unit = np.array(post(client, "/embed", inputs=TEXTS).json())
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1, atol=0.01)
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, rtol=0, atol=ROUNDING)


def test_all_tokens_have_states(client):
    states = post(client, "/embed_all", inputs=TEXTS).json()
    tokens = post(client, "/tokenize", inputs=TEXTS).json()
    assert [len(of_text) for of_text in states] == [len(of_text) for of_text in tokens]
    raw = post(client, "/embed", inputs=TEXTS, normalize=False).json()
    np.testing.assert_allclose([np.mean(of_text, axis=0) for of_text in states], raw, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("path", ["/similarity", "/"])
def test_similarity(client, embedder, path):
    inputs = {"source_sentence": "good morning", "sentences": ["Guten Morgen", "gute Nacht"]}
    vectors = embedder.encode(["good morning", "Guten Morgen", "gute Nacht"])
    cosines = post(client, path, inputs=inputs).json()
    np.testing.assert_allclose(cosines, vectors[1:] @ vectors[0], rtol=0, atol=ROUNDING)
    by_side = post(client, path, inputs=inputs, parameters={"prompt_name": "document"}).json()
    vectors = embedder.encode_document(["good morning", "Guten Morgen", "gute Nacht"])
    np.testing.assert_allclose(by_side, vectors[1:] @ vectors[0], rtol=0, atol=ROUNDING)


def test_tokenize_and_decode(client):
    text = "How tall is K2?"
    (tokens,) = post(client, "/tokenize", inputs=text, prompt_name="document").json()
    assert [token["special"] for token in tokens] == [True, *[False] * (len(tokens) - 2), True]
    assert tokens[0]["start"] is None
    for token in tokens[1:-1]:
        assert token["text"] == text[token["start"] : token["stop"]]
    (bare,) = post(client, "/tokenize", inputs=text, add_special_tokens=False).json()
    assert bare == tokens[1:-1]
    ids = [token["id"] for token in tokens]
    assert post(client, "/decode", ids=ids).json()[0].strip() == text
    both = post(client, "/decode", ids=[ids, ids], skip_special_tokens=False).json()
    assert len(both) == 2
    assert both[0] != post(client, "/decode", ids=ids).json()[0]


def test_token_ids_are_this_model_s(client):
    (tokens,) = post(client, "/tokenize", inputs="how tall is k2?").json()
    by_ids = post(client, "/embed", inputs=[[token["id"] for token in tokens]]).json()
    by_text = post(client, "/embed", inputs="how tall is k2?").json()
    assert by_ids == by_text


def test_info(client):
    info = client.get("/info").json()
    assert info["model_id"] == info["served_model_name"] == "me5-small"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == 512
    assert info["max_client_batch_size"] == 2048
    assert info["auto_truncate"] is True
    assert info["dim"] == 384
    # TEI's own document, of 1.9, allows null in these fields only.
    assert {name for name, value in info.items() if value is None} <= {
        "model_sha",
        "sha",
        "docker_label",
        "max_batch_requests",
    }
    assert info["max_batch_tokens"] > 0
    assert info["tokenization_workers"] > 0


def test_truncation(client):
    cut = post(client, "/embed", inputs=LONG, truncate=True)
    assert cut.headers["x-me5-truncated"] == "1"
    assert cut.headers["x-compute-tokens"] == "512"
    right = post(client, "/embed", inputs=LONG + "fin", truncate=True, truncation_direction="Right").json()
    left = post(client, "/embed", inputs=LONG + "fin", truncate=True, truncation_direction="left").json()
    assert not np.allclose(left, right, atol=1e-3)
    message, kind = refused(client, "/embed", inputs=["a", LONG], truncate=False)
    assert "text 1" in message
    assert kind == "Validation"


@pytest.mark.parametrize("path", ["/rerank", "/predict", "/embed_sparse"])
def test_routes_of_other_models_say_so(client, path):
    message, kind = refused(client, path, 424, query="a", texts=["b"])
    assert "embedding model" in message
    assert kind == "Backend"


@pytest.mark.parametrize(
    ("path", "fields", "status", "said"),
    [
        ("/embed", {"inputs": []}, 400, "empty list"),
        ("/embed", {"inputs": [""]}, 422, "empty string"),
        ("/embed", {"inputs": [[1, -4]]}, 422, "expected ids from 0"),
        ("/embed", {"inputs": [[1, 10**9]]}, 422, "expected ids from 0"),
        ("/embed", {"inputs": {"a": 1}}, 422, "source_sentence"),
        ("/embed", {"inputs": "a", "normalize": "yes"}, 422, "`normalize`"),
        ("/embed", {}, 422, "`inputs` is missing"),
        ("/embed", {"inputs": ["a"] * 2049}, 422, "at most 2,048"),
        ("/embed_all", {"inputs": None}, 422, "`inputs`"),
        (
            "/similarity",
            {"inputs": {"source_sentence": "a", "sentences": []}},
            422,
            "`inputs.sentences` is an empty list:",
        ),
        ("/tokenize", {"inputs": 3}, 422, "`inputs`"),
        ("/decode", {"ids": ["a"]}, 422, "expected ids"),
        ("/decode", {"ids": []}, 422, "expected token ids"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(client, path, fields, status, said):
    message, kind = refused(client, path, status, **fields)
    assert said in message
    assert kind == ("Empty" if status == 400 else "Validation")
