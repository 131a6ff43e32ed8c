"""What every client should receive: the vectors of `Embedder`, by side."""

from functools import cache

import numpy as np

from me5 import Embedder

TEXTS = ["how much protein should a female eat", "南瓜的家常做法", "Quelle est la hauteur du K2 ? 🏔"]
SIDES = ("query", "document", "both")
# bf16 gives a text 5e-5 of difference in other company; the sides of these texts lie a hundred times as far apart.
TOLERANCE = 1e-3


@cache
def embedder() -> Embedder:
    """The model that the services serve."""
    return Embedder.load()


@cache
def expected(side: str) -> np.ndarray:
    """Vectors (texts, dim) of `TEXTS`."""
    methods = {"query": embedder().encode_query, "document": embedder().encode_document, "both": embedder().encode}
    return methods[side](TEXTS)


def assert_same(vectors, others) -> None:
    np.testing.assert_allclose(np.asarray(vectors, np.float32), others, rtol=0, atol=TOLERANCE)
