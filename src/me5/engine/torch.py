"""The GPU engine: the encoder of `model` on one GPU or several, fed by one process that never waits for a single batch.

Devices take batches in turn. Each is copied, run and copied back on a stream of its device, while the host prepares the
next ones. Precisions:

    f32    everything in float32
    bf16   matrix products and attention in bfloat16; the residual stream, norms and pooling in float32
    f16    the same in float16
    fp8    as bf16, but those matrix products in float8 that are shown to keep a cosine of 0.999 to float32

The engine also runs on the CPU, slowly: everything but the GPU's kernels can be tested there.
"""

import os
import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from me5.checkpoint import Checkpoint
from me5.engine.base import Engine, TokenIds, check_finite
from me5.errors import EngineError, EngineWarning, InputError
from me5.model import attention, float8, graphs
from me5.model.encoder import Encoder
from me5.model.folder import load
from me5.model.sequences import Sequences, concatenate
from me5.vectors import Float32

_MATRICES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "fp8": torch.bfloat16}
# Compute capability from which a GPU has a precision in hardware.
_CAPABILITY = {"f32": (0, 0), "f16": (0, 0), "bf16": (8, 0), "fp8": (8, 9)}
# Large enough for full matrix products and for launches to be nothing beside the work; a batch then takes some 3 GB.
_BATCH_TOKENS = {"cuda": 65_536, "cpu": 4_096}
# Bytes that a token needs at most within a layer, per channel: float32 stream, its update, projections, feed-forward.
_BYTES_PER_CHANNEL = 48
# Batches in flight per device: one at work, one waiting for it.
_IN_FLIGHT = 2


@dataclass
class _Pending:
    """Sequences in flight on a device: `result` (pinned where copied from a GPU) is valid after `done`."""

    order: list[int]
    result: Tensor
    done: "torch.cuda.Event | None"

    def wait(self) -> Float32:
        if self.done is not None:
            self.done.synchronize()
        array: Float32 = self.result.numpy()
        return array


