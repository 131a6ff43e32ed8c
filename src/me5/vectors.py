"""Arithmetic on vectors: unit length, cosines, blocks into one array."""

import numpy as np
import numpy.typing as npt

from me5.errors import InputError

Float32 = npt.NDArray[np.float32]

# Norms below this count as this: a vector of zeros stays one.
_LEAST_NORM = np.float32(1e-12)


def normalized(vectors: Float32) -> Float32:
    """Vectors (n, dim) at unit length; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Float32 = vectors / np.maximum(norms, _LEAST_NORM)
    return unit


def cosines(a: npt.ArrayLike, b: npt.ArrayLike) -> Float32:
    """Cosines of every vector of `a` (n, dim) with every one of `b` (m, dim): float32 (n, m).

    One vector (dim,) counts as one row. Raises `InputError` for shapes that do not fit.
    """
    left, right = np.atleast_2d(np.asarray(a, np.float32)), np.atleast_2d(np.asarray(b, np.float32))
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise InputError(
            f"vectors of shapes {left.shape} and {right.shape} cannot be compared; expected (n, dim) and (m, dim)"
        )
    products: Float32 = normalized(left) @ normalized(right).T
    return products


def paired_cosines(a: npt.ArrayLike, b: npt.ArrayLike) -> Float32:
    """Cosines of each vector of `a` (n, dim) with the one of `b` (n, dim) in the same place: float32 (n,).

    One vector (dim,) counts as one row. Raises `InputError` for shapes that differ.
    """
    left, right = np.atleast_2d(np.asarray(a, np.float32)), np.atleast_2d(np.asarray(b, np.float32))
    if left.ndim != 2 or left.shape != right.shape:
        raise InputError(f"vectors of shapes {left.shape} and {right.shape} are not pairs; expected twice (n, dim)")
    products: Float32 = np.einsum("nd,nd->n", normalized(left), normalized(right))
    return products


def join(blocks: list[Float32], dim: int) -> Float32:
    """One array (n, dim) from blocks of rows. Empties the list as it copies, so that nothing is held twice."""
    if len(blocks) == 1:
        return blocks[0]
    joined = np.empty((sum(map(len, blocks)), dim), blocks[0].dtype if blocks else np.float32)
    at = len(joined)
    while blocks:
        block = blocks.pop()
        joined[at - len(block) : at] = block
        at -= len(block)
    return joined
