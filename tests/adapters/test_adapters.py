"""The adapters inside the real libraries."""

import os

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

import asyncio
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from me5 import Client, Embedder, InputError


def run(coroutine):
    """Its result, from a loop of its own: another may be running in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def assert_same(vectors, others):
    np.testing.assert_array_equal(np.asarray(vectors, np.float32), np.asarray(others, np.float32))


TEXTS = [
    "K2 rises to 8,611 metres above sea level.",
    "Bread needs flour, water, salt and yeast.",
    "Die Zugspitze ist mit 2.962 Metern der höchste Berg Deutschlands.",
]


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load(precision="f32")


@pytest.fixture(scope="module")
def langchain():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("me5.adapters.langchain")


def test_langchain_embeddings_write_queries_and_documents_as_the_model_wants(langchain, embedder):
    embeddings = langchain.Me5Embeddings(embedder, task="question-answering")
    query, documents = embeddings.embed_query("what is bread made of?"), embeddings.embed_documents(TEXTS)
    assert_same(query, embedder.encode_query("what is bread made of?", task="question-answering")[0])
    assert_same(documents, embedder.encode_document(TEXTS))
    assert_same(run(embeddings.aembed_query("what is bread made of?")), query)


def test_langchain_embeddings_serve_langchains_own_store(langchain, embedder):
    from langchain_core.vectorstores import InMemoryVectorStore

    store = InMemoryVectorStore.from_texts(TEXTS, langchain.Me5Embeddings(embedder))
    assert store.similarity_search("what is bread made of?", k=1)[0].page_content == TEXTS[1]


def test_langchain_store(langchain, embedder, tmp_path):
    from langchain_core.documents import Document

    store = langchain.Me5VectorStore.from_texts(
        TEXTS,
        langchain.Me5Embeddings(embedder),
        [{"n": n} for n in range(3)],
        ids=["a", "b", "c"],
        uri=str(tmp_path / "s"),
    )
    (found,) = store.similarity_search("what is bread made of?", k=1)
    assert (found.id, found.page_content, found.metadata) == ("b", TEXTS[1], {"n": 1})
    (found,) = store.similarity_search(
        "what is bread made of?", k=1, where="json_get_int(metadata, 'n') > 1", by="vectors"
    )
    assert found.id == "c"
    ((_, best), (_, worse)) = store.similarity_search_with_relevance_scores("what is bread made of?", k=2)
    assert 1 >= best >= worse >= 0
    assert store.add_documents([Document("K2 is in the Karakoram.", id="a")]) == ["a"]
    retriever = store.as_retriever(search_kwargs={"k": 3})
    assert {document.page_content for document in retriever.invoke("K2")} == {"K2 is in the Karakoram.", *TEXTS[1:]}
    assert {document.id for document in run(retriever.ainvoke("K2"))} == {"a", "b", "c"}
    (fresh,) = store.add_texts(["no name"])
    assert store.delete([fresh, "a"])
    assert not store.delete(["a"])
    assert len(store.index) == 2
    with pytest.raises(InputError, match="2 texts, 1 of metadata"):
        store.add_texts(["x", "y"], [{}])


FILTERED = {
    "equal": ({"n": 1}, {"b"}),
    "greater": ({"n": {"$gt": 0}}, {"b", "c"}),
    "between": ({"n": {"$gte": 0, "$lt": 2}}, {"a", "b"}),
    "in": ({"kind": {"$in": ["x", "z"]}}, {"a", "b"}),
    "or": ({"$or": [{"n": 0}, {"kind": "y"}]}, {"a", "c"}),
    "and not": ({"$and": [{"n": {"$ne": 0}}, {"$not": {"kind": "y"}}]}, {"b"}),
    "no bool": ({"kind": True}, set()),
}


def test_langchain_store_filters_and_gets_whole_documents(langchain, embedder, tmp_path):
    store = langchain.Me5VectorStore.from_texts(
        TEXTS, langchain.Me5Embeddings(embedder), [{"n": n, "kind": kind} for n, kind in enumerate("xxy")],
        ids=["a", "b", "c"], uri=str(tmp_path / "s"),
    )  # fmt: skip
    for filters, expected in FILTERED.values():
        found = store.similarity_search("bread", k=3, filter=filters)
        assert {document.id for document in found} == expected
    (found,) = store.similarity_search("bread", k=3, filter={"n": {"$gt": 0}}, where="source = 'c'")
    assert (found.id, found.metadata) == ("c", {"n": 2, "kind": "y"})
    long = " ".join(f"Sentence {number} is about bread." for number in range(100))
    store.add_texts([long], ids=["long"])
    assert len(store.index) > 4
    assert [document.page_content for document in store.get_by_ids(["long", "b", "none", "b"])] == [TEXTS[1], long]
    for wrong, said in (({"n": {"$near": 1}}, "unknown operator '\\$near' of 'n'"), ({"$nor": []}, "unknown operator")):
        with pytest.raises(InputError, match=said):
            store.similarity_search("bread", filter=wrong)


def test_langchain_store_searches_by_vector_and_for_variety(langchain, embedder, tmp_path):
    copies = [TEXTS[1], "Bread needs flour, water, salt, and some yeast.", TEXTS[0]]
    store = langchain.Me5VectorStore.from_texts(
        copies, langchain.Me5Embeddings(embedder), [{"n": n} for n in range(3)], ids=["b", "b2", "a"],
        uri=str(tmp_path / "s"),
    )  # fmt: skip
    vector = embedder.encode_query("what is bread made of?")[0].tolist()
    assert {document.id for document in store.similarity_search_by_vector(vector, k=2)} == {"b", "b2"}
    varied = store.max_marginal_relevance_search("what is bread made of?", k=2, lambda_mult=0.0)
    assert {document.id for document in varied} in ({"a", "b"}, {"a", "b2"})
    (best, second) = store.max_marginal_relevance_search("what is bread made of?", k=2, lambda_mult=1.0)
    assert {best.id, second.id} == {"b", "b2"}
    assert store.max_marginal_relevance_search("bread", filter={"n": 9}) == []
    retriever = store.as_retriever(search_type="mmr", search_kwargs={"k": 1, "filter": {"n": 2}})
    assert [document.id for document in retriever.invoke("bread")] == ["a"]


def test_langchain_embeddings_load_what_they_are_told(langchain, xlmr):
    client = Client(retries=0)
    assert langchain.Me5Embeddings(client).embedder is client
    assert langchain.Me5Embeddings().embedder.checkpoint.name == Embedder.load().checkpoint.name
    with pytest.warns(match="nothing says how"):
        assert langchain.Me5Embeddings(str(xlmr)).embedder.checkpoint.path == xlmr


def test_llama_index_embedding(embedder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from llama_index.core import VectorStoreIndex
        from llama_index.core.schema import TextNode

        from me5.adapters.llama_index import Me5Embedding

        model = Me5Embedding(embedder)
        index = VectorStoreIndex([TextNode(text=text) for text in TEXTS], embed_model=model)
        (found,) = index.as_retriever(similarity_top_k=1).retrieve("what is bread made of?")
    assert found.node.get_content() == TEXTS[1]
    assert found.score == pytest.approx(
        (embedder.encode_query("what is bread made of?") @ embedder.encode_document(TEXTS[1]).T).item(), abs=1e-5
    )
    assert_same(model.get_text_embedding_batch(TEXTS), embedder.encode_document(TEXTS))
    assert_same(run(model.aget_query_embedding("K2")), model.get_query_embedding("K2"))


def test_haystack_embedders(embedder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from haystack import Document, Pipeline
        from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
        from haystack.document_stores.in_memory import InMemoryDocumentStore

        from me5.adapters.haystack import Me5DocumentEmbedder, Me5TextEmbedder

        store = InMemoryDocumentStore()
        documents = [Document(content=text, meta={"title": f"T{n}"}) for n, text in enumerate(TEXTS)]
        embedded = Me5DocumentEmbedder(embedder, ["title"]).run(documents)["documents"]
        store.write_documents(embedded)
        pipeline = Pipeline()
        pipeline.add_component("question", Me5TextEmbedder("me5-small"))
        pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
        pipeline.connect("question.embedding", "retriever.query_embedding")
        read_back = Pipeline.loads(pipeline.dumps(), allowed_modules=["me5.adapters.haystack"])
        (found,) = pipeline.run({"question": {"text": "what is bread made of?"}})["retriever"]["documents"]
    assert found.content == TEXTS[1]
    assert documents[0].embedding is None
    titled = [f"T{n} {text}" for n, text in enumerate(TEXTS)]
    assert_same([document.embedding for document in embedded], embedder.encode_document(titled))
    assert read_back.get_component("question").to_dict()["init_parameters"] == {"model": "me5-small", "task": None}
