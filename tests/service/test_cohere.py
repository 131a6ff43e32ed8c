"""Cohere's dialect, field by field: what `cohere`'s own clients do with it is in test_others.py."""

import base64
from urllib.parse import unquote

import numpy as np
import pytest

from me5 import TASKS, Embedder
from me5.quantization import quantized

TEXTS = ["how tall is K2?", "南瓜的家常做法"]
LONG = "one two three four five " * 300
TYPES = ["float", "int8", "uint8", "binary", "ubinary", "base64"]


def ask(client, status=200, path="/v2/embed", **fields):
    body = {"model": "me5-small", "texts": TEXTS, "input_type": "search_query", **fields}
    reply = client.post(path, json={name: value for name, value in body.items() if value is not None})
    assert reply.status_code == status, reply.text[:500]
    return reply.json()


def test_all_types_are_the_same_vector(client):
    reply = ask(client, embedding_types=TYPES)
    assert reply["response_type"] == "embeddings_by_type"
    assert reply["texts"] == TEXTS
    found = {name: reply["embeddings"][name] for name in TYPES}
    vectors = np.array(found["float"], np.float32)
    np.testing.assert_array_equal(vectors, Embedder.load().encode_query(TEXTS))
    decoded = [np.frombuffer(base64.b64decode(row), "<f4") for row in found["base64"]]
    np.testing.assert_array_equal(decoded, vectors)
    small = np.array(found["int8"])
    np.testing.assert_array_equal(np.array(found["uint8"]) - 128, small)
    cosines = (small * vectors).sum(axis=1) / np.linalg.norm(small, axis=1)
    assert cosines.min() > 0.999
    bits = np.unpackbits(np.array(found["ubinary"], np.uint8), axis=1)
    np.testing.assert_array_equal(bits, vectors > 0)
    np.testing.assert_array_equal(np.array(found["binary"]) + 128, found["ubinary"])


@pytest.mark.parametrize(
    ("input_type", "prompt"),
    [
        ("search_query", TASKS["web-search"]),
        ("search_document", ""),
        ("classification", TASKS["classification"]),
        ("clustering", TASKS["clustering"]),
    ],
)
def test_input_types_choose_side_and_task(client, input_type, prompt):
    body = {"model": "me5-small", "texts": TEXTS, "input_type": input_type}
    reply = client.post("/v2/embed", json=body)
    told = unquote(reply.headers["x-me5-prompt"])
    assert (prompt in told) if prompt else told == ""


def test_cut_texts_and_idle_fields_are_warned_of(client):
    meta = ask(client, texts=["a", LONG], user="me")["meta"]
    assert meta["api_version"] == {"version": "2"}
    assert meta["billed_units"] == meta["tokens"]
    assert any("1 of 2 (item 1)" in warning for warning in meta["warnings"])
    assert any("fields without effect: user" in warning for warning in meta["warnings"])
    assert "warnings" not in ask(client)["meta"]


def test_inputs_may_stand_in_parts(client):
    inputs = [{"content": [{"type": "text", "text": text}]} for text in TEXTS]
    assert ask(client, texts=None, inputs=inputs)["texts"] == TEXTS


def test_the_first_version_s_shape(client):
    reply = ask(client, path="/v1/embed")
    assert reply["response_type"] == "embeddings_floats"
    assert np.array(reply["embeddings"]).shape == (2, 384)
    assert ask(client, path="/v1/embed", embedding_types=["int8"])["response_type"] == "embeddings_by_type"


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"input_type": None}, 400, "`input_type` is missing"),
        ({"input_type": "image"}, 400, "reads text only"),
        ({"images": ["data:"], "texts": None}, 400, "reads text only"),
        ({"inputs": [{"content": [{"type": "image_url", "image_url": {"url": "x"}}]}], "texts": None}, 400, "inputs"),
        ({"texts": None}, 400, "exactly one of `texts` and `inputs`"),
        ({"texts": "one"}, 400, "`texts` should be a list"),
        ({"truncate": "NONE", "texts": ["a", LONG]}, 400, "text 1"),
        ({"embedding_types": ["int4"]}, 400, "`embedding_types.0`"),
        ({"output_dimension": 64}, 400, "was not trained"),
        ({"model": "embed-v4.0"}, 404, "there is no model"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_named(client, fields, status, said):
    error = ask(client, status, **fields)
    assert set(error) == {"message"}
    assert said in error["message"]


def test_bytes_keep_the_angle_at_any_scale():
    vectors = np.random.default_rng(0).standard_normal((50, 1024)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    small = quantized(unit, "int8").astype(np.float32)
    assert ((small * unit).sum(axis=1) / np.linalg.norm(small, axis=1)).min() > 0.9995
    assert quantized(np.zeros((1, 4), np.float32), "uint8").tolist() == [[128] * 4]
