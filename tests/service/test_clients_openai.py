"""What speaks OpenAI's dialect, against a live service: openai, langchain, llama-index."""

import asyncio
import base64

import httpx
import numpy as np
import pytest
from truth import ALL_OF_IT, LIMITED, SIDES, TEXTS, assert_same, embedder, expected


@pytest.fixture
def openai_client(server):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}], ids=str)
def test_openai(openai_client, side, encoding):
    by_name = openai_client.embeddings.create(model=f"me5-small:{side}", input=TEXTS, **encoding)
    by_field = openai_client.embeddings.create(model="me5-small", input=TEXTS, extra_body={"side": side}, **encoding)
    for reply in (by_name, by_field):
        vectors = [item.embedding for item in reply.data]
        if encoding == {"encoding_format": "base64"}:  # what is asked for is what openai hands on
            vectors = [np.frombuffer(base64.b64decode(text), "<f4") for text in vectors]
        assert_same(vectors, expected(side))
        assert [item.index for item in reply.data] == [0, 1, 2]
        assert reply.model == "me5-small"
        assert reply.usage.total_tokens == reply.usage.prompt_tokens > 20
        assert reply.me5["side"] == side


def test_openai_without_a_side_reads_documents(openai_client):
    reply = openai_client.embeddings.create(model="me5-small", input=TEXTS[0])
    assert_same([reply.data[0].embedding], expected("document")[:1])


def test_openai_takes_a_task(openai_client):
    reply = openai_client.embeddings.create(
        model="me5-small", input=TEXTS, extra_body={"side": "query", "task": "Find the recipe"}
    )
    assert_same([item.embedding for item in reply.data], embedder().encode_query(TEXTS, task="Find the recipe"))


def test_openai_hands_on_what_was_applied_and_cut(openai_client):
    raw = openai_client.embeddings.with_raw_response.create(model="me5-small:query", input=["a", "word " * 2000])
    assert raw.headers["x-me5-side"] == "query"
    assert raw.headers["x-me5-prompt"].startswith("Instruct")
    assert raw.headers["x-me5-truncated"] == "1"
    assert int(raw.headers["x-me5-tokens-lost"]) > 1000
    assert raw.parse().me5["truncated"] == 1


def test_openai_asyncio(server):
    openai = pytest.importorskip("openai")

    async def vectors(side):
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key) as client:
            parts = [client.embeddings.create(model=f"me5-small:{side}", input=text) for text in TEXTS]
            return [reply.data[0].embedding for reply in await asyncio.gather(*parts)]

    for side in SIDES:
        assert_same(asyncio.run(vectors(side)), expected(side))


def test_openai_reads_our_errors(openai_client, locked_server):
    openai = pytest.importorskip("openai")
    create = openai_client.embeddings.create
    with pytest.raises(openai.NotFoundError) as caught:
        create(model="text-embedding-3-small", input="a")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="asks for 'query' and") as caught:
        create(model="me5-small:query", input="a", extra_body={"side": "document"})
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="me5-small", input=["a", ""])
    assert caught.value.param == "input"
    with pytest.raises(openai.BadRequestError) as caught:
        create(model="me5-small", input="a", dimensions=64)
    assert caught.value.param == "dimensions"
    with openai.OpenAI(base_url=f"{locked_server.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.embeddings.create(model="me5-small:query", input=TEXTS)
        assert caught.value.code == "invalid_api_key"
        client.api_key = locked_server.key
        assert client.embeddings.create(model="me5-small", input="a").data


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2, 3], [4]]], ids=str)
def test_openai_is_told_that_token_ids_are_refused(openai_client, tokens):
    openai = pytest.importorskip("openai")
    with pytest.raises(openai.BadRequestError, match=r"another tokenizer's .*: send the texts") as caught:
        openai_client.embeddings.create(model="me5-small", input=tokens)
    assert caught.value.param == "input"


def test_openai_waits_as_long_as_it_is_asked_to(narrow_server):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=f"{narrow_server.url}/v1", api_key=LIMITED[4], max_retries=0) as client:
        client.embeddings.create(model="me5-small", input=ALL_OF_IT)
        with pytest.raises(openai.RateLimitError) as caught:
            client.embeddings.create(model="me5-small", input=ALL_OF_IT)
        assert caught.value.code == "rate_limit_exceeded"
        headers = caught.value.response.headers
        assert 1 <= int(headers["retry-after"]) <= 60
        assert headers["x-ratelimit-limit-tokens"] == "900"
        assert int(headers["x-ratelimit-remaining-tokens"]) < 900
        assert headers["x-ratelimit-reset-tokens"].endswith("s")
        reply = client.with_options(max_retries=1).embeddings.create(model="me5-small:query", input=TEXTS)
    assert_same([item.embedding for item in reply.data], expected("query"))


def test_openai_lists_models(openai_client):
    names = ["me5-small", *(f"me5-small:{side}" for side in SIDES)]
    assert [model.id for model in openai_client.models.list()] == names
    assert openai_client.models.retrieve("me5-small:query").id == "me5-small:query"


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
def test_langchain(langchain, side):
    async def both_ways(**options):
        async with httpx.AsyncClient() as http_async_client:
            with httpx.Client() as http_client:
                embeddings = langchain(
                    check_embedding_ctx_length=False,
                    http_client=http_client,
                    http_async_client=http_async_client,
                    **options,
                )
                assert_same(embeddings.embed_documents(TEXTS), expected(side))
                assert_same(embeddings.embed_query(TEXTS[0]), expected(side)[0])
                assert_same(await embeddings.aembed_documents(TEXTS), expected(side))

    asyncio.run(both_ways(model=f"me5-small:{side}"))
    asyncio.run(both_ways(model="me5-small", model_kwargs={"extra_body": {"side": side}}))


def test_langchain_as_it_is_set_by_default_is_told_what_to_change(langchain, monkeypatch):
    openai, tiktoken = pytest.importorskip("openai"), pytest.importorskip("tiktoken")
    # The encoding that it would download, with the bytes as its only tokens.
    bytes_only = tiktoken.Encoding(
        "bytes", pat_str=r"[\s\S]", mergeable_ranks={bytes([one]): one for one in range(256)}, special_tokens={}
    )
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: bytes_only)
    with httpx.Client() as http, pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        langchain("me5-small", http_client=http).embed_documents(TEXTS)


@pytest.mark.parametrize("side", SIDES)
def test_llama_index_openai_like(server, side):
    like = pytest.importorskip("llama_index.embeddings.openai_like")
    address = {"api_base": f"{server.url}/v1", "api_key": server.key, "max_retries": 0}

    async def both_ways(**options):
        async with httpx.AsyncClient() as async_http_client:
            with httpx.Client() as http_client:
                embedding = like.OpenAILikeEmbedding(
                    http_client=http_client, async_http_client=async_http_client, **address, **options
                )
                assert_same(embedding.get_text_embedding_batch(TEXTS), expected(side))
                assert_same(embedding.get_query_embedding(TEXTS[0]), expected(side)[0])
                assert_same(await embedding.aget_query_embedding(TEXTS[0]), expected(side)[0])

    asyncio.run(both_ways(model_name=f"me5-small:{side}"))
    asyncio.run(both_ways(model_name="me5-small", additional_kwargs={"extra_body": {"side": side}}))
