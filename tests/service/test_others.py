"""Clients that others wrote, against a live service: their vectors are the Embedder's, and each can choose the side."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from me5 import Embedder

EXAMPLES = Path(__file__).parents[2] / "examples" / "clients"
TEXTS = ["how much protein should a female eat", "南瓜的家常做法", "Quelle est la hauteur du K2 ? 🏔"]
SIDES = ("query", "document", "both")
# bf16 gives a text 5e-5 of difference in other company; the sides of these texts lie a hundred times as far apart.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load()


@pytest.fixture(scope="module")
def expected(embedder):
    """Vectors (texts, dim) by side."""
    return {
        "query": embedder.encode_query(TEXTS),
        "document": embedder.encode_document(TEXTS),
        "both": embedder.encode(TEXTS),
    }


def assert_same(vectors, expected):
    np.testing.assert_allclose(np.asarray(vectors, np.float32), expected, rtol=0, atol=TOLERANCE)


def test_the_sides_differ_by_far_more_than_the_tolerance(expected):
    for one, other in (("query", "document"), ("query", "both"), ("document", "both")):
        assert (np.abs(expected[one] - expected[other]).max(axis=1) > 20 * TOLERANCE).all()


# openai


@pytest.fixture
def openai_client(server):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}], ids=str)
def test_openai(openai_client, expected, side, encoding):
    by_name = openai_client.embeddings.create(model=f"me5-mini:{side}", input=TEXTS, **encoding)
    by_field = openai_client.embeddings.create(model="me5-mini", input=TEXTS, extra_body={"side": side}, **encoding)
    for reply in (by_name, by_field):
        vectors = [item.embedding for item in reply.data]
        if encoding == {"encoding_format": "base64"}:  # what is asked for is what openai hands on
            import base64

            vectors = [np.frombuffer(base64.b64decode(text), "<f4") for text in vectors]
        assert_same(vectors, expected[side])
        assert [item.index for item in reply.data] == [0, 1, 2]
        assert reply.model == "me5-mini"
        assert reply.usage.total_tokens == reply.usage.prompt_tokens > 20
        assert reply.me5["side"] == side


def test_openai_without_a_side_reads_documents(openai_client, expected):
    reply = openai_client.embeddings.create(model="me5-mini", input=TEXTS[0])
    assert_same([reply.data[0].embedding], expected["document"][:1])


def test_openai_takes_a_task(openai_client, embedder):
    reply = openai_client.embeddings.create(
        model="me5-mini", input=TEXTS, extra_body={"side": "query", "task": "Find the recipe"}
    )
    assert_same([item.embedding for item in reply.data], embedder.encode_query(TEXTS, task="Find the recipe"))


def test_openai_hands_on_what_was_applied_and_cut(openai_client):
    raw = openai_client.embeddings.with_raw_response.create(model="me5-mini:query", input=["a", "word " * 2000])
    assert raw.headers["x-me5-side"] == "query"
    assert raw.headers["x-me5-prompt"].startswith("Instruct")
    assert raw.headers["x-me5-truncated"] == "1"
    assert int(raw.headers["x-me5-tokens-lost"]) > 1000
    assert raw.parse().me5["truncated"] == 1


def test_openai_asyncio(server, expected):
    openai = pytest.importorskip("openai")

    async def vectors(side):
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
            parts = [client.embeddings.create(model=f"me5-mini:{side}", input=text) for text in TEXTS]
            return [reply.data[0].embedding for reply in await asyncio.gather(*parts)]

    for side in SIDES:
        assert_same(asyncio.run(vectors(side)), expected[side])


def test_openai_reads_our_errors(openai_client, locked_server):
    openai = pytest.importorskip("openai")
    create = openai_client.embeddings.create
    with pytest.raises(openai.NotFoundError) as caught:
        create(model="text-embedding-3-small", input="a")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="asks for 'query' and") as caught:
        create(model="me5-mini:query", input="a", extra_body={"side": "document"})
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="me5-mini", input=["a", ""])
    assert caught.value.param == "input"
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="me5-mini", input="a", dimensions=64)
    assert caught.value.param == "dimensions"
    with openai.OpenAI(base_url=f"{locked_server.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.embeddings.create(model="me5-mini", input="a")
        assert caught.value.code == "invalid_api_key"
        client.api_key = locked_server.key
        assert client.embeddings.create(model="me5-mini", input="a").data


def test_openai_lists_models(openai_client):
    assert [model.id for model in openai_client.models.list()] == ["me5-mini", *(f"me5-mini:{side}" for side in SIDES)]
    assert openai_client.models.retrieve("me5-mini:query").id == "me5-mini:query"


# cohere

COHERE_SIDES = {"search_query": "query", "search_document": "document"}


@pytest.fixture
def cohere_client(server):
    cohere = pytest.importorskip("cohere")
    with cohere.ClientV2(base_url=server.url, api_key=server.key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("input_type", COHERE_SIDES)
def test_cohere(cohere_client, expected, input_type):
    reply = cohere_client.embed(model="me5-mini", input_type=input_type, texts=TEXTS, embedding_types=["float"])
    assert_same(reply.embeddings.float_, expected[COHERE_SIDES[input_type]])
    assert reply.texts == TEXTS
    assert reply.meta.billed_units.input_tokens > 20
    assert not reply.meta.warnings


@pytest.mark.parametrize("task", ["classification", "clustering"])
def test_cohere_symmetric_types_name_a_task(cohere_client, embedder, task):
    reply = cohere_client.embed(model="me5-mini", input_type=task, texts=TEXTS, embedding_types=["float"])
    assert_same(reply.embeddings.float_, embedder.encode(TEXTS, task=task))


def test_cohere_types(cohere_client, expected):
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    reply = cohere_client.embed(model="me5-mini", input_type="search_query", texts=TEXTS, embedding_types=types)
    vectors = expected["query"]
    small = np.array(reply.embeddings.int8, np.float32)
    assert (np.abs(small).max(axis=1) == 127).all()
    cosines = (small * vectors).sum(axis=1) / np.linalg.norm(small, axis=1)
    assert (cosines > 0.999).all()
    assert (np.array(reply.embeddings.uint8) == np.array(reply.embeddings.int8) + 128).all()
    bits = np.unpackbits(np.array(reply.embeddings.ubinary, np.uint8), axis=1)
    clear = np.abs(vectors) > TOLERANCE  # the sign of a zero is anyone's
    assert (bits[clear] == (vectors > 0)[clear]).all()
    assert (np.array(reply.embeddings.ubinary) == np.array(reply.embeddings.binary) + 128).all()
    import base64

    assert_same([np.frombuffer(base64.b64decode(text), "<f4") for text in reply.embeddings.base64], vectors)


def test_cohere_warns_of_truncation_or_refuses(cohere_client):
    cohere = pytest.importorskip("cohere")
    ask = {"model": "me5-mini", "input_type": "search_document", "texts": ["a", "word " * 2000]}
    assert "item 1" in cohere_client.embed(**ask).meta.warnings[0]
    with pytest.raises(cohere.BadRequestError, match="text 1 has"):
        cohere_client.embed(**ask, truncate="NONE")
    with pytest.raises(cohere.BadRequestError, match="text only"):
        cohere_client.embed(model="me5-mini", input_type="image", images=["data:image/png;base64,AA=="])


def test_cohere_asyncio(server, expected):
    cohere = pytest.importorskip("cohere")

    async def vectors(input_type):
        async with cohere.AsyncClientV2(base_url=server.url, api_key=server.key) as client:
            reply = await client.embed(model="me5-mini", input_type=input_type, texts=TEXTS)
            return reply.embeddings.float_

    for input_type, side in COHERE_SIDES.items():
        assert_same(asyncio.run(vectors(input_type)), expected[side])


# huggingface_hub


@pytest.fixture
def hub_client(server, monkeypatch):
    """`hub_client("/embed")`: its client with that address of ours as the model."""
    from huggingface_hub import InferenceClient, constants

    # It refuses to call any address while it is told to stay offline, as our other tests tell it.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return lambda path="", kind=InferenceClient: kind(model=server.url + path, token=server.key)


@pytest.mark.parametrize("path", ["", "/embed"])
def test_huggingface_hub(hub_client, expected, path):
    with hub_client(path) as client:
        assert_same(client.feature_extraction(TEXTS), expected["document"])
        for side in SIDES:
            vectors = client.feature_extraction(TEXTS, prompt_name=side)
            assert vectors.dtype == np.float32
            assert_same(vectors, expected[side])
            assert_same(client.feature_extraction(TEXTS[0], prompt_name=side, truncate=True), expected[side][:1])


def test_huggingface_hub_takes_a_task_as_prompt(hub_client, embedder):
    with hub_client() as client:
        vectors = client.feature_extraction(TEXTS, prompt_name="bitext", normalize=True)
    assert_same(vectors, embedder.encode_query(TEXTS, task="bitext"))


@pytest.mark.parametrize("path", ["", "/similarity"])
def test_huggingface_hub_sentence_similarity(hub_client, expected, path):
    with hub_client(path) as client:
        similarities = client.sentence_similarity(TEXTS[0], other_sentences=TEXTS[1:])
    assert_same(similarities, expected["both"][1:] @ expected["both"][0])


def test_huggingface_hub_reads_our_errors(hub_client):
    from huggingface_hub.errors import HfHubHTTPError

    with hub_client() as client:
        with pytest.raises(HfHubHTTPError, match="unknown task 'nonsense'"):
            client.feature_extraction("a", prompt_name="nonsense")
        with pytest.raises(HfHubHTTPError, match="text 0 has"):
            client.feature_extraction("word " * 2000, truncate=False)


def test_huggingface_hub_asyncio(hub_client, expected):
    from huggingface_hub import AsyncInferenceClient

    async def vectors():
        async with hub_client(kind=AsyncInferenceClient) as client:
            return await client.feature_extraction(TEXTS, prompt_name="query")

    assert_same(asyncio.run(vectors()), expected["query"])


# langchain


@pytest.fixture
def langchain(server):
    """`langchain(model, **options)`: its OpenAI embeddings on our server."""
    langchain_openai = pytest.importorskip("langchain_openai")

    def build(model, **options):
        return langchain_openai.OpenAIEmbeddings(
            model=model, base_url=f"{server.url}/v1", api_key=server.key, max_retries=0, **options
        )

    return build


@pytest.mark.parametrize("side", SIDES)
def test_langchain(langchain, expected, side):
    by_name = langchain(f"me5-mini:{side}", check_embedding_ctx_length=False)
    by_field = langchain("me5-mini", check_embedding_ctx_length=False, model_kwargs={"extra_body": {"side": side}})
    for embeddings in (by_name, by_field):
        assert_same(embeddings.embed_documents(TEXTS), expected[side])
        assert_same(embeddings.embed_query(TEXTS[0]), expected[side][0])
        assert_same(asyncio.run(embeddings.aembed_documents(TEXTS)), expected[side])


def test_langchain_as_it_is_set_by_default_is_told_what_to_change(langchain, monkeypatch):
    openai, tiktoken = pytest.importorskip("openai"), pytest.importorskip("tiktoken")
    # The encoding that it would download, with the bytes as its only tokens.
    bytes_only = tiktoken.Encoding(
        "bytes", pat_str=r"[\s\S]", mergeable_ranks={bytes([one]): one for one in range(256)}, special_tokens={}
    )
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: bytes_only)
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        langchain("me5-mini").embed_documents(TEXTS)


# llama-index


@pytest.mark.parametrize("side", SIDES)
def test_llama_index_openai_like(server, expected, side):
    like = pytest.importorskip("llama_index.embeddings.openai_like")
    address = {"api_base": f"{server.url}/v1", "api_key": server.key, "max_retries": 0}
    by_name = like.OpenAILikeEmbedding(model_name=f"me5-mini:{side}", **address)
    by_field = like.OpenAILikeEmbedding(
        model_name="me5-mini", additional_kwargs={"extra_body": {"side": side}}, **address
    )
    for embedding in (by_name, by_field):
        assert_same(embedding.get_text_embedding_batch(TEXTS), expected[side])
        assert_same(embedding.get_query_embedding(TEXTS[0]), expected[side][0])
        assert_same(asyncio.run(embedding.aget_query_embedding(TEXTS[0])), expected[side][0])


def test_llama_index_text_embeddings_inference(server, embedder, expected):
    tei = pytest.importorskip("llama_index.embeddings.text_embeddings_inference")
    # It puts a space between instruction and text, and strips both: the prompt without its last space is exact.
    prompt = embedder.prompts.prefix("query")
    embedding = tei.TextEmbeddingsInference(
        model_name="me5-mini", base_url=server.url, query_instruction=prompt.rstrip(), auth_token=server.key
    )
    assert_same(embedding.get_query_embedding(TEXTS[0]), expected["query"][0])
    assert_same(embedding.get_text_embedding_batch(TEXTS), expected["document"])
    assert_same(asyncio.run(embedding.aget_text_embedding(TEXTS[0])), expected["document"][0])


# curl, and the examples


@pytest.fixture
def curl(server):
    """`curl("/embed", body, *flags)`: what it writes."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def call(path, body, *flags):
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--noproxy", "*", *flags]
        command += ["--header", "content-type: application/json", "--data-binary", "@-", server.url + path]
        return subprocess.run(command, input=json.dumps(body).encode(), capture_output=True, check=True).stdout

    return call


