"""Small batches as CUDA graphs: one launch instead of some ten per layer, which for a query take longer than the work.

A graph has fixed shapes and fixed memory. Batches are therefore rounded up to a few sizes, with tokens that belong to
no sequence and sequences that hold no token, and copied into the memory of the graph of their size.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from me5.model.encoder import Encoder
from me5.model.sequences import Sequences

# Larger batches keep a GPU busy for longer than their launches take. An estimate: about 4 ms for the launches of 24
# layers, at a million tokens per second. It was not measured.
MOST_TOKENS = 4096
_STEP = 512

Run = Callable[[], Tensor]
Capture = Callable[[Run], tuple[Callable[[], None], Tensor]]


class Graphs:
    """The graphs of one encoder on one device, captured when their size first comes. For one stream at a time."""

    def __init__(self, encoder: Encoder, device: torch.device) -> None:
        self._encoder = encoder
        self._device = device
        self._capture: Capture = _Recorder(device) if device.type == "cuda" else _repeat
        self._graphs: dict[tuple[int, int], tuple[Sequences, Callable[[], None], Tensor]] = {}

    def hidden(self, sequences: Sequences) -> Tensor:
        """Hidden states of a small batch that lies on the host, on the device; overwritten by the next call."""
        size = size_of(sequences)
        padded = pad(sequences, *size, longest=min(size[0], self._encoder.config.max_positions))
        if size not in self._graphs:
            memory = padded.to(self._device)
            self._graphs[size] = memory, *self._capture(lambda: self._encoder(memory))
        memory, replay, hidden = self._graphs[size]
        for name in ("ids", "positions", "bounds"):
            getattr(memory, name).copy_(getattr(padded, name), non_blocking=True)
        replay()
        return hidden[: len(sequences.ids)]


def pad(sequences: Sequences, tokens: int, slots: int, *, longest: int) -> Sequences:
    """The same sequences, then tokens of none up to `tokens`, and empty sequences up to `slots`."""
    unowned = tokens - len(sequences.ids)
    bounds = F.pad(sequences.bounds, (0, slots + 1 - len(sequences.bounds)), value=int(sequences.bounds[-1]))
    first = int(sequences.positions[0])
    padded = Sequences(
        F.pad(sequences.ids, (0, unowned)), F.pad(sequences.positions, (0, unowned), value=first), bounds, 0, longest
    )
    return padded.pin() if sequences.ids.is_pinned() else padded


def size_of(sequences: Sequences) -> tuple[int, int]:
    """(tokens, sequences) of the graph that a batch fits in."""
    return round_up(len(sequences.ids)), round_up(len(sequences.bounds) - 1)


def round_up(number: int) -> int:
    """To a power of two, and from 512 on to a multiple of it: at most half of the work is for nothing."""
    return 1 << (number - 1).bit_length() if number <= _STEP else -(-number // _STEP) * _STEP


class _Recorder:
    """Captures runs as CUDA graphs that share their scratch memory."""

    def __init__(self, device: torch.device) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # Torch's own stream for captures lies on the device that first captured anything.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, run: Run) -> tuple[Callable[[], None], Tensor]:
        for _ in range(2):  # compilation and the choice of kernels happen outside the graph
            run()
        torch.cuda.current_stream().synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads may use other devices meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            hidden = run()
        return graph.replay, hidden


def _repeat(run: Run) -> tuple[Callable[[], None], Tensor]:
    """What a graph does, without one: the same function over the same memory again, the result in the same place."""
    hidden = run()

    def replay() -> None:
        hidden.copy_(run())

    return replay, hidden
