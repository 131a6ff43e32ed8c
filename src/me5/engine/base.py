"""The contract of every engine: rows of token sequences in, one float32 unit vector per sequence out.

Or, where someone asks for them, the hidden states of every token from which that vector is made.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from me5.checkpoint import Pooling
from me5.errors import EngineError

TokenIds = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


class Engine(ABC):
    """Runs one encoder.

    `dim` is the width of the vectors, `precision` what the engine computes in, `batch_tokens` the grid size (cells) at
    which it runs best, `stride` the cells of which a sequence takes a multiple, `lookahead` how many windows of texts
    should be tokenized while it works. Engines know no text and no input order; `batching.plan` makes their rows.
    """

    dim: int
    precision: str
    batch_tokens: int
    stride: int = 1
    lookahead: int = 0

    @abstractmethod
    def embed(self, rows: Sequence[Sequence[TokenIds]], width: int) -> Float32:
        """Vectors of shape (sequences, dim), unit length, in the order of the rows, left to right.

        Each row is at most `width` cells, its sequences' tokens rounded up to multiples of `stride`; a sequence sees
        itself only. Safe to call from several threads.
        Raises `EngineError` when the engine cannot run here or a vector is not finite.
        """

    def embed_all(self, batches: Iterable[tuple[Sequence[Sequence[TokenIds]], int]]) -> Iterator[Float32]:
        """The vectors of each batch of (rows, width), in order; the same errors as `embed`.

        An engine may take further batches before it has answered the first, to be at work all the time.
        """
        for rows, width in batches:
            yield self.embed(rows, width)

    @abstractmethod
    def states(self, rows: Sequence[Sequence[TokenIds]], width: int) -> list[Float32]:
        """The last hidden states (tokens, dim) of each sequence, before pooling and norm; otherwise as `embed`."""


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
        vectors = np.add.reduceat(padded, bounds, axis=0)[::2]
        vectors /= lengths[:, None]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    check_finite(norms[:, 0])
    unit: Float32 = vectors / np.maximum(norms, np.float32(1e-12))
    return unit


def split(hidden: Float32, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> list[Float32]:
    """Each sequence's own states, copied, from hidden states as `pool` takes them; the same error."""
    states = [hidden[start : start + length].copy() for start, length in zip(starts, lengths, strict=True)]
    check_finite(np.array([state.sum() for state in states]))
    return states


def check_finite(figures: Float32) -> None:
    """Raise `EngineError` unless the figure of every sequence of a batch is a finite number."""
    broken = np.flatnonzero(~np.isfinite(figures))
    if len(broken):
        raise EngineError(
            f"{len(broken)} of {len(figures)} vectors are not finite (first: sequence {broken[0]} of its batch). The "
            "weights may be damaged, or overflow at this precision: try precision='f32' and `me5 verify`"
        )
