"""What every client should receive: the vectors of `Embedder`, by side, to the bit; and what makes a service refuse it.

Both run at `auto`: whatever that is here, a text's vector does not depend on its batch or process. JSON carries float32
without loss.
"""

from functools import cache

import numpy as np

from me5 import Embedder

TEXTS = ["how much protein should a female eat", "南瓜的家常做法", "Quelle est la hauteur du K2 ? 🏔"]
SIDES = ("query", "document", "both")

# Keys of `narrow_server`, which fill by 15 tokens a second up to 900; one a test, for what is used is used. After these
# documents, of 900 tokens, the same are refused for a minute, which no machine is too slow for, and `TEXTS` as queries,
# of 87, for 5.8 seconds: clients that do not heed Retry-After are back within one.
LIMITED = tuple(f"sk-limited-{number}" for number in range(6))
ALL_OF_IT = ["a " * 448] * 2


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
    np.testing.assert_array_equal(np.asarray(vectors, np.float32), others)
