"""Haystack: `Me5TextEmbedder` for questions and `Me5DocumentEmbedder` for documents, as components of a pipeline.

Both name their model, so that a pipeline can be written to a file and read back; it is loaded by `warm_up`, or at once
from an `Embedder` that is given.
"""

from dataclasses import replace
from typing import Any

from me5.embedder import Embedder
from me5.errors import MissingExtraError

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ImportError as error:
    raise MissingExtraError("this adapter needs Haystack: pip install haystack-ai") from error


class _Model:
    """A model by name, loaded when first needed."""

    def __init__(self, model: "str | Embedder | None") -> None:
        self.embedder = model if isinstance(model, Embedder) else None
        self.name = model.checkpoint.name if isinstance(model, Embedder) else model

    def load(self) -> Embedder:
        """The model."""
        if self.embedder is None:
            self.embedder = Embedder.load(self.name)
        return self.embedder


@component
class Me5TextEmbedder:
    """Embeds a question; `task` as in `Embedder.encode_query`."""

    def __init__(self, model: str | Embedder | None = None, task: str | None = None) -> None:
        self._model = _Model(model)
        self.task = task

    def warm_up(self) -> None:
        """Load the model."""
        self._model.load()

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """The vector of a question."""
        return {"embedding": self._model.load().encode_query([text], task=self.task)[0].tolist()}

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline's file."""
        written: dict[str, Any] = default_to_dict(self, model=self._model.name, task=self.task)
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Me5TextEmbedder":
        """From a pipeline's file."""
        read: Me5TextEmbedder = default_from_dict(cls, data)
        return read


@component
class Me5DocumentEmbedder:
    """Embeds documents; `meta_fields` such as a title are put in front of the content."""

    def __init__(self, model: str | Embedder | None = None, meta_fields: list[str] | None = None) -> None:
        self._model = _Model(model)
        self.meta_fields = list(meta_fields or ())

    def warm_up(self) -> None:
        """Load the model."""
        self._model.load()

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """The documents, each with its vector."""
        texts = []
        for document in documents:
            fields = (document.meta.get(name) for name in self.meta_fields)
            texts.append(" ".join([*(str(value) for value in fields if value), document.content or ""]))
        vectors = self._model.load().encode_document(texts).tolist() if texts else []
        return {
            "documents": [
                replace(document, embedding=vector) for document, vector in zip(documents, vectors, strict=True)
            ]
        }

    def to_dict(self) -> dict[str, Any]:
        """For a pipeline's file."""
        written: dict[str, Any] = default_to_dict(self, model=self._model.name, meta_fields=self.meta_fields)
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Me5DocumentEmbedder":
        """From a pipeline's file."""
        read: Me5DocumentEmbedder = default_from_dict(cls, data)
        return read
