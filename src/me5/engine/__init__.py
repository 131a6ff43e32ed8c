"""Token sequences -> unit vectors: `base` is the contract, with one file per engine; `open_engine` opens one."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Literal

from me5.checkpoint import Checkpoint
from me5.engine.base import Engine, TokenIds
from me5.errors import InputError

# Importing openvino would report to an analytics server, through a fork, unless its telemetry cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

Precision = Literal["auto", "f32", "bf16", "f16", "int8", "fp8"]
_ON_CPU: tuple[Precision, ...] = ("f32", "bf16", "int8")
# Those that learn from real texts (`probes` of `open_engine`) before they compute.
MEASURED: frozenset[Precision] = frozenset({"int8", "fp8"})
_ON_GPU: tuple[Precision, ...] = ("f32", "bf16", "f16", "fp8")


def precisions(device: str) -> tuple[Precision, ...]:
    """The precisions of an engine on a device: `cpu`, `cuda` (every visible GPU), `cuda:N` or `torch-cpu`.

    `torch-cpu` is the GPU engine without a GPU: slow, for comparison. Raises `InputError` for any other name.
    """
    if device == "cpu":
        return _ON_CPU
    if re.fullmatch(r"cuda(:\d+)?|torch-cpu", device):
        return _ON_GPU
    raise InputError(
        f"unknown device {device!r}; expected cpu, cuda (every visible GPU), cuda:N (one of them) or torch-cpu (what a "
        "GPU computes, slowly)"
    )


def resolve_precision(device: str, precision: Precision = "auto") -> str:
    """The precision that an engine on a device would compute in, without opening one. Raises as `open_engine` does."""
    _check(device, precision)
    if device == "cpu":
        from me5.engine.openvino import available

        return available(precision)
    import me5.model  # noqa: F401  where torch is missing, this says how to install it
    from me5.engine.torch import available as available_to_torch
    from me5.engine.torch import devices_of

    return available_to_torch(precision, devices_of(device))


def device_names(device: str) -> list[str]:
    """The single devices that a name stands for: `cuda` is `cuda:0` and so on. Raises `EngineError` without a GPU."""
    if device != "cuda":
        return [device]
    import me5.model  # noqa: F401  where torch is missing, this says how to install it
    from me5.engine.torch import devices_of

    return [f"cuda:{found.index}" for found in devices_of(device)]


def _check(device: str, precision: Precision) -> None:
    known = ("auto", *precisions(device))
    if precision not in known:
        raise InputError(f"unknown precision {precision!r} for {device}; expected one of {', '.join(known)}")


def open_engine(
    checkpoint: Checkpoint,
    *,
    precision: Precision = "auto",
    threads: int | None = None,
    device: str = "cpu",
    probes: Sequence[TokenIds] = (),
    meanwhile: Callable[[], object] = bool,
) -> Engine:
    """Build the engine that runs a checkpoint here.

    `threads` None leaves the number to the engine's library, on the CPU within what a container may use. `probes` are
    token sequences of real texts: fp8 is measured on them before it is used, and int8 learns its levels from them, so
    that they decide its vectors. `meanwhile` is called once, while a graph is compiled if there is one. Raises
    `MissingExtraError` where a device needs torch and it is not installed.
    """
    _check(device, precision)
    if threads is not None and threads < 1:
        raise InputError(f"threads must be at least 1, got {threads}")
    # Imported here, so that libraries load only with a model.
    if device == "cpu":
        from me5.engine.openvino import OpenVinoEngine

        return OpenVinoEngine(checkpoint, precision=precision, threads=threads, probes=probes, meanwhile=meanwhile)
    import me5.model  # noqa: F401  where torch is missing, this says how to install it
    from me5.engine.torch import TorchEngine, devices_of, use_threads

    if threads is not None:
        use_threads(device, threads)
    meanwhile()
    return TorchEngine(checkpoint, devices_of(device), precision=precision, probes=probes)
