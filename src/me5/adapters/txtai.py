"""txtai: `Me5Vectors`, named as the `method` of its embeddings."""

from typing import Any

import numpy as np

from me5.embedder import Embedder
from me5.errors import MissingExtraError
from me5.vectors import Float32

try:
    from txtai.vectors import Vectors
except ImportError as error:
    raise MissingExtraError("this adapter needs txtai: pip install txtai") from error


class Me5Vectors(Vectors):  # type: ignore[misc]
    """Documents and queries, each behind its prompt. `path` is what `Embedder.load` takes, or `bundled`."""

    def loadmodel(self, path: str | None) -> Embedder:
        """The model."""
        return Embedder.load(None if path == "bundled" else path)

    def encode(self, data: Any, category: str | None = None) -> Float32:
        """Vectors of texts; txtai calls queries `query` and everything else `data`."""
        encode = self.model.encode_query if category == "query" else self.model.encode_document
        vectors: Float32 = np.asarray(encode(list(data)), np.float32)
        return vectors
