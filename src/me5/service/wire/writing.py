"""Vectors on their way out: JSON, base64, raw float32, small integers and bits; shorter where that is allowed.

orjson holds the interpreter while it writes, so vectors are written one at a time, in a thread: the event loop gets its
turn between two of them.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import Response

from me5.service.errors import FieldError
from me5.service.record import RequestRecord
from me5.service.settings import ServiceSettings
from me5.vectors import Float32, normalized

OCTETS = "application/octet-stream"
# Numbers that are written where they are; more go to a thread, which costs as much as writing about this many.
_INLINE = 2048


def check_dimensions(dimensions: int | None, dim: int, settings: ServiceSettings, param: str) -> None:
    """Raise `FieldError` unless vectors of so many numbers may be sent."""
    if dimensions is None or dimensions == dim:
        return
    if dimensions > dim:
        raise FieldError(f"`{param}` is {dimensions}, and vectors of this model have {dim} numbers", param)
    if not settings.allow_dimensions:
        raise FieldError(
            f"`{param}` is {dimensions}, and this model was not trained for vectors shorter than its {dim}: leave the "
            "field out. The service's option --allow-dimensions cuts them all the same",
            param,
        )


def shortened(vectors: Float32, dimensions: int | None, *, unit: bool = True) -> Float32:
    """The first numbers of every vector, at unit length again where `unit`."""
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    short: Float32 = np.ascontiguousarray(vectors[:, :dimensions])
    if unit:
        return normalized(short)
    return short


def number_rows(vectors: Sequence[npt.NDArray[Any]] | npt.NDArray[Any]) -> list[orjson.Fragment]:
    """Each vector (or matrix) as a JSON array."""
    return [orjson.Fragment(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)) for row in vectors]


def base64_rows(vectors: Float32) -> list[str]:
    """Each vector's little-endian float32 bytes, as base64."""
    return [b64encode(row).decode("ascii") for row in vectors.astype("<f4", copy=False)]


def byte_rows(vectors: Float32) -> npt.NDArray[np.uint8]:
    """Each vector in bytes: 128 is zero, 255 (or 1) its largest number. Angles stay, lengths do not.

    A scale of its own keeps a text's bytes the same in any company; a common one would waste most of the range, for in
    a unit vector of 1,024 numbers the usual one is 0.03.
    """
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), np.float32(1e-12))
    scaled: Float32 = np.rint(vectors / largest * np.float32(127)) + 128
    return scaled.astype(np.uint8)


def bit_rows(vectors: Float32) -> npt.NDArray[np.uint8]:
    """The signs of each vector, eight to a byte, the first in the highest bit: (texts, ceil(dim / 8))."""
    return np.packbits(vectors > 0, axis=1)


def signed(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Bytes moved down by 128."""
    return (rows ^ np.uint8(128)).view(np.int8)


def wants_octets(accept: str) -> bool:
    """Whether an Accept header asks for raw float32."""
    return any(part.partition(";")[0].strip().lower() == OCTETS for part in accept.split(","))


def octets(vectors: Float32, headers: Mapping[str, str]) -> Response:
    """Vectors as they are in memory: little-endian float32, row after row; `x-me5-shape` is texts,dim."""
    shape = ",".join(map(str, vectors.shape))
    return Response(vectors.astype("<f4", copy=False).tobytes(), 200, {**headers, "x-me5-shape": shape}, OCTETS)


async def json_reply(
    content: Callable[[], Any], headers: Mapping[str, str], record: RequestRecord, *, numbers: int = 0
) -> Response:
    """What `content()` gives, as JSON; built in a thread where it holds many `numbers`."""

    def build() -> bytes:
        return orjson.dumps(content(), option=orjson.OPT_SERIALIZE_NUMPY)

    with record.serializing():
        body = build() if numbers <= _INLINE else await asyncio.to_thread(build)
    return Response(body, 200, dict(headers), "application/json")
