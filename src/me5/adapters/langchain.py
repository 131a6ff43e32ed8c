"""LangChain: `Me5Embeddings` for any vector store, and `Me5VectorStore` over a `me5.search.Index`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from me5.adapters.metadata import mongo_filter
from me5.adapters.stored import metadata_of, stored
from me5.embedder import Embedder
from me5.errors import InputError, MissingExtraError, counted
from me5.search.conditions import Condition, all_of, any_of
from me5.search.documents import Document as Me5Document
from me5.search.filters import parse
from me5.search.hits import Hit
from me5.search.index import Index

if TYPE_CHECKING:
    from me5.client import Client

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import VectorStore
    from langchain_core.vectorstores.utils import maximal_marginal_relevance
except ImportError as error:
    raise MissingExtraError("this adapter needs LangChain: pip install langchain-core") from error


class Me5Embeddings(Embeddings):
    """An `Embedder` as LangChain's `Embeddings`; `task` as in `Embedder.encode_query`.

    A `Client` does as well. A name instead is loaded; None is the bundled model.
    """

    def __init__(self, embedder: "Embedder | Client | str | None" = None, *, task: str | None = None) -> None:
        if embedder is None or isinstance(embedder, str):
            embedder = Embedder.load(embedder)
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
    (a filter), `by`, `task` and `exact` as `Index.search` does, and `filter`: `{"year": {"$gte": 2020}}`.
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
                f"{counted(len(listed), 'text')}, {len(tables):,} of metadata and {counted(len(names), 'id')}; "
                "expected as many of each"
            )
        documents = {
            name: Me5Document(text, metadata=metadata)
            for name, text, metadata in zip(names, listed, tables, strict=True)
        }
        with self.index:
            summary = self.index.add_documents(documents)
            if summary.bad:
                raise InputError(f"{counted(len(summary.bad), 'document')} could not be added; {summary.bad[0]}")
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:  # noqa: ARG002
        """Drop documents by id."""
        if ids is None:
            raise InputError("name the ids to delete")
        return self.index.remove(ids) > 0

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of these ids that are there, whole."""
        return [Document(id=one.name, page_content=one.text, metadata=one.metadata) for one in stored(self.index, ids)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The `k` best passages."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """The `k` best passages, with the scores of `Hit`."""
        where = _where(filter, kwargs.pop("where", None))
        # Texts were given ids of their own, and all of them are expected back.
        options = {"fold": False, **kwargs, "where": None if where is None else str(where)}
        return [(_document(hit), hit.score) for hit in self.index.search(query, k, **options)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Mapping[str, Any] | None = None,  # noqa: A002
        where: str | None = None, **kwargs: Any,  # noqa: ARG002
    ) -> list[Document]:  # fmt: skip
        """The `k` passages nearest to a vector."""
        rows = self.index.store.snapshot().nearest(np.asarray(embedding, np.float32), k, where=_where(filter, where))
        return [_row_document(row) for row in rows]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Of the `fetch_k` best passages the `k` that are best and least alike; `lambda_mult` 1 asks for the best."""
        (vector,) = self.index.embedder.encode_query([query], task=kwargs.pop("task", None))
        return self.max_marginal_relevance_search_by_vector(vector.tolist(), k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, *,
        filter: Mapping[str, Any] | None = None, where: str | None = None, **kwargs: Any,  # noqa: A002, ARG002
    ) -> list[Document]:  # fmt: skip
        """The same for a vector."""
        query = np.asarray(embedding, np.float32)
        snapshot = self.index.store.snapshot()
        near = snapshot.nearest(query, fetch_k, where=_where(filter, where))
        if not near:
            return []
        rows = snapshot.rows(any_of("id", [row["id"] for row in near]), vectors=True)
        chosen = maximal_marginal_relevance(query, [row["vector"] for row in rows], lambda_mult, k)
        return [_row_document(rows[at]) for at in chosen]

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
        if not isinstance(embedding, Me5Embeddings) or not isinstance(embedding.embedder, Embedder):
            raise InputError(f"a me5 store needs Me5Embeddings of an Embedder, got {type(embedding).__name__}")
        store = cls(Index.open(uri, embedding.embedder, create=True))
        store.add_texts(texts, metadatas, ids=ids)
        return store


def _document(hit: Hit) -> Document:
    return Document(id=hit.source, page_content=hit.text, metadata=dict(hit.metadata))


def _row_document(row: Mapping[str, Any]) -> Document:
    return Document(id=row["source"], page_content=row["text"], metadata=metadata_of(row))


def _where(filters: Mapping[str, Any] | None, where: str | None) -> Condition | None:
    return all_of(mongo_filter(filters) if filters else None, None if where is None else parse(where))
