"""The CPU engine: the encoder as an OpenVINO graph, built straight from the safetensors and fed with packed rows.

The word table stays outside the graph, mapped from its file: a batch gathers its rows, and the other 99 % of the table
are never read. Pooling and the unit norm follow in float32. Between them the graph computes in

    f32    everything in float32
    bf16   matrix products and attention in bfloat16, on CPUs that have it in hardware; the residual stream and its
           norms in float32
    int8   matrix products of bytes, added up as integers: weights with a scale per output row, activations in levels
           that `graph.Int8Graph` describes; attention in bfloat16 on CPUs that have it, the rest in float32

A text's vector is bit-identical whatever runs beside it, wherever it lies in a row, on any number of threads. All
operations but attention work on one token. In attention, cells of other sequences weigh exactly zero, and adding zeros
changes no sum, provided that a sequence's own cells are added in the same groups as when it is alone:

    float32   one cell after another: sequences may start anywhere
    bfloat16  two neighbouring cells at once (the instruction VDPBF16PS): sequences start at even cells
    tiles     32 cells at once (AMX, TDPBF16PS): there attention runs in float32
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import openvino as ov

from me5.batching import lay_out
from me5.checkpoint import Checkpoint
from me5.cores import allowed, cores
from me5.engine.base import Engine, TokenIds, ending, split
from me5.engine.graph import Graph, Int8Graph, ReachGraph
from me5.engine.packing import Grid, pack
from me5.engine.smoothing import Reach
from me5.errors import EngineError
from me5.vectors import Float32
from me5.weights import Weights

# The system maps 64 kB around every row of the word table that is read, so that a few thousand tokens make hundreds of
# megabytes resident (180 MB after 4,000 on XLM-R-large). Larger tables than this, in bytes, are given back every batch.
_LARGE_TABLE = 100_000_000
# OpenVINO keeps the kernels of every shape of a batch, about three entries of 0.7 MB together, and would keep 5,000:
# on me5-small 547 MB after 500 shapes, and growing. With this many, 401 MB and settled, in the same processor time.
_CACHED_KERNELS = "300"

# oneDNN can be limited to older instructions. OpenVINO's own kernels do not obey the limit but go by the processor, so
# that bf16 runs at a fortieth of its speed, and below AVX512_CORE int8 finds no kernel (2026.4.1).
_LIMIT = "ONEDNN_MAX_CPU_ISA"
_WITHOUT_INT8 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2")
_WITHOUT_VNNI = ("SSE41", "AVX", "AVX2", "AVX512_CORE")
_WITHOUT_BF16 = (*_WITHOUT_INT8, "AVX512_CORE", "AVX512_CORE_VNNI")

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
def _features() -> str:
    """What the CPU can do, as Linux lists it."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


def _multiplies_tiles() -> bool:
    """Whether the CPU multiplies bfloat16 in tiles (AMX)."""
    return "amx_bf16" in _features()


def _largest_weight() -> int:
    """How large an int8 weight may be. Without VNNI products are added up in pairs, in 16 bits: 2 x 255 x 64 fit."""
    hidden = os.environ.get(_LIMIT, "").upper() in _WITHOUT_VNNI
    return 127 if "_vnni" in _features() and not hidden else 64


