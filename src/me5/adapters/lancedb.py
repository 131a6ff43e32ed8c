"""LanceDB: importing this registers `me5` in LanceDB's registry of embedding functions."""

from functools import cached_property
from typing import Any

from me5.embedder import Embedder
from me5.errors import MissingExtraError

try:
    from lancedb.embeddings import TextEmbeddingFunction, register
except ImportError as error:
    raise MissingExtraError("this adapter needs LanceDB: pip install lancedb") from error


@register("me5")  # type: ignore[no-untyped-call]
class Me5EmbeddingFunction(TextEmbeddingFunction):
    """Documents and queries, each behind its prompt. LanceDB keeps the model's name with the table.

    `name` is what `Embedder.load` takes, `task` is that of `Embedder.encode_query`.
    """

    name: str | None = None
    task: str | None = None

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder.load(self.name)

    def ndims(self) -> int:
        """The width of the vectors."""
        return self._embedder.dim

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """The vector of each query."""
        return list(self._embedder.encode_query(self.sanitize_input(query), task=self.task))

    def generate_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """The vector of each document."""
        return list(self._embedder.encode_document(list(texts)))
