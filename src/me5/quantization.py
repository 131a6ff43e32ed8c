"""Vectors in the form that is stored: fewer dimensions, then float32, eight bits or one bit a number.

    int8, uint8       each vector by its own largest number: to ±127, or 1 to 255 with zero at 128
    binary, ubinary   signs, eight to a byte, the first in the highest bit; binary is moved down by 128

A scale of its own keeps a text's bytes the same in any company, and its angles; lengths are lost. A common range for
each dimension, measured on a sample of vectors (`ranges_of`), is what sentence-transformers uses.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from me5.errors import InputError
from me5.vectors import Float32, normalized

Form = Literal["float32", "int8", "uint8", "binary", "ubinary"]
Rows = npt.NDArray[Any]
FORMS: tuple[Form, ...] = ("float32", "int8", "uint8", "binary", "ubinary")
_LEAST = np.float32(1e-12)


def check_form(form: str) -> None:
    """Raise `InputError` for an unknown form."""
    if form not in FORMS:
        raise InputError(f"unknown precision {form!r} of stored vectors; expected one of {', '.join(FORMS)}")


def shortened(vectors: Float32, dim: int | None, *, unit: bool = True) -> Float32:
    """The first `dim` numbers of every vector (None: all of them), at unit length again where `unit`."""
    if dim is None or dim >= vectors.shape[1]:
        return vectors
    if dim < 1:
        raise InputError(f"vectors are cut to at least 1 dimension, got {dim}")
    short: Float32 = np.ascontiguousarray(vectors[:, :dim])
    return normalized(short) if unit else short


def quantized(vectors: Float32, form: Form, ranges: npt.ArrayLike | None = None) -> Rows:
    """Vectors (n, dim) in a form: float32, int8 or uint8 (n, dim), or bits int8 or uint8 (n, ceil(dim / 8)).

    `ranges` (2, dim), the least and greatest number of each dimension, divides each into 256 steps of its own. Raises
    `InputError` for an unknown form, and for ranges that do not fit.
    """
    check_form(form)
    if ranges is None or form not in ("int8", "uint8"):
        return _QUANTIZED[form](vectors)
    least, greatest = _checked_ranges(ranges, vectors.shape[1])
    steps = (greatest - least) / 255
    rows = np.clip(np.floor((vectors - least) / np.where(steps == 0, 1, steps)), 0, 255).astype(np.uint8)
    return signed(rows) if form == "int8" else rows


def restored(rows: Rows, form: Form, dim: int | None = None) -> Float32:
    """Unit vectors (n, dim) whose dot products are the cosines of stored ones, which had no `ranges`.

    `dim` cuts off the bits that fill a last byte. Raises `InputError` for rows of another type.
    """
    check_form(form)
    if rows.dtype != _TYPES[form] and form != "float32":
        raise InputError(f"vectors stored as {form} are {_TYPES[form]}, got {rows.dtype}")
    if form in ("binary", "ubinary"):
        bits = np.unpackbits(rows if form == "ubinary" else _unsigned(rows), axis=1, count=dim)
        return normalized(bits.astype(np.float32) * 2 - 1)
    numbers = rows.astype(np.float32)
    return normalized(numbers - 128 if form == "uint8" else numbers)


def ranges_of(vectors: Float32) -> Float32:
    """The least and the greatest number of each dimension (2, dim) of a sample of vectors (n, dim)."""
    return np.stack([vectors.min(axis=0), vectors.max(axis=0)])


def byte_rows(vectors: Float32) -> npt.NDArray[np.uint8]:
    """Each vector in bytes: 128 is zero, 255 (or 1) its largest number.

    A common scale would waste most of the range, for in a unit vector of 1,024 numbers the usual one is 0.03.
    """
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), _LEAST)
    scaled: Float32 = np.rint(vectors / largest * np.float32(127)) + 128
    return scaled.astype(np.uint8)


def bit_rows(vectors: Float32) -> npt.NDArray[np.uint8]:
    """The signs of each vector, eight to a byte, the first in the highest bit: (texts, ceil(dim / 8))."""
    return np.packbits(vectors > 0, axis=1)


def signed(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Bytes moved down by 128."""
    return (rows ^ np.uint8(128)).view(np.int8)


def _unsigned(rows: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    return rows.view(np.uint8) ^ np.uint8(128)


def _checked_ranges(ranges: npt.ArrayLike, dim: int) -> Float32:
    checked = np.asarray(ranges, np.float32)
    if checked.shape != (2, dim):
        raise InputError(f"ranges have the shape {checked.shape}, expected (2, {dim}): least and greatest numbers")
    return checked


_QUANTIZED: Mapping[str, Callable[[Float32], Rows]] = {
    "float32": lambda vectors: vectors,
    "int8": lambda vectors: signed(byte_rows(vectors)),
    "uint8": byte_rows,
    "binary": lambda vectors: signed(bit_rows(vectors)),
    "ubinary": bit_rows,
}
_TYPES: Mapping[str, "np.dtype[Any]"] = {
    "float32": np.dtype(np.float32),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "binary": np.dtype(np.int8),
    "ubinary": np.dtype(np.uint8),
}