def _attention(precision: str) -> ov.Type:
    """The type that attention computes in."""
    pairs = precision != "f32" and available("auto") == "bf16" and not _multiplies_tiles()
    return ov.Type.bf16 if pairs else ov.Type.f32


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
    """An encoder on the CPU. One inference runs at a time; calls from other threads wait.

    `probes` are token sequences of real texts, from which int8 learns how far activations reach; `meanwhile` is called
    while the graph is compiled, for which no Python runs.
    """

    batch_tokens = 1152

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        precision: str,
        threads: int | None,
        probes: Sequence[TokenIds] = (),
        meanwhile: Callable[[], object] = bool,
    ) -> None:
        global _started_in
        _refuse_after_fork()
        _started_in = os.getpid()
        self.precision = available(precision)
        attention = _attention(self.precision)
        self.stride = 2 if attention == ov.Type.bf16 else 1
        self.dim = checkpoint.config.outputs
        self._config = checkpoint.config
        self._weights = Weights(checkpoint.weights, checkpoint.config)
        self._end = ending(checkpoint.config, self._weights)
        self._large_table = self._weights.size("words") > _LARGE_TABLE
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",  # one stream: all threads work on one batch
            "INFERENCE_PRECISION_HINT": "f32",  # types are chosen node by node in the graph
            "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_KERNELS,
            # OpenVINO ties threads to cores while they compute, in every process to the first ones: two processes with
            # one thread each then share one of two cores (110 texts/s, without it 218; alone the same, 211).
            "ENABLE_CPU_PINNING": False,
        }
        # OpenVINO heeds the affinity but no quota. With half a core of two, one thread instead of two embeds 1.2 times
        # as fast, and the slowest of 40 queries takes 26 ms instead of 70.
        limit = cores()
        if threads is not None or limit < allowed():
            self._settings["INFERENCE_NUM_THREADS"] = threads or limit
        if self.precision == "int8":
            graph: Graph = Int8Graph(
                checkpoint.config, self._weights, attention, self._reaches(probes, attention), _largest_weight()
            )
        else:
            graph = Graph(checkpoint.config, self._weights, self.precision, attention)
        model = graph.model()
        with ThreadPoolExecutor(1, "me5-compile") as pool:
            compiling = pool.submit(self._compile, model)
            meanwhile()
            self._request = compiling.result()
        self._graph, self._fresh = graph, True
        self._lock = threading.Lock()
        _engines.add(self)

    def _compile(self, model: ov.Model) -> ov.InferRequest:
        return _core().compile_model(model, "CPU", self._settings).create_infer_request()

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
        embedded, grid = self._embedded(sequences)
        with self._lock:
            outputs = self._request.infer([embedded, grid.segments], share_inputs=True, share_outputs=True)
            if self._fresh:
                self._graph.release()
                self._fresh = False
            # Yielded inside the lock: the output memory belongs to the request.
            yield next(iter(outputs.values())).reshape(-1, self._config.hidden_size), grid

    def _embedded(self, sequences: Sequence[TokenIds]) -> tuple[Float32, Grid]:
        """What enters the first layer's norm, (rows, width, hidden), and where in it the sequences lie."""
        layout = lay_out([len(sequence) for sequence in sequences], self.stride)
        rows = [[sequences[index] for index in row] for row in layout.rows]
        grid = pack(rows, layout.width, self._config.first_position, self.stride)
        types, ids = np.divmod(grid.ids, self._config.vocab_size) if self._config.types > 1 else (0, grid.ids)
        embedded = self._weights.rows("words", ids)
        if self._large_table:
            self._weights.release("words")
        embedded += self._weights.rows("positions", grid.positions)
        embedded += self._weights.float32("types")[types]
        return embedded, grid

    def _reaches(self, probes: Sequence[TokenIds], attention: ov.Type) -> dict[str, Reach]:
        """How far each channel of what enters a layer's matrices reaches on the probes.

        Layer by layer, so that one layer's weights are in memory at a time, and by the graph of bf16 or f32, whose
        figures depend on no thread: they decide the bits of every vector.
        """
        if not probes:
            raise ValueError("int8 needs probes: token sequences of real texts, to learn its levels from")
        batches = [self._embedded([probes[at] for at in batch]) for batch in self.plan([len(ids) for ids in probes])]
        states = [embedded for embedded, _ in batches]
        found: dict[str, Reach] = {}
        for layer in range(self._config.layers):
            if layer < 2:  # the first one has the norm of what is embedded
                graph = ReachGraph(self._config, self._weights, available("auto"), attention)
                request = self._compile(graph.model(range(layer, layer + 1)))
            weights = graph.inputs(layer)
            for at, (_, grid) in enumerate(batches):
                states[at], *edges = request.infer([states[at], grid.segments, *weights]).values()
                for site, low, high in zip(graph.sites, edges[::2], edges[1::2], strict=True):
                    name, reach = f"layers.{layer}.{site}", Reach(low, high)
                    found[name] = found[name] | reach if name in found else reach
        return found
