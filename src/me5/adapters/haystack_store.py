"""Haystack: `Me5DocumentStore` over a `me5.search.Index`, which embeds what it is given, and `Me5Retriever` on it."""

from collections.abc import Iterable, Mapping
from typing import Any

from me5.adapters.metadata import condition, joined
from me5.adapters.stored import stored
from me5.embedder import Embedder
from me5.errors import InputError, MissingExtraError, counted
from me5.search.conditions import Condition
from me5.search.documents import Document as Me5Document
from me5.search.index import Index
from me5.search.searching import By

try:
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy
    from haystack.errors import FilterError
    from haystack.utils.filters import document_matches_filter
except ImportError as error:
    raise MissingExtraError("this adapter needs Haystack: pip install haystack-ai") from error


class Me5DocumentStore:
    """An `Index` as Haystack's document store. It embeds contents itself; vectors of documents are not kept.

    A document longer than the store's passages is split, and is whole again where it is read. `model` is a name or an
    `Embedder`; None is the store's, or the bundled model for a new one. Metadata is kept as JSON.
    """

    def __init__(self, uri: str, model: str | Embedder | None = None) -> None:
        self.uri, self._model = uri, model
        self.index = Index.open(uri, model, create=True)

    def count_documents(self) -> int:
        """The number of documents."""
        return len(self.index.store.known_files())

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """The documents that Haystack's filters let through; every document is looked at."""
        if filters and not {"operator", "conditions"} & filters.keys():
            raise FilterError("a filter has an operator, and a field with a value or conditions")
        documents = (Document(id=one.name, content=one.text, meta=one.metadata) for one in stored(self.index))
        return [one for one in documents if not filters or document_matches_filter(filters=filters, document=one)]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Add documents and tell how many were written; an id that is there fails unless `policy` says otherwise."""
        if not isinstance(documents, Iterable) or any(not isinstance(one, Document) for one in documents):
            raise ValueError("write_documents takes a list of Haystack's Documents")
        there = self.index.store.known_files().keys()
        if policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL):
            for document in documents:
                if document.id in there:
                    raise DuplicateDocumentError(f"the document {document.id} is already there")
        if policy == DuplicatePolicy.SKIP:
            documents = [document for document in documents if document.id not in there]
        self._add({document.id: _me5_document(document) for document in documents})
        return len(documents)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Drop documents; ids that are not there do not matter."""
        self.index.remove(document_ids)

    def delete_all_documents(self, recreate_index: bool = False) -> None:  # noqa: ARG002
        """Drop all documents."""
        self.index.remove(list(self.index.store.known_files()))

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Drop the documents that a filter lets through, and tell how many."""
        found = self.filter_documents(filters)
        self.delete_documents([document.id for document in found])
        return len(found)

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Change the metadata of the documents that a filter lets through, and tell how many."""
        found = self.filter_documents(filters)
        self._add({one.id: Me5Document(one.content or "", metadata={**one.meta, **meta}) for one in found})
        return len(found)

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline's file."""
        name = self._model.checkpoint.name if isinstance(self._model, Embedder) else self._model
        written: dict[str, Any] = default_to_dict(self, uri=self.uri, model=name)
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Me5DocumentStore":
        """From a pipeline's file."""
        read: Me5DocumentStore = default_from_dict(cls, data)
        return read

    def _add(self, documents: Mapping[str, Me5Document]) -> None:
        with self.index:
            summary = self.index.add_documents(documents)
        if summary.bad:
            raise InputError(f"{counted(len(summary.bad), 'document')} could not be added; {summary.bad[0]}")


@component
class Me5Retriever:
    """The passages of a `Me5DocumentStore` that answer a question best, with their scores.

    `task`, `by` as in `Index.search`. Filters over metadata become those of the store: comparisons of strings and
    numbers, AND, OR, NOT.
    """

    def __init__(
        self,
        document_store: Me5DocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        task: str | None = None,
        by: By = "both",
    ) -> None:
        self.document_store, self.filters, self.top_k = document_store, filters, top_k
        self.task, self.by = task, by

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None) -> dict[str, Any]:
        """The best passages; `filters` and `top_k` override those of the component."""
        chosen = self.filters if filters is None else filters
        where = str(store_filter(chosen)) if chosen else None
        hits = self.document_store.index.search(
            query, top_k or self.top_k, where=where, task=self.task, by=self.by, fold=False
        )
        return {
            "documents": [
                Document(id=hit.source, content=hit.text, meta=dict(hit.metadata), score=hit.score) for hit in hits
            ]
        }

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline's file."""
        written: dict[str, Any] = default_to_dict(
            self, document_store=self.document_store.to_dict(), filters=self.filters, top_k=self.top_k, task=self.task,
            by=self.by,
        )  # fmt: skip
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Me5Retriever":
        """From a pipeline's file."""
        parameters = data["init_parameters"]
        store = Me5DocumentStore.from_dict(parameters["document_store"])
        read: Me5Retriever = default_from_dict(
            cls, {**data, "init_parameters": {**parameters, "document_store": store}}
        )
        return read


def store_filter(filters: Mapping[str, Any]) -> Condition:
    """Haystack's filters as a condition of the store. Raises `FilterError` for what it cannot be."""
    try:
        if "conditions" in filters:
            return joined(str(filters["operator"]), map(store_filter, filters["conditions"]))
        operator = "=" if filters["operator"] == "==" else filters["operator"]
        return condition(str(filters["field"]).removeprefix("meta."), operator, filters["value"])
    except KeyError as error:
        raise FilterError(f"a filter lacks {error}: {dict(filters)!r:.200}") from error
    except InputError as error:
        raise FilterError(str(error)) from error


def _me5_document(document: Document) -> Me5Document:
    if not document.content:
        raise ValueError(f"the document {document.id} has no text, which is all that this store keeps")
    return Me5Document(document.content, metadata=document.meta)
