"""Token sequences -> unit vectors: one contract (`base`), one file per engine, one door (`open_engine`)."""

from typing import Literal

from me5.checkpoint import Checkpoint
from me5.engine.base import Engine
from me5.errors import InputError

Precision = Literal["auto", "f32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("auto", "f32", "bf16", "int8")


def open_engine(checkpoint: Checkpoint, *, precision: Precision = "auto", threads: int | None = None) -> Engine:
    """Build the engine that runs a checkpoint here. `threads` None leaves the number to the engine's library."""
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    from me5.engine.openvino import OpenVinoEngine  # the door: the library loads only when a model does

    return OpenVinoEngine(checkpoint, precision=precision, threads=threads)
