"""Embedding functions inside the vector databases themselves; those that are not installed are skipped.

Chroma, Qdrant's client and txtai bring much with them, so they are not among our requirements. Run with chromadb 1.5.9,
qdrant-client 1.20.0 and txtai 9.14.0.
"""

import warnings

import numpy as np
import pytest

from me5 import Embedder

TEXTS = ["K2 rises to 8,611 metres above sea level.", "Bread needs flour, water, salt and yeast."]
QUESTION = "what is bread made of?"


@pytest.fixture(scope="module")
def embedder():
    return Embedder.load()


def test_lancedb_knows_me5_by_name(tmp_path, embedder):
    import lancedb
    from lancedb.embeddings import get_registry
    from lancedb.pydantic import LanceModel, Vector

    import me5.adapters.lancedb  # noqa: F401

    function = get_registry().get("me5").create()

    class Passage(LanceModel):
        text: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    table = lancedb.connect(tmp_path).create_table("passages", schema=Passage)
    table.add([{"text": text} for text in TEXTS])
    table = lancedb.connect(tmp_path).open_table("passages")
    assert table.search(QUESTION).limit(1).to_list()[0]["text"] == TEXTS[1]
    stored = np.array([row["vector"] for row in table.to_arrow().to_pylist()], np.float32)
    np.testing.assert_array_equal(stored, embedder.encode_document(TEXTS))
    (asked,) = function.compute_query_embeddings(QUESTION)
    np.testing.assert_array_equal(asked, embedder.encode_query(QUESTION)[0])


@pytest.mark.filterwarnings("ignore")
def test_chroma_embeds_both_sides_and_remembers_the_model(tmp_path, embedder):
    chromadb = pytest.importorskip("chromadb", reason="needs chromadb")
    from me5.adapters.chroma import Me5EmbeddingFunction

    client = chromadb.PersistentClient(path=str(tmp_path), settings=chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("passages", embedding_function=Me5EmbeddingFunction())
    collection.add(ids=["k2", "bread"], documents=TEXTS)
    again = client.get_collection("passages")
    for one in (collection, again):
        assert one.query(query_texts=[QUESTION], n_results=1)["ids"] == [["bread"]]
    stored = again.get(ids=["k2", "bread"], include=["embeddings"])["embeddings"]
    np.testing.assert_allclose(stored, embedder.encode_document(TEXTS), atol=1e-7)
    distance = again.query(query_texts=[QUESTION], n_results=1)["distances"][0][0]
    cosine = embedder.similarity(embedder.encode_query(QUESTION), embedder.encode_document(TEXTS[1])).item()
    assert distance == pytest.approx(1 - cosine, abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_qdrants_client_takes_vectors_as_they_are(embedder):
    qdrant_client = pytest.importorskip("qdrant_client", reason="needs qdrant-client")
    from qdrant_client.models import Distance, PointStruct, VectorParams

    client = qdrant_client.QdrantClient(":memory:")
    client.create_collection("passages", VectorParams(size=embedder.dim, distance=Distance.COSINE))
    vectors = embedder.encode_document(TEXTS)
    client.upsert("passages", [
        PointStruct(id=number, vector=vector.tolist(), payload={"text": text})
        for number, (vector, text) in enumerate(zip(vectors, TEXTS, strict=True))
    ])  # fmt: skip
    (best,) = client.query_points("passages", embedder.encode_query(QUESTION)[0].tolist(), limit=1).points
    assert best.payload == {"text": TEXTS[1]}


@pytest.mark.filterwarnings("ignore")
def test_txtai_takes_me5_as_its_method(tmp_path, embedder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        txtai = pytest.importorskip("txtai", reason="needs txtai")
    settings = {"method": "me5.adapters.txtai.Me5Vectors", "path": "bundled", "backend": "numpy", "content": True}
    embeddings = txtai.Embeddings(settings)
    embeddings.index(TEXTS)
    embeddings.save(str(tmp_path / "index"))
    again = txtai.Embeddings()
    again.load(str(tmp_path / "index"))
    for one in (embeddings, again):
        (found,) = one.search(QUESTION, 1)
        cosine = embedder.similarity(embedder.encode_query(QUESTION), embedder.encode_document(TEXTS[1])).item()
        assert (found["text"], found["score"]) == (TEXTS[1], pytest.approx(cosine, abs=1e-5))
