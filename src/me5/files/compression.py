"""Compressed files as the bytes that they hold, by the last suffix of their names."""

import bz2
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple, cast

from me5.files.objects import File
from me5.files.place import FileError, name_of

SUFFIXES = (".gz", ".zst", ".bz2")
# Text seldom packs to less than a fiftieth; gzip can reach 1,030. Files that unpack to little may do what they like.
RATIO = 200
_ALWAYS_UNPACKED = 1 << 30


class Opened(NamedTuple):
    """A file: its bytes, unpacked; the file underneath, whose position shows progress; how much it may unpack to."""

    stream: IO[bytes]
    underneath: IO[bytes]
    most: int | None


def is_packed(path: File) -> bool:
    """Whether a file is compressed, by its name."""
    return path.suffix.lower() in SUFFIXES


def bare_name(path: File) -> str:
    """The name of a file without the suffix of its compression."""
    return path.stem if is_packed(path) else path.name


@contextmanager
def opened(path: File | None) -> Iterator[Opened]:
    """Open a file, None for standard input. Raises `FileError` for what cannot be read, also while it is read."""
    name = name_of(path)
    try:
        if path is None:
            yield Opened(sys.stdin.buffer, sys.stdin.buffer, None)
            return
        with path.open("rb") as file:
            if not is_packed(path):
                yield Opened(file, file, None)
                return
            with _unpacked(file, path.suffix.lower()) as stream:
                yield Opened(stream, file, max(path.stat().st_size * RATIO, _ALWAYS_UNPACKED))
    except FileNotFoundError as error:
        raise FileError(name, "is missing; check the path") from error
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(name, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _unpacked(file: IO[bytes], suffix: str) -> IO[bytes]:
    if suffix == ".gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    if suffix == ".bz2":
        return cast(IO[bytes], bz2.BZ2File(file))
    import pyarrow as pa

    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file), "zstd"))
