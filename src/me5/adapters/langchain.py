"""LangChain: `Me5Embeddings` for any vector store, and `Me5VectorStore` over a `me5.search.Index`."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from me5.embedder import Embedder
from me5.errors import InputError, MissingExtraError
from me5.search.documents import Document as Me5Document
from me5.search.hits import Hit
from me5.search.index import Index

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore
except ImportError as error:
    raise MissingExtraError("this adapter needs LangChain: pip install langchain-core") from error


class Me5Embeddings(Embeddings):
    """An `Embedder` as LangChain's `Embeddings`; `task` as in `Embedder.encode_query`."""

    def __init__(self, embedder: Embedder, *, task: str | None = None) -> None:
        self.embedder = embedder
        self.task = task

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of documents, as the model wants them written."""
        vectors: list[list[float]] = self.embedder.encode_document(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question, as the model wants it written."""
        vector: list[float] = self.embedder.encode_query([text], task=self.task)[0].tolist()
        return vector


class Me5VectorStore(VectorStore):
    """An `Index` as LangChain's `VectorStore`.

    A document longer than the store's passages is split; its passages share its id. Searches take `where`
    (a filter), `hybrid`, `task` and `exact` as `Index.search` does.
    """

    def __init__(self, index: Index) -> None:
        self.index = index

    @property
    def embeddings(self) -> Me5Embeddings:
        """The model of the store."""
        return Me5Embeddings(self.index.embedder)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,  # noqa: ARG002 (LangChain's signature)
    ) -> list[str]:
        """Add texts, replacing those whose id is there, and return their ids."""
        listed = list(texts)
        tables = metadatas if metadatas is not None else [{} for _ in listed]
        # LangChain passes None for each document that has no id.
        names = [name or str(uuid4()) for name in (ids if ids is not None else [None] * len(listed))]
        if not len(listed) == len(tables) == len(names):
            raise InputError(
                f"{len(listed)} texts, {len(tables)} metadatas and {len(names)} ids; expected as many of each"
            )
        documents = {
            name: Me5Document(text, metadata=metadata)
            for name, text, metadata in zip(names, listed, tables, strict=True)
        }
        with self.index:
            summary = self.index.add_documents(documents)
            if summary.bad:
                raise InputError(f"{len(summary.bad)} documents could not be added; {summary.bad[0]}")
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:  # noqa: ARG002
        """Drop documents by id."""
        if ids is None:
            raise InputError("name the ids to delete")
        return self.index.remove(ids) > 0

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` best passages."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """The `k` best passages, with the scores of `Hit`."""
        # Texts were given ids of their own, and all of them are expected back.
        hits = self.index.search(query, k, **{"fold": False, **kwargs})
        return [(_document(hit), hit.score) for hit in hits]

    def _select_relevance_score_fn(self) -> Any:
        # A cosine of unit vectors; below 0 is as irrelevant as 0.
        return lambda score: max(0.0, score)

    @classmethod
    def from_texts(  # type: ignore[override]
        cls,
        texts: Sequence[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        uri: str,
        **kwargs: Any,  # noqa: ARG003
    ) -> "Me5VectorStore":
        """A store at `uri` with these texts."""
        if not isinstance(embedding, Me5Embeddings):
            raise InputError(f"a me5 store needs Me5Embeddings, got {type(embedding).__name__}")
        store = cls(Index.open(uri, embedding.embedder, create=True))
        store.add_texts(texts, metadatas, ids=ids)
        return store


def _document(hit: Hit) -> Document:
    return Document(id=hit.source, page_content=hit.text, metadata=dict(hit.metadata))
