"""Rows of token sequences -> the arrays of a grid in which every sequence attends to its own cells only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from me5.engine.base import TokenIds

# The segment of cells that hold no token. They attend to each other only, so their softmax has something to sum.
EMPTY = -1


@dataclass(frozen=True)
class Grid:
    """Arrays of shape (rows, width), and the place of each sequence in the flattened grid.

    `positions` restart at `first_position` in every sequence; `segments` number the sequences of a row from 0.
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    segments: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


def pack(rows: Sequence[Sequence[TokenIds]], width: int, first_position: int, stride: int = 1) -> Grid:
    """Lay the sequences of each row end to end, each from a multiple of `stride` cells on.

    Empty cells hold token 0 at the first position.
    """
    ids = np.zeros((len(rows), width), np.int64)
    positions = np.full((len(rows), width), first_position, np.int64)
    segments = np.full((len(rows), width), EMPTY, np.int32)
    starts: list[int] = []
    lengths: list[int] = []
    for r, row in enumerate(rows):
        at = 0
        for segment, sequence in enumerate(row):
            end = at + len(sequence)
            ids[r, at:end] = sequence
            positions[r, at:end] = np.arange(first_position, first_position + len(sequence))
            segments[r, at:end] = segment
            starts.append(r * width + at)
            lengths.append(len(sequence))
            at = end + -end % stride
    return Grid(ids, positions, segments, np.array(starts, np.int64), np.array(lengths, np.int64))