@pytest.mark.parametrize("side", SIDES)
def test_curl(curl, expected, side):
    openai = json.loads(curl("/v1/embeddings", {"model": f"me5-mini:{side}", "input": TEXTS}))
    assert_same([item["embedding"] for item in openai["data"]], expected[side])
    assert_same(json.loads(curl("/embed", {"inputs": TEXTS, "prompt_name": side})), expected[side])
    for path, body in (("/v1/embeddings", {"input": TEXTS}), ("/embed", {"inputs": TEXTS})):
        raw = curl(path, {**body, "side": side}, "--header", "accept: application/octet-stream")
        assert_same(np.frombuffer(raw, "<f4").reshape(len(TEXTS), -1), expected[side])


@pytest.mark.parametrize("name", ["python_me5.py", "python_openai.py", "python_cohere.py", "curl.sh"])
def test_examples_find_the_right_document(server, name):
    if name.endswith(".sh") and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    if (library := name.removeprefix("python_").removesuffix(".py")) in ("openai", "cohere"):
        pytest.importorskip(library)
    command = ["bash" if name.endswith(".sh") else sys.executable, str(EXAMPLES / name)]
    environment = {**os.environ, "ME5_URL": server.url, "ME5_API_KEY": server.key, "NO_PROXY": "127.0.0.1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    if name.endswith(".sh"):
        assert '"ranking":[[0,1],[1,0]]' in result.stdout
    else:
        assert "how tall is K2?  →  K2 rises to 8,611 metres." in result.stdout
        assert "南瓜的家常做法  →  清炒南瓜丝" in result.stdout
