"""The CPU engine: the encoder as an OpenVINO graph, built straight from the safetensors and fed with packed rows.

The word table stays outside the graph, mapped from its file: a batch gathers its rows, and the other 99 % of the table
are never read. Pooling and the unit norm follow in float32. Between them the graph computes in

    f32    everything in float32
    bf16   matrix products and attention in bfloat16, on CPUs that have it in hardware; the residual stream and its
           norms in float32
    int8   weights as int8 with a scale per output row, activations as int8 with a scale per token and group of 128,
           the rest in float32

A text's vector is bit-identical whatever runs beside it, wherever it lies in a row, on any number of threads. All
operations but attention work on one token. In attention, cells of other sequences weigh exactly zero, and adding zeros
changes no sum, provided that a sequence's own cells are added in the same groups as when it is alone:

    f32    one cell after another: sequences may start anywhere
    bf16   two neighbouring cells at once (the instruction VDPBF16PS): sequences start at even cells
    tiles  32 cells at once (AMX, TDPBF16PS): there attention runs in float32
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino import opset13 as op

from me5.batching import lay_out
from me5.checkpoint import Checkpoint, ModelConfig
from me5.cores import allowed, cores
from me5.engine.arena import Arena
from me5.engine.base import Engine, TokenIds, ending, split
from me5.engine.packing import Grid, pack
from me5.errors import EngineError
from me5.vectors import Float32
from me5.weights import Weights

# Activations share a scale within a token and a group of this many channels. Larger groups were 0 to 6 % faster on a
# noisy machine; with this one the smallest cosine to float32 is 0.9907 on 96 texts and published weights (MiniLM).
INT8_GROUP = 128
# The system maps 64 kB around every row of the word table that is read, so that a few thousand tokens make hundreds of
# megabytes resident (180 MB after 4,000 on XLM-R-large). Larger tables than this, in bytes, are given back every batch.
_LARGE_TABLE = 100_000_000
# OpenVINO keeps the kernels of every shape of a batch, about three entries of 0.7 MB together, and would keep 5,000:
# on me5-small 547 MB after 500 shapes, and growing. With this many, 401 MB and settled, in the same processor time.
_CACHED_KERNELS = "300"
# OpenVINO repacks the layers for its kernels when they first run, and then hardly reads what it was given. With XLM-R-
# large a process has 785 MB instead of 1,402 once that memory is given back (bf16; int8 535 instead of 840, f32 1,598
# instead of 2,671). Layers of fewer bytes than this are not worth a file.
_LARGE_LAYERS = 100_000_000
# A mask value that is finite in bfloat16 and far below any attention logit.
_MASKED = -1e9

# oneDNN can be limited to older instructions. OpenVINO's own kernels do not obey the limit but go by the processor, so
# that bf16 runs at a fortieth of its speed, and below AVX512_CORE int8 finds no kernel (2026.4.1).
_LIMIT = "ONEDNN_MAX_CPU_ISA"
_WITHOUT_INT8 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
_WITHOUT_BF16 = (*_WITHOUT_INT8, "AVX512_CORE", "AVX512_CORE_VNNI")

Node = Any  # openvino's nodes carry no useful type

# The process in which OpenVINO first started. A fork copies the locks of its threads but not the threads: even a fresh
# load in the child then hangs now and then (7 of 24 forks of a busy parent, 0 of 8 of an idle one).
_started_in: int | None = None
_engines: "WeakSet[OpenVinoEngine]" = WeakSet()
_making = threading.Lock()  # `cache` lets two threads make one each


def _refuse_after_fork() -> None:
    if _started_in not in (None, os.getpid()):
        raise EngineError(
            "this process was forked from one that had loaded an Embedder, whose threads live in the parent only. Load "
            "the first Embedder in the child, after the fork, or start children with 'spawn'"
        )


@cache
def _core() -> ov.Core:
    """OpenVINO, once for the process and kept.

    Each gives the thread a stack for signals, and the stack before it back when it goes. Two that go in the order they
    came leave one that is gone: the next signal that Python handles ends the process (OpenVINO 2026.4.1).
    """
    return ov.Core()


def available(wanted: str) -> str:
    """The precision that `wanted` stands for on this CPU. Raises `EngineError` where the CPU lacks it."""
    with _making:
        core = _core()
    native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    limit = os.environ.get(_LIMIT, "").upper()
    hidden = native and limit in _WITHOUT_BF16
    if wanted == "auto":
        return "bf16" if native and not hidden else "f32"
    if wanted == "bf16" and not native:
        raise EngineError("this CPU has no bfloat16 in hardware; use precision='f32' (exact) or 'int8' (fast)")
    if (wanted == "bf16" and hidden) or (wanted == "int8" and hidden and limit in _WITHOUT_INT8):
        raise EngineError(f"{_LIMIT}={limit} leaves no {wanted} kernels on this CPU; unset it, or use precision='f32'")
    return wanted


@cache
def _multiplies_tiles() -> bool:
    """Whether the CPU multiplies bfloat16 in tiles (AMX), according to Linux."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _never_destroy() -> None:
    """In a forked child: leak the parent's OpenVINO, whose destructors wait for threads that do not exist here."""
    kept = [engine._request for engine in _engines]
    if _core.cache_info().currsize:
        kept.append(_core())
    for item in kept:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_never_destroy)