class TorchEngine(Engine):
    """An encoder on the given devices. Calls from other threads are served in turn.

    `probes` are token sequences of real texts on which fp8 is measured. `graphed` and `compiled` are for tests: by
    default both are for GPUs only.
    """

    lookahead = 2

    def __init__(
        self,
        checkpoint: Checkpoint,
        devices: Sequence[torch.device],
        *,
        precision: str = "auto",
        probes: Sequence[TokenIds] = (),
        graphed: bool | None = None,
        compiled: bool | None = None,
    ) -> None:
        on_gpu = devices[0].type == "cuda"
        self.precision = available(precision, devices)
        self.dim = checkpoint.config.outputs
        self._config = checkpoint.config
        self._process = os.getpid()
        self._turns = count()
        self._warned_small = False
        encoders = [load(checkpoint, device, _MATRICES[self.precision]).eval() for device in devices]
        if self.precision == "fp8":
            _to_float8(checkpoint, encoders, probes)
        # After the weights, which take their part of the memory.
        self.batch_tokens = min(
            _BATCH_TOKENS[devices[0].type], *(_fitting(self._config.hidden_size, device) for device in devices)
        )
        self._lanes = [
            _Lane(encoder, device, graphed=on_gpu and self._graphable(device) if graphed is None else graphed)
            for encoder, device in zip(encoders, devices, strict=True)
        ]
        if on_gpu if compiled is None else compiled:
            for lane in self._lanes:
                lane.compile()

    def _graphable(self, device: torch.device) -> bool:
        """Graphs fill batches up with tokens and sequences that are none, which only flash attention can leave out."""
        heads = self._config.heads
        query = torch.empty(0, heads, self._config.hidden_size // heads, dtype=_MATRICES[self.precision], device=device)
        return attention.choose(query, None) is attention.flash

    def embed(self, sequences: Sequence[TokenIds]) -> Float32:
        """See `Engine.embed`."""
        return next(self.embed_all([sequences]))

    def embed_all(self, batches: Iterable[Sequence[TokenIds]]) -> Iterator[Float32]:
        """See `Engine.embed_all`: two batches per device are in flight while the next ones are prepared."""
        waiting: deque[list[_Pending]] = deque()
        for sequences in batches:
            waiting.append(self._submit(sequences, pooled=True))
            if len(waiting) > _IN_FLIGHT * len(self._lanes):
                yield self._vectors(waiting.popleft())
        while waiting:
            yield self._vectors(waiting.popleft())

    def states(self, sequences: Sequence[TokenIds]) -> list[Float32]:
        """See `Engine.states`."""
        states: list[Float32] = [np.empty(0, np.float32)] * len(sequences)
        for pending in self._submit(sequences, pooled=False):
            hidden, at = pending.wait(), 0
            for index in pending.order:
                states[index] = hidden[at : at + len(sequences[index])].copy()
                at += len(sequences[index])
        check_finite(np.array([state.sum() for state in states]))
        return states

    def _vectors(self, parts: list[_Pending]) -> Float32:
        vectors = np.empty((sum(len(part.order) for part in parts), self.dim), np.float32)
        for part in parts:
            vectors[part.order] = part.wait()
        check_finite(vectors.sum(axis=1))
        return vectors

    def _submit(self, sequences: Sequence[TokenIds], *, pooled: bool) -> list[_Pending]:
        """Put sequences on the next device, the longest first; in parts where it has no memory for all at once."""
        self._refuse_after_fork()
        lane = self._lanes[next(self._turns) % len(self._lanes)]
        order = sorted(range(len(sequences)), key=lambda index: -len(sequences[index]))
        waiting, pending = [order], []
        while waiting:
            part = waiting.pop()
            packed = concatenate([sequences[index] for index in part], self._config.first_position)
            self._refuse_unknown(packed)
            try:
                pending.append(_Pending(part, *lane.run(packed, pooled=pooled)))
                continue
            except torch.OutOfMemoryError as error:
                if len(part) == 1:
                    raise EngineError(
                        f"{lane.device} has no memory for a single sequence of {len(packed.ids)} tokens: {error}"
                    ) from error
            # Here, and not above: as long as the error lives, its frames keep the tensors that filled the memory.
            waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
            self._make_smaller(len(packed.ids) // 2, lane)
        return pending

    def _make_smaller(self, tokens: int, lane: "_Lane") -> None:
        """After running out of memory: smaller batches from now on, and one warning for all that follow."""
        lane.free()
        self.batch_tokens = min(self.batch_tokens, tokens)
        if not self._warned_small:
            self._warned_small = True
            warnings.warn(
                f"{lane.device} ran out of memory: the batch was split and run again, nothing is lost; batches have "
                f"{self.batch_tokens:,} tokens or fewer from now on",
                EngineWarning,
                stacklevel=2,
            )

    def _refuse_after_fork(self) -> None:
        if os.getpid() != self._process:
            raise EngineError(
                "this process was forked from the one that loaded the Embedder, whose threads and GPU live in the "
                "parent only. Load the Embedder in the child, or start children with 'spawn'"
            )

    def _refuse_unknown(self, packed: Sequences) -> None:
        # On a GPU an index outside of a table stops every later call of the process too.
        wrong = int(packed.ids.max())
        if wrong >= self._config.vocab_size * self._config.types:
            raise EngineError(
                f"token id {wrong} is outside of the model's vocabulary of {self._config.vocab_size:,}: tokenizer.json "
                "does not belong to these weights"
            )


class _Lane:
    """One device: its encoder, its stream, and the graphs of small batches."""

    def __init__(self, encoder: Encoder, device: torch.device, *, graphed: bool) -> None:
        self.encoder = encoder
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._stream is not None:
            torch.cuda.synchronize(device)  # the weights were put there on another stream
        self._graphs = graphs.Graphs(encoder, device) if graphed else None
        self._lock = threading.Lock()

    def run(self, sequences: Sequences, *, pooled: bool) -> "tuple[Tensor, torch.cuda.Event | None]":
        """Vectors or logits (sequences, dim), or hidden states (tokens, dim), on the host, once the event is done."""
        with self._lock, torch.inference_mode(), self._on_stream():
            if self._stream is not None:
                sequences = sequences.pin()
            hidden = self._hidden(sequences)
            if pooled:
                hidden = self.encoder.end(hidden, sequences.bounds.to(self.device, non_blocking=True))
            if self._stream is None:
                return hidden.clone(), None
            result = torch.empty(hidden.shape, dtype=torch.float32, pin_memory=True)
            result.copy_(hidden, non_blocking=True)
            return result, self._stream.record_event()

    def compile(self) -> None:
        """Fuse kernels, and try them; warn where this machine cannot compile, and run without."""
        with torch.inference_mode(), self._on_stream():
            error = self.encoder.fuse(self.device, self.encoder)
        if error is not None:
            warnings.warn(
                f"torch.compile failed on {self.device}, so kernels are not fused and run slower: {error}",
                EngineWarning,
                stacklevel=3,
            )

    def free(self) -> None:
        """Give unused memory of the device back to it."""
        if self._stream is not None:
            self._stream.synchronize()
            torch.cuda.empty_cache()

    def _hidden(self, sequences: Sequences) -> Tensor:
        if self._graphs is not None and len(sequences.ids) <= graphs.MOST_TOKENS:
            try:
                return self._graphs.hidden(sequences)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # an operation that this torch or GPU cannot capture
                self._graphs = None
                warnings.warn(
                    f"CUDA graphs failed on {self.device}, so short batches start slower: {error}",
                    EngineWarning,
                    stacklevel=4,
                )
        hidden: Tensor = self.encoder(sequences.to(self.device))
        return hidden

    def _on_stream(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream) if self._stream is not None else nullcontext()


def devices_of(name: str) -> list[torch.device]:
    """The devices that a name stands for: `cuda` (all visible GPUs), `cuda:N`, `torch-cpu`. Raises `EngineError`."""
    if name == "torch-cpu":
        return [torch.device("cpu")]
    number = torch.cuda.device_count()
    if not torch.cuda.is_available() or not number:
        build = "is a build for CPUs" if torch.version.cuda is None else f"is built for CUDA {torch.version.cuda}"
        raise EngineError(
            f"no CUDA GPU can be used here (torch {torch.__version__} {build}); leave the device out, or see what "
            "`nvidia-smi` and `python -c 'import torch; print(torch.cuda.is_available())'` say"
        )
    _, _, index = name.partition(":")
    if index and int(index) >= number:
        raise InputError(f"there is no {name}: this machine has {number} visible GPUs, counted from cuda:0")
    return [torch.device("cuda", at) for at in ([int(index)] if index else range(number))]


def use_threads(device: str, threads: int) -> None:
    """Set the number of CPU threads of the whole process. Raises `InputError` for a GPU."""
    if device != "torch-cpu":
        raise InputError(f"threads are for the CPU, and {device} is none: leave them out")
    torch.set_num_threads(threads)


def available(precision: str, devices: Sequence[torch.device]) -> str:
    """The precision that a name stands for on these devices. Raises `EngineError` where the hardware lacks it."""
    if devices[0].type == "cpu":
        return "f32" if precision == "auto" else precision
    capability = min(torch.cuda.get_device_capability(device) for device in devices)
    if precision == "auto":
        return "bf16" if capability >= _CAPABILITY["bf16"] else "f16"
    if capability < _CAPABILITY[precision]:
        fitting = [name for name, needed in _CAPABILITY.items() if capability >= needed]
        raise EngineError(
            f"{torch.cuda.get_device_name(devices[0])} (compute capability {capability[0]}.{capability[1]}) has no "
            f"{precision} in hardware; use one of {', '.join(fitting)}"
        )
    return precision


def _fitting(dim: int, device: torch.device) -> int:
    """Tokens whose activations fill half of the free memory of a GPU."""
    if device.type == "cpu":
        return _BATCH_TOKENS["cpu"]
    free, _ = torch.cuda.mem_get_info(device)
    return max(1024, free // 2 // (_BYTES_PER_CHANNEL * dim))


def _to_float8(checkpoint: Checkpoint, encoders: Sequence[Encoder], probes: Sequence[TokenIds]) -> None:
    """Convert to float8 what keeps the vectors of the probes near float32; warn unless that is everything."""
    if not probes:
        raise ValueError("fp8 needs probes: token sequences of real texts, to measure it on")
    packed = concatenate(sorted(probes, key=len, reverse=True), checkpoint.config.first_position)
    device = encoders[0].types.weight.device
    with torch.inference_mode():
        truth = load(checkpoint).eval().embed(packed).to(device)  # on the CPU, which is exact

        def lowest_cosine() -> float:
            return float((encoders[0].embed(packed.to(device)) * truth).sum(dim=1).min())

        places = float8.harmless(encoders[0], lowest_cosine)
        for encoder in encoders[1:]:
            float8.convert(encoder, places)
    part = float8.share(encoders[0], places)
    if part < 1:
        warnings.warn(
            f"fp8: {part:.0%} of the work in matrix products runs in float8; more would take a vector of this model "
            f"below a cosine of {float8.MIN_COSINE} to float32, so the rest runs in bf16",
            EngineWarning,
            stacklevel=2,
        )
