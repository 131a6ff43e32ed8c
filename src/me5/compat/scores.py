"""How vectors are compared, by sentence-transformers' names: cosine, dot product, Euclidean and Manhattan distance."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from me5.compat.tensors import array, tensor
from me5.errors import InputError
from me5.vectors import Float32, cosines, normalized, paired_cosines

# Numbers in memory at once while distances are summed: 64 MB.
_BLOCK = 1 << 24


class SimilarityFunction(Enum):
    """The similarities; a name does as well."""

    COSINE = "cosine"
    DOT_PRODUCT = "dot"
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"

    @classmethod
    def possible_values(cls) -> list[str]:
        """All names."""
        return [one.value for one in cls]

    @staticmethod
    def to_similarity_fn(name: "str | SimilarityFunction") -> Callable[[Any, Any], Any]:
        """The function that compares every vector with every other."""
        return ALL_WITH_ALL[similarity_name(name)]

    @staticmethod
    def to_similarity_pairwise_fn(name: "str | SimilarityFunction") -> Callable[[Any, Any], Any]:
        """The function that compares the vectors of the same place."""
        return PAIRWISE[similarity_name(name)]


def similarity_name(name: Any) -> str:
    """The name of a similarity, given itself or as a member of any enum. Raises `InputError` for an unknown one."""
    found = getattr(name, "value", name)
    if found not in SimilarityFunction.possible_values():
        raise InputError(
            f"unknown similarity {found!r}; expected one of {', '.join(SimilarityFunction.possible_values())}"
        )
    return str(found)


def cos_sim(a: Any, b: Any) -> Any:
    """Cosines of every vector of `a` (n, dim) with every one of `b` (m, dim): (n, m)."""
    return tensor(cosines(array(a), array(b)))


def dot_score(a: Any, b: Any) -> Any:
    """Dot products (n, m)."""
    return tensor(_rows(a) @ _rows(b).T)


def euclidean_sim(a: Any, b: Any) -> Any:
    """Negative Euclidean distances (n, m)."""
    return tensor(-np.sqrt(_summed(a, b, np.square)))


def manhattan_sim(a: Any, b: Any) -> Any:
    """Negative Manhattan distances (n, m)."""
    return tensor(-_summed(a, b, np.abs))


def pairwise_cos_sim(a: Any, b: Any) -> Any:
    """Cosines of the vectors of the same place: (n,)."""
    return tensor(paired_cosines(array(a), array(b)))


def pairwise_dot_score(a: Any, b: Any) -> Any:
    """Dot products of the vectors of the same place: (n,)."""
    return tensor((_rows(a) * _rows(b)).sum(axis=1))


def pairwise_euclidean_sim(a: Any, b: Any) -> Any:
    """Negative Euclidean distances of the vectors of the same place: (n,)."""
    return tensor(-np.linalg.norm(_rows(a) - _rows(b), axis=1))


def pairwise_manhattan_sim(a: Any, b: Any) -> Any:
    """Negative Manhattan distances of the vectors of the same place: (n,)."""
    return tensor(-np.abs(_rows(a) - _rows(b)).sum(axis=1))


def unit_rows(vectors: Any) -> Float32:
    """Unit vectors (n, dim) of an array, a tensor or a list."""
    return normalized(_rows(vectors))


ALL_WITH_ALL: Mapping[str, Callable[[Any, Any], Any]] = {
    "cosine": cos_sim, "dot": dot_score, "euclidean": euclidean_sim, "manhattan": manhattan_sim,
}  # fmt: skip
PAIRWISE: Mapping[str, Callable[[Any, Any], Any]] = {
    "cosine": pairwise_cos_sim, "dot": pairwise_dot_score, "euclidean": pairwise_euclidean_sim,
    "manhattan": pairwise_manhattan_sim,
}  # fmt: skip


def _rows(vectors: Any) -> Float32:
    return np.atleast_2d(array(vectors))


def _summed(a: Any, b: Any, of: Callable[[Float32], Float32]) -> Float32:
    """The sums over dimensions of a function of differences (n, m), some rows at a time."""
    left, right = _rows(a), _rows(b)
    step = max(1, _BLOCK // max(1, right.size))
    sums: npt.NDArray[np.float32] = np.empty((len(left), len(right)), np.float32)
    for start in range(0, len(left), step):
        differences: Float32 = left[start : start + step, None] - right[None]
        sums[start : start + step] = of(differences).sum(axis=2)
    return sums