class OpenVinoEngine(Engine):
    """An encoder on the CPU. One inference runs at a time; calls from other threads wait."""

    batch_tokens = 1152

    def __init__(self, checkpoint: Checkpoint, *, precision: str, threads: int | None) -> None:
        global _started_in
        _refuse_after_fork()
        _started_in = os.getpid()
        self.precision = available(precision)
        pairs = self.precision == "bf16" and not _multiplies_tiles()
        self.stride = 2 if pairs else 1
        self.dim = checkpoint.config.outputs
        self._config = checkpoint.config
        self._weights = Weights(checkpoint.weights, checkpoint.config)
        self._end = ending(checkpoint.config, self._weights)
        self._large_table = self._weights.size("words") > _LARGE_TABLE
        graph = _Graph(
            checkpoint.config, self._weights, self.precision, attention=ov.Type.bf16 if pairs else ov.Type.f32
        )
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",  # one stream: all threads work on one batch
            # Types are chosen node by node in the graph. int8 runs the rest in float32: under a bf16 hint it is 9 %
            # faster, but a text's vector then depends on its neighbours (cosine down to 0.9997 on MiniLM).
            "INFERENCE_PRECISION_HINT": "f32",
            "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_KERNELS,
            # OpenVINO ties threads to cores while they compute, in every process to the first ones: two processes with
            # one thread each then share one of two cores (110 texts/s, without it 218; alone the same, 211).
            "ENABLE_CPU_PINNING": False,
        }
        if self.precision == "int8":
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(INT8_GROUP)
        # OpenVINO heeds the affinity but no quota. With half a core of two, one thread instead of two embeds 1.2 times
        # as fast, and the slowest of 40 queries takes 26 ms instead of 70.
        if threads is not None or cores() < allowed():
            settings["INFERENCE_NUM_THREADS"] = threads or cores()
        self._request = _core().compile_model(graph.model(), "CPU", settings).create_infer_request()
        self._graph, self._fresh = graph, True
        self._lock = threading.Lock()
        _engines.add(self)

    def embed(self, sequences: Sequence[TokenIds]) -> Float32:
        """See `Engine.embed`."""
        with self._hidden(sequences) as (hidden, grid):
            return self._end(hidden, grid.starts, grid.lengths)

    def states(self, sequences: Sequence[TokenIds]) -> list[Float32]:
        """See `Engine.states`."""
        with self._hidden(sequences) as (hidden, grid):
            return split(hidden, grid.starts, grid.lengths)

    @contextmanager
    def _hidden(self, sequences: Sequence[TokenIds]) -> Iterator[tuple[Float32, Grid]]:
        """Hidden states (cells, dim), to be read within the block: the next call overwrites them."""
        _refuse_after_fork()
        layout = lay_out([len(sequence) for sequence in sequences], self.stride)
        rows = [[sequences[index] for index in row] for row in layout.rows]
        grid = pack(rows, layout.width, self._config.first_position, self.stride)
        types, ids = np.divmod(grid.ids, self._config.vocab_size) if self._config.types > 1 else (0, grid.ids)
        embedded = self._weights.rows("words", ids)
        if self._large_table:
            self._weights.release("words")
        embedded += self._weights.rows("positions", grid.positions)
        embedded += self._weights.float32("types")[types]
        with self._lock:
            outputs = self._request.infer([embedded, grid.segments], share_inputs=True, share_outputs=True)
            if self._fresh:
                self._graph.release()
                self._fresh = False
            # Yielded inside the lock: the output memory belongs to the request.
            yield next(iter(outputs.values())).reshape(-1, self._config.hidden_size), grid


