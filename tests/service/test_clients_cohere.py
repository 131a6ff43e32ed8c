"""Cohere's own Python client against a live service."""

import asyncio
import base64

import numpy as np
import pytest
from truth import ALL_OF_IT, LIMITED, TEXTS, assert_same, embedder, expected

COHERE_SIDES = {"search_query": "query", "search_document": "document"}


@pytest.fixture
def cohere_client(server):
    cohere = pytest.importorskip("cohere")
    with cohere.ClientV2(base_url=server.url, api_key=server.key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("input_type", COHERE_SIDES)
def test_cohere(cohere_client, input_type):
    reply = cohere_client.embed(model="me5-small", input_type=input_type, texts=TEXTS, embedding_types=["float"])
    assert_same(reply.embeddings.float_, expected(COHERE_SIDES[input_type]))
    assert reply.texts == TEXTS
    assert reply.meta.billed_units.input_tokens > 20
    assert not reply.meta.warnings


@pytest.mark.parametrize("task", ["classification", "clustering"])
def test_cohere_symmetric_types_name_a_task(cohere_client, task):
    reply = cohere_client.embed(model="me5-small", input_type=task, texts=TEXTS, embedding_types=["float"])
    assert_same(reply.embeddings.float_, embedder().encode(TEXTS, task=task))


def test_cohere_types(cohere_client):
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    reply = cohere_client.embed(model="me5-small", input_type="search_query", texts=TEXTS, embedding_types=types)
    vectors = expected("query")
    small = np.array(reply.embeddings.int8, np.float32)
    assert (np.abs(small).max(axis=1) == 127).all()
    cosines = (small * vectors).sum(axis=1) / np.linalg.norm(small, axis=1)
    assert (cosines > 0.999).all()
    assert (np.array(reply.embeddings.uint8) == np.array(reply.embeddings.int8) + 128).all()
    bits = np.unpackbits(np.array(reply.embeddings.ubinary, np.uint8), axis=1)
    assert (bits == (vectors > 0)).all()
    assert (np.array(reply.embeddings.ubinary) == np.array(reply.embeddings.binary) + 128).all()
    assert_same([np.frombuffer(base64.b64decode(text), "<f4") for text in reply.embeddings.base64], vectors)


def test_cohere_warns_of_truncation_or_refuses(cohere_client):
    cohere = pytest.importorskip("cohere")
    ask = {"model": "me5-small", "input_type": "search_document", "texts": ["a", "word " * 2000]}
    assert "item 1" in cohere_client.embed(**ask).meta.warnings[0]
    with pytest.raises(cohere.BadRequestError, match="text 1 has"):
        cohere_client.embed(**ask, truncate="NONE")
    with pytest.raises(cohere.BadRequestError, match="text only"):
        cohere_client.embed(model="me5-small", input_type="image", images=["data:image/png;base64,AA=="])


def test_cohere_reads_our_errors(cohere_client, locked_server, narrow_server):
    cohere = pytest.importorskip("cohere")
    ask = {"model": "me5-small", "input_type": "search_query", "texts": ["a"]}
    with pytest.raises(cohere.NotFoundError, match="there is no model"):
        cohere_client.embed(**{**ask, "model": "embed-v4.0"})
    locked = cohere.ClientV2(base_url=locked_server.url, api_key="wrong", max_retries=0)
    with locked as client, pytest.raises(cohere.UnauthorizedError):
        client.embed(**ask)
    with cohere.ClientV2(base_url=narrow_server.url, api_key=LIMITED[5], max_retries=0) as client:
        client.embed(**{**ask, "texts": ALL_OF_IT, "input_type": "search_document"})
        with pytest.raises(cohere.TooManyRequestsError, match="of its 900 tokens per minute left"):
            client.embed(**{**ask, "texts": ALL_OF_IT, "input_type": "search_document"})


def test_cohere_asyncio(server):
    cohere = pytest.importorskip("cohere")

    async def vectors(input_type):
        async with cohere.AsyncClientV2(base_url=server.url, api_key=server.key) as client:
            reply = await client.embed(model="me5-small", input_type=input_type, texts=TEXTS)
            return reply.embeddings.float_

    for input_type, side in COHERE_SIDES.items():
        assert_same(asyncio.run(vectors(input_type)), expected(side))
