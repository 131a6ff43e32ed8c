"""SplitMix64's mixing function (Steele, Lea, Flood 2014): integers spread over 64 bits, the same on every machine."""

import numpy as np
import numpy.typing as npt

UInt64 = npt.NDArray[np.uint64]
_FACTORS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def mixed(values: UInt64) -> UInt64:
    """Each value (n,) spread over 64 bits: a permutation of all 64-bit integers that keeps 0."""
    values = (values ^ values >> np.uint64(30)) * _FACTORS[0]
    values = (values ^ values >> np.uint64(27)) * _FACTORS[1]
    spread: UInt64 = values ^ values >> np.uint64(31)
    return spread
