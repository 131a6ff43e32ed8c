"""Vectors on their way out: JSON, base64, raw float32; shorter where that is allowed.

orjson holds the interpreter while it writes, so vectors are written one at a time, in a thread: the event loop gets its
turn between two of them.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import orjson
from fastapi import Response

from me5.checkpoint import Checkpoint
from me5.service.errors import FieldError
from me5.service.record import RequestRecord
from me5.service.settings import ServiceSettings
from me5.vectors import Float32

OCTETS = "application/octet-stream"
# Numbers that are written where they are; more go to a thread, which costs as much as writing about this many.
_INLINE = 2048


def check_dimensions(dimensions: int | None, checkpoint: Checkpoint, settings: ServiceSettings, param: str) -> None:
    """Raise `FieldError` unless vectors of so many numbers may be sent."""
    dim = checkpoint.config.hidden_size
    if dimensions is None or dimensions in (dim, *checkpoint.matryoshka):
        return
    if dimensions > dim:
        raise FieldError(f"`{param}` is {dimensions}, and vectors of this model have {dim} numbers", param)
    if not settings.allow_dimensions:
        raise FieldError(
            f"`{param}` is {dimensions}, and this model was not trained for such vectors, but for "
            f"{', '.join(map(str, (*checkpoint.matryoshka, dim)))}: leave the field out. The service's option "
            "--allow-dimensions cuts them all the same",
            param,
        )


def number_rows(vectors: Sequence[npt.NDArray[Any]] | npt.NDArray[Any]) -> list[orjson.Fragment]:
    """Each vector (or matrix) as a JSON array."""
    return [orjson.Fragment(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY)) for row in vectors]


def base64_rows(vectors: Float32) -> list[str]:
    """Each vector's little-endian float32 bytes, as base64."""
    return [b64encode(row).decode("ascii") for row in vectors.astype("<f4", copy=False)]


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
