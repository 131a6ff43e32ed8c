"""Token sequences laid end to end, as the encoder takes them: ids, positions, and where each one begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

TokenIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """Any number of token sequences without padding.

    `ids` and `positions` (tokens,) int64; `bounds` (sequences + 1,) int32 rises from 0: sequence i holds the tokens
    `bounds[i]` to `bounds[i + 1]`, at least `shortest` and at most `longest` of them, which the host so knows without
    asking the device. Tokens behind the last bound belong to no sequence, and their states mean nothing.
    """

    ids: Tensor
    positions: Tensor
    bounds: Tensor
    shortest: int
    longest: int

    def to(self, device: torch.device) -> "Sequences":
        """The same on a device. From page-locked memory (`pin`) the host does not wait for the copies."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Sequences":
        """The same in page-locked memory."""
        return self._moved(lambda tensor: tensor.pin_memory())

    def _moved(self, move: Callable[[Tensor], Tensor]) -> "Sequences":
        return replace(self, ids=move(self.ids), positions=move(self.positions), bounds=move(self.bounds))


def concatenate(sequences: Sequence[TokenIds], first_position: int) -> Sequences:
    """Lay sequences end to end; positions restart at `first_position` in each.

    In order of length they run fastest on a CPU: neighbours of one length share one matrix product.
    """
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    bounds = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=bounds[1:])
    ids = np.concatenate(sequences)
    positions = np.arange(first_position, first_position + len(ids)) - np.repeat(bounds[:-1], lengths)
    return Sequences(
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        torch.from_numpy(bounds),
        int(lengths.min()),
        int(lengths.max()),
    )
