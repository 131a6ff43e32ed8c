"""What speaks TEI's dialect, against a live service: huggingface_hub, llama-index."""

import asyncio

import numpy as np
import pytest
from truth import SIDES, TEXTS, assert_same, embedder, expected
from vectors import ROUNDING


@pytest.fixture
def hub_client(server, monkeypatch):
    """`hub_client("/embed")`: its client with that address of ours as the model."""
    from huggingface_hub import InferenceClient, constants

    # It refuses to call any address while it is told to stay offline, as our other tests tell it.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return lambda path="", kind=InferenceClient: kind(model=server.url + path, token=server.key)


@pytest.mark.parametrize("path", ["", "/embed"])
def test_huggingface_hub(hub_client, path):
    with hub_client(path) as client:
        assert_same(client.feature_extraction(TEXTS), expected("document"))
        for side in SIDES:
            vectors = client.feature_extraction(TEXTS, prompt_name=side)
            assert vectors.dtype == np.float32
            assert_same(vectors, expected(side))
            assert_same(client.feature_extraction(TEXTS[0], prompt_name=side, truncate=True), expected(side)[:1])


def test_huggingface_hub_takes_a_task_as_prompt(hub_client):
    with hub_client() as client:
        vectors = client.feature_extraction(TEXTS, prompt_name="bitext", normalize=True)
    assert_same(vectors, embedder().encode_query(TEXTS, task="bitext"))


@pytest.mark.parametrize("path", ["", "/similarity"])
def test_huggingface_hub_sentence_similarity(hub_client, path):
    with hub_client(path) as client:
        similarities = client.sentence_similarity(TEXTS[0], other_sentences=TEXTS[1:])
    np.testing.assert_allclose(similarities, expected("both")[1:] @ expected("both")[0], rtol=0, atol=ROUNDING)


def test_huggingface_hub_reads_our_errors(hub_client):
    from huggingface_hub.errors import HfHubHTTPError

    with hub_client() as client:
        with pytest.raises(HfHubHTTPError, match="unknown task 'nonsense'"):
            client.feature_extraction("a", prompt_name="nonsense")
        with pytest.raises(HfHubHTTPError, match="text 0 has"):
            client.feature_extraction("word " * 2000, truncate=False)


def test_huggingface_hub_asyncio(hub_client):
    from huggingface_hub import AsyncInferenceClient

    async def vectors():
        async with hub_client(kind=AsyncInferenceClient) as client:
            return await client.feature_extraction(TEXTS, prompt_name="query")

    assert_same(asyncio.run(vectors()), expected("query"))


def test_llama_index_text_embeddings_inference(server):
    tei = pytest.importorskip("llama_index.embeddings.text_embeddings_inference")
    # It puts a space between instruction and text, and strips both: the prompt without its last space is exact.
    prompt = embedder().prompts.prefix("query")
    embedding = tei.TextEmbeddingsInference(
        model_name="me5-small", base_url=server.url, query_instruction=prompt.rstrip(), auth_token=server.key
    )
    assert_same(embedding.get_query_embedding(TEXTS[0]), expected("query")[0])
    assert_same(embedding.get_text_embedding_batch(TEXTS), expected("document"))
    assert_same(asyncio.run(embedding.aget_text_embedding(TEXTS[0])), expected("document")[0])
