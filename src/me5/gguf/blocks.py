"""GGML's types of numbers: their names, how many numbers and bytes a block has, and blocks as float32.

Those of our own files are known here. For all others the gguf package is asked, which takes 0.08 s to import.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from me5.errors import CheckpointError

Float32 = npt.NDArray[np.float32]

# Type's number -> name, numbers in a block, its bytes.
_KNOWN = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2), 2: ("Q4_0", 32, 18), 8: ("Q8_0", 32, 34),
}  # fmt: skip
_SIZES = {name: (numbers, size) for name, numbers, size in _KNOWN.values()}


def name_of(number: int) -> str:
    """The name of a type by its number. Raises `ValueError` where there is no such type."""
    if number in _KNOWN:
        return _KNOWN[number][0]
    from gguf import GGMLQuantizationType

    return str(GGMLQuantizationType(number).name)


@lru_cache(maxsize=64)
def decodes(name: str) -> bool:
    """Whether a type can be turned into float32."""
    if name in _SIZES:
        return True
    try:
        dequantize(np.zeros((1, size_of(name)[1]), np.uint8), name)
    except NotImplementedError:
        return False
    return True


def size_of(name: str) -> tuple[int, int]:
    """How many numbers a block of a type holds, and its bytes."""
    if name in _SIZES:
        return _SIZES[name]
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    numbers, size = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    return numbers, size


def dequantize(blocks: npt.NDArray[Any], name: str) -> Float32:
    """Bytes (..., bytes of a row) as numbers (..., numbers of a row)."""
    if name == "Q8_0":
        return _rows(blocks, name, lambda whole: whole[..., 2:].view(np.int8).astype(np.float32))
    if name == "Q4_0":
        return _rows(blocks, name, _nibbles)
    from gguf import GGMLQuantizationType
    from gguf import dequantize as decode

    numbers: Float32 = decode(blocks, GGMLQuantizationType[name])
    return numbers


def _rows(blocks: npt.NDArray[np.uint8], name: str, integers: Any) -> Float32:
    """A float16 scale stands in front of every block's integers."""
    _, size = _SIZES[name]
    if blocks.shape[-1] % size:
        raise CheckpointError(f"rows of {blocks.shape[-1]:,} bytes are not whole blocks of {name}")
    whole = np.ascontiguousarray(blocks).reshape(*blocks.shape[:-1], -1, size)
    numbers: Float32 = integers(whole)
    numbers *= np.ascontiguousarray(whole[..., :2]).view("<f2").astype(np.float32)
    return numbers.reshape(*blocks.shape[:-1], -1)


def _nibbles(whole: npt.NDArray[np.uint8]) -> Float32:
    """The low halves of all bytes, then the high ones, moved up by 8."""
    packed = whole[..., 2:]
    numbers = np.empty((*packed.shape[:-1], 32), np.float32)
    numbers[..., :16] = packed & 15
    numbers[..., 16:] = packed >> 4
    numbers -= 8
    return numbers
