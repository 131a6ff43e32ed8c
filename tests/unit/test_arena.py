"""Arrays in an arena are what they were, also after their memory was given back."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

from me5.engine.arena import Arena

ARRAYS = [
    np.arange(40_000, dtype=np.float32).reshape(200, 200),
    np.arange(-100, 27, dtype=np.int8),
    np.ones((3, 1), "<u2"),
]
SIZE = sum(array.nbytes for array in ARRAYS) + 64 * len(ARRAYS)


def resident(array: np.ndarray) -> int:
    """The bytes of an array's mapping that are in the memory of this process, according to Linux."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= array.ctypes.data < int(found[2], 16)
        elif inside and line.startswith("Rss:"):
            return 1024 * int(line.split()[1])
    raise AssertionError("the array lies in no mapping")


def check(kept: list[np.ndarray]) -> None:
    for found, array in zip(kept, ARRAYS, strict=True):
        np.testing.assert_array_equal(found, array)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)


def test_the_memory_is_given_back_and_read_again() -> None:
    arena = Arena(SIZE)
    kept = [arena.keep(array) for array in ARRAYS]
    check(kept)
    assert not any(map(np.shares_memory, kept, ARRAYS))
    assert all(array.ctypes.data % 64 == 0 for array in kept)
    assert resident(kept[0]) >= ARRAYS[0].nbytes
    arena.release()
    assert resident(kept[0]) == 0
    check(kept)
    assert resident(kept[0]) > 0


def test_arrays_live_on_without_the_arena() -> None:
    kept = [*map(Arena(SIZE).keep, ARRAYS)]
    check(kept)


def test_what_has_no_room_stays_where_it_is() -> None:
    arena = Arena(ARRAYS[0].nbytes)
    kept = [arena.keep(array) for array in ARRAYS]
    assert [found is array for found, array in zip(kept, ARRAYS, strict=True)] == [False, True, True]
    arena.release()
    check(kept)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EOPNOTSUPP])
def test_without_a_disk_everything_stays_where_it_is(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", full)
    arena = Arena(SIZE)
    assert all(arena.keep(array) is array for array in ARRAYS)
    arena.release()


def test_nothing_is_left_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    arena = Arena(SIZE)
    assert arena.keep(ARRAYS[0]) is not ARRAYS[0]
    assert not list(tmp_path.iterdir())
