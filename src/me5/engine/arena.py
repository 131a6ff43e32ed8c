"""Memory for arrays that are read once or twice and kept for good: a nameless file, which they can be read from again.

Pages of ordinary memory that nobody reads any more stay where they are; those of a file can be given back to the
system. Whoever reads an array afterwards, which nothing forbids, gets its pages from the file.
"""

import mmap
import os
from contextlib import suppress
from tempfile import TemporaryFile
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)

# Vector instructions like their operands aligned so, in bytes.
_ALIGNMENT = 64


class Arena:
    """Room for arrays of `size` bytes together. Where there is no room on the disk, they stay in ordinary memory."""

    def __init__(self, size: int) -> None:
        self._map: mmap.mmap | None = None
        self._used = 0
        if size and hasattr(os, "posix_fallocate") and hasattr(mmap, "MADV_DONTNEED"):
            with suppress(OSError), TemporaryFile(prefix="me5-") as file:
                # Taken now: a page of the map that the disk has no room for later would end the process.
                os.posix_fallocate(file.fileno(), 0, size)
                self._map = mmap.mmap(file.fileno(), size)

    def keep(self, array: npt.NDArray[T]) -> npt.NDArray[T]:
        """The same numbers, in the arena if there is room; else the array itself."""
        start = -(-self._used // _ALIGNMENT) * _ALIGNMENT
        if self._map is None or start + array.nbytes > len(self._map):
            return array
        self._used = start + array.nbytes
        kept = np.frombuffer(self._map, array.dtype, array.size, start).reshape(array.shape)
        kept[...] = array
        return kept

    def release(self) -> None:
        """Give the memory back to the system, until somebody reads it again."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)
