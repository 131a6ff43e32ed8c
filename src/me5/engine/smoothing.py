"""Weights and activations as bytes: what each channel is divided by first, and what its matrix is multiplied by.

A few channels of an encoder's activations are many times as large as the rest, and would leave those few of the 256
levels that all share. So part of a channel's size moves into the weights: X W = (X / f) (f W), with f the square root
of how far the channel reaches over how far its weights do (Xiao et al., "SmoothQuant", arXiv 2211.10438).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from me5.vectors import Float32

# A channel that hardly moves on the probes may on other texts: none counts as less than this part of the middle one.
_LEAST = np.float32(0.01)
# The levels span this much more than the probes reach: another text may reach farther, and is cut off there.
_MARGIN = np.float32(1.5)
_TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Reach:
    """The smallest and the largest activation of each channel, both float32 (channels,)."""

    low: Float32
    high: Float32

    def __or__(self, other: "Reach") -> "Reach":
        return Reach(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


def factors(reach: Reach, matrix: Float32) -> Float32:
    """What to divide each channel by before a matrix (outputs, channels): float32 (channels,)."""
    # Damaged weights have reaches that are no numbers: the products with them will not be either, and are noticed.
    sizes = np.nan_to_num(np.maximum(np.abs(reach.low), np.abs(reach.high)), nan=1, posinf=1)
    weights = np.nan_to_num(np.abs(matrix).max(axis=0), nan=1, posinf=1)
    ratio = _at_least(sizes) / _at_least(weights)
    found: Float32 = np.sqrt(ratio / np.exp(np.log(ratio).mean())).astype(np.float32)
    return found


def levels(reach: Reach, factor: Float32) -> tuple[Float32, np.float32]:
    """Offsets (channels,) and the step that all share, so that (X / factor - offset) / step lies in 0 to 255."""
    low, high = (np.nan_to_num(edge, posinf=1, neginf=-1) / factor for edge in (reach.low, reach.high))
    step = np.maximum((high - low).max() * _MARGIN, _TINY) / np.float32(255)
    offset: Float32 = ((low + high) / 2 - np.float32(127.5) * step).astype(np.float32)
    return offset, np.float32(step)


def quantized(matrix: Float32, largest: int) -> tuple[npt.NDArray[np.int8], Float32]:
    """A matrix (outputs, channels) as int8 up to ±`largest`, and the scale of each row, float32 (outputs, 1)."""
    scale = np.maximum(np.abs(matrix).max(axis=1, keepdims=True), _TINY) / np.float32(largest)
    with np.errstate(invalid="ignore"):  # a row that holds a NaN has a NaN for its scale: `pool` will notice
        return np.rint(matrix / scale).astype(np.int8), scale


def _at_least(sizes: Float32) -> Float32:
    floored: Float32 = np.maximum(sizes, np.maximum(np.median(sizes) * _LEAST, _TINY))
    return floored