class _Graph:
    """The encoder as OpenVINO nodes: embedded tokens and segments in, hidden states out.

    `attention` is the type that attention computes in. What is compiled shares its arrays: it must live as long.
    """

    def __init__(self, config: ModelConfig, weights: Weights, precision: str, *, attention: ov.Type) -> None:
        self._config = config
        self._weights = weights
        self._type = ov.Type.bf16 if precision == "bf16" else ov.Type.f32
        self._attention = attention
        self._matrix: Callable[[str], Node] = self._int8_matrix if precision == "int8" else self._float_matrix
        each = config.hidden_size * (4 * config.hidden_size + 2 * config.intermediate_size)
        size = config.layers * each * {"f32": 4, "bf16": 2, "int8": 1}[precision]
        self._arena = Arena(size if size > _LARGE_LAYERS else 0)
        # OpenVINO reads these arrays without a copy of its own, and keeps no reference to them.
        self._constants: list[npt.NDArray[Any]] = []
        self._mapped: list[str] = []

    def model(self) -> ov.Model:
        hidden = self._config.hidden_size
        embedded = op.parameter([-1, -1, hidden], np.float32, name="embedded")
        segments = op.parameter([-1, -1], np.int32, name="segments")
        x = self._norm(embedded, "embedding_norm")
        mask = self._mask(segments)
        for layer in range(self._config.layers):
            x = self._layer(x, mask, f"layers.{layer}")
        return ov.Model([op.result(x)], [embedded, segments], "encoder")

    def release(self) -> None:
        """Give back the memory of the layers that were given to OpenVINO, which has them in its own order by now."""
        self._arena.release()
        for name in self._mapped:
            self._weights.release(name)

    def _layer(self, x: Node, mask: Node, name: str) -> Node:
        """One post-norm transformer layer: attention, then feed-forward, each added to its input and normalised.

        `x` stays float32. In bfloat16 too it would be no faster (ratio 0.99 to 1.03 on two models) but lose more:
        minimum cosine to float32 0.9954 instead of 0.99999 on a model whose residual stream has large components.
        """
        heads, width = self._config.heads, self._config.hidden_size // self._config.heads
        split = np.array([0, 0, heads, width], np.int64)
        order = np.array([0, 2, 1, 3], np.int64)
        half = _cast(x, self._type)
        query, key, value = (
            op.transpose(op.reshape(_cast(self._linear(half, f"{name}.{part}"), self._attention), split, True), order)
            for part in ("query", "key", "value")
        )
        attended = op.transpose(op.scaled_dot_product_attention(query, key, value, mask), order)
        merged = _cast(op.reshape(attended, np.array([0, 0, heads * width], np.int64), True), self._type)
        x = self._add(x, self._linear(merged, f"{name}.attention_output"), f"{name}.attention_norm")
        inner = op.gelu(self._linear(_cast(x, self._type), f"{name}.feedforward_in"), "erf")
        return self._add(x, self._linear(inner, f"{name}.feedforward_out"), f"{name}.feedforward_norm")

    def _add(self, x: Node, update: Node, norm: str) -> Node:
        """Add to the residual stream, and normalise."""
        return self._norm(op.add(x, _cast(update, ov.Type.f32)), norm)

    def _linear(self, x: Node, name: str) -> Node:
        bias = _cast(self._vector(f"{name}.bias"), self._type)
        return op.add(op.matmul(x, self._matrix(f"{name}.weight"), False, True), bias)

    def _norm(self, x: Node, name: str) -> Node:
        """Layer normalisation over the last axis."""
        x = op.mvn(x, np.array([-1], np.int64), True, self._config.layer_norm_eps, "inside_sqrt")
        return op.add(op.multiply(x, self._vector(f"{name}.weight")), self._vector(f"{name}.bias"))

    def _mask(self, segments: Node) -> Node:
        """(rows, 1, width, width): 0 where two cells hold the same sequence, far below zero elsewhere."""
        same = op.equal(
            op.unsqueeze(segments, np.array([1, 3], np.int64)), op.unsqueeze(segments, np.array([1, 2], np.int64))
        )
        seen, masked = (_cast(op.constant(np.float32(value)), self._attention) for value in (0, _MASKED))
        return op.select(same, seen, masked)

    def _vector(self, name: str) -> Node:
        """A bias or norm weight, float32, shaped to be added to (rows, width, hidden)."""
        return op.constant(self._weights.float32(name).reshape(1, 1, -1))

    def _float_matrix(self, name: str) -> Node:
        if self._type == ov.Type.bf16:
            # Given as bfloat16, the weights stay 2 bytes each; given as float32 under a bf16 hint OpenVINO keeps both
            # (measured on XLM-R-large: 1.3 GB instead of 1.9 GB of its own memory).
            array: npt.NDArray[Any] = self._arena.keep(self._weights.bfloat16(name))
            tensor = ov.Tensor(array, shape=list(array.shape), type=ov.Type.bf16)
        else:
            array = self._weights.float32(name)
            if self._weights.dtype(name) == "F32":
                self._mapped.append(name)
            else:
                array = self._arena.keep(array)
            tensor = ov.Tensor(array, shared_memory=True)
        self._constants.append(array)
        self._weights.release(name)
        return op.constant(tensor, shared_memory=True)

    def _int8_matrix(self, name: str) -> Node:
        """A constant, converted and scaled per output row: the pattern that the CPU plugin runs as int8."""
        matrix = self._weights.float32(name)
        scale = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), np.float32(1e-12)) / np.float32(127)
        with np.errstate(invalid="ignore"):  # a row that holds a NaN has a NaN for its scale: `pool` will notice
            quantised = self._arena.keep(np.rint(matrix / scale).astype(np.int8))
        self._constants.append(quantised)
        self._weights.release(name)
        constant = op.constant(ov.Tensor(quantised, shared_memory=True), shared_memory=True)
        return op.multiply(op.convert(constant, np.float32), op.constant(scale))


def _cast(node: Node, type_: ov.Type) -> Node:
    return node if node.get_element_type() == type_ else op.convert(node, type_)
