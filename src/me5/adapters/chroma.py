"""Chroma: `Me5EmbeddingFunction`, for the `embedding_function` of a collection."""

from typing import Any

import numpy as np

from me5.embedder import Embedder
from me5.errors import MissingExtraError

try:
    from chromadb import Documents, EmbeddingFunction, Embeddings
    from chromadb.utils.embedding_functions import register_embedding_function
except ImportError as error:
    raise MissingExtraError("this adapter needs Chroma: pip install chromadb") from error


@register_embedding_function
class Me5EmbeddingFunction(EmbeddingFunction[Documents]):  # type: ignore[misc]
    """Documents and queries, each behind its prompt. Chroma remembers the name of the model, and loads it again.

    `model` is what `Embedder.load` takes, `task` is that of `Embedder.encode_query`.
    """

    def __init__(self, model: str | None = None, task: str | None = None) -> None:
        self.model, self.task = model, task
        self._embedder = Embedder.load(model)

    def __call__(self, input: Documents) -> Embeddings:  # noqa: A002
        """The vectors of documents."""
        return [np.asarray(vector) for vector in self._embedder.encode_document(input)]

    def embed_query(self, input: Documents) -> Embeddings:  # noqa: A002
        """The vectors of queries."""
        return [np.asarray(vector) for vector in self._embedder.encode_query(input, task=self.task)]

    @staticmethod
    def name() -> str:
        """The name under which Chroma knows it."""
        return "me5"

    def default_space(self) -> Any:
        """Vectors have unit length."""
        return "cosine"

    def get_config(self) -> dict[str, Any]:
        """What Chroma keeps of it."""
        return {"model": self.model, "task": self.task}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> "Me5EmbeddingFunction":
        """From what Chroma kept."""
        return Me5EmbeddingFunction(config.get("model"), config.get("task"))
