"""LlamaIndex: `Me5Embedding`, for `Settings.embed_model` or any index."""

from typing import Any

from me5.embedder import Embedder
from me5.errors import MissingExtraError

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
    from llama_index.core.bridge.pydantic import PrivateAttr
except ImportError as error:
    raise MissingExtraError("this adapter needs LlamaIndex: pip install llama-index-core") from error


class Me5Embedding(BaseEmbedding):
    """An `Embedder` as LlamaIndex's embedding model; `task` as in `Embedder.encode_query`."""

    task: str | None = None
    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder, *, task: str | None = None, **kwargs: Any) -> None:
        super().__init__(model_name=embedder.checkpoint.name, task=task, **kwargs)
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex tells of it."""
        return "Me5Embedding"

    def _get_query_embedding(self, query: str) -> Embedding:
        vector: Embedding = self._embedder.encode_query([query], task=self.task)[0].tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        vectors: list[Embedding] = self._embedder.encode_document(texts).tolist()
        return vectors
