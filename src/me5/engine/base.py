"""The contract of every engine: token sequences in, one float32 unit vector per sequence out.

Of a cross-encoder it is the logits of its head instead. Or, on request, the hidden states of every token from which
they are made.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from me5.batching import plan
from me5.checkpoint import ModelConfig, Pooling
from me5.errors import EngineError
from me5.vectors import Float32

if TYPE_CHECKING:
    from me5.weights import Weights

# A token of the second type (`ModelConfig.types`), as of the second text of a pair, is its id + the vocabulary's size.
TokenIds = npt.NDArray[np.int64]
# Hidden states (cells, dim), starts and lengths (sequences,) -> what an engine makes of each sequence.
Ending = Callable[[Float32, npt.NDArray[np.int64], npt.NDArray[np.int64]], Float32]


class Engine(ABC):
    """Runs one encoder. Engines know no text.

    `dim` is the width of the vectors or the number of logits, `precision` what the engine computes in, `lookahead` how
    many windows of texts should be tokenized while it works. For those who choose batches themselves: an engine runs
    best on about `batch_tokens` tokens at once, of which each sequence takes a multiple of `stride`.
    """

    dim: int
    precision: str
    batch_tokens: int
    stride: int = 1
    lookahead: int = 0

    @abstractmethod
    def embed(self, sequences: Sequence[TokenIds]) -> Float32:
        """Unit vectors or logits (sequences, dim), in order, of at least one sequence; all run together, as one batch.

        A sequence sees itself only, whatever runs beside it. Safe to call from several threads.
        Raises `EngineError` when the engine cannot run here or a vector is not finite.
        """

    @abstractmethod
    def states(self, sequences: Sequence[TokenIds]) -> list[Float32]:
        """The last hidden states (tokens, dim) of each sequence, before pooling and norm; otherwise as `embed`."""

    def plan(self, lengths: Sequence[int]) -> list[list[int]]:
        """Which sequences of these lengths should run together: batches of indexes, each index once."""
        return [batch.order for batch in plan(lengths, self.batch_tokens, self.stride)]

    def embed_all(self, batches: Iterable[Sequence[TokenIds]]) -> Iterator[Float32]:
        """The vectors of each batch, in order; the same errors as `embed`.

        An engine may take further batches before it has answered the first, to be at work all the time.
        """
        yield from map(self.embed, batches)


def ending(config: ModelConfig, weights: "Weights") -> Ending:
    """What follows the last layer of a checkpoint, in float32: pooling to unit vectors, or its head."""
    if config.head is None:
        return partial(pool, pooling=config.pooling)
    return _Head(weights)


class _Head:
    """First tokens -> a layer with tanh -> logits (sequences, outputs); each sequence by itself, so to the same bit."""

    def __init__(self, weights: "Weights") -> None:
        parts = ("dense.weight", "dense.bias", "logits.weight", "logits.bias")
        self._dense, self._dense_bias, self._logits, self._logits_bias = (
            weights.float32(f"head.{part}").copy() for part in parts
        )

    def __call__(self, hidden: Float32, starts: npt.NDArray[np.int64], _: npt.NDArray[np.int64]) -> Float32:
        """See `Ending`; raises as `pool` does."""
        # By einsum: the sums of a BLAS product depend on the number of its rows and threads. It takes a few hundredths
        # of a percent of the layers' time.
        inner = (np.tanh(np.einsum("oi,i->o", self._dense, hidden[start]) + self._dense_bias) for start in starts)
        logits: Float32 = np.stack([np.einsum("oi,i->o", self._logits, each) + self._logits_bias for each in inner])
        check_finite(logits.sum(axis=1))
        return logits


def pool(hidden: Float32, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], pooling: Pooling) -> Float32:
    """Unit vectors from hidden states: `hidden` (cells, dim), `starts` and `lengths` (sequences,) -> (sequences, dim).

    Sums run in float32 over each sequence alone, so that a text gives the same sum in any batch.
    Raises `EngineError` when a vector is not finite.
    """
    vectors: Float32
    if pooling == "cls":
        vectors = hidden[starts]
    else:
        # reduceat sums from each index up to the next one: every second sum is the gap up to the next sequence.
        bounds = np.stack([starts, starts + lengths], axis=1).ravel()
        padded = np.concatenate([hidden, np.zeros((1, hidden.shape[1]), np.float32)])
        with np.errstate(invalid="ignore"):  # infinite states of both signs: `check_finite` tells
            vectors = np.add.reduceat(padded, bounds, axis=0)[::2]
        vectors /= lengths[:, None]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    check_finite(norms[:, 0])
    unit: Float32 = vectors / np.maximum(norms, np.float32(1e-12))
    return unit


def split(hidden: Float32, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> list[Float32]:
    """Each sequence's own states, copied, from hidden states as `pool` takes them; the same error."""
    states = [hidden[start : start + length].copy() for start, length in zip(starts, lengths, strict=True)]
    with np.errstate(invalid="ignore"):  # as in `pool`
        check_finite(np.array([state.sum() for state in states]))
    return states


def check_finite(figures: Float32) -> None:
    """Raise `EngineError` unless the figure of every sequence of a batch is a finite number."""
    broken = np.flatnonzero(~np.isfinite(figures))
    if len(broken):
        raise EngineError(
            f"{len(broken)} of {len(figures)} results are not finite (first: sequence {broken[0]} of its batch). The "
            "weights may be damaged, or overflow at this precision: try precision='f32' and `me5 verify`"
        )
