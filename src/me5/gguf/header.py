"""A GGUF file -> its settings, and where its tensors lie. Every count and size is checked against the file's length.

Format: docs/gguf.md of ggml-org/ggml, versions 2 and 3, little endian. The `gguf` package has a reader too; it takes
counts and sizes on trust, and needs 60 times as long for the 250,002 pieces of XLM-RoBERTa's vocabulary.
"""

import math
import mmap
import struct
from array import array
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from me5.errors import CheckpointError
from me5.gguf import blocks

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# What no encoder needs more of; a file that claims more is damaged or made to harm.
_MOST_SETTINGS, _MOST_TENSORS, _MOST_DIMENSIONS, _MOST_KEY = 4096, 65_536, 4, 65_535
_UINT32, _UINT64 = struct.Struct("<I"), struct.Struct("<Q")
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32  # of tensors, where the settings name none
# GGUF's number of a scalar's type -> how it is stored.
_SCALARS: Mapping[int, np.dtype[Any]] = {
    number: np.dtype(kind)
    for number, kind in enumerate(("<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?", "", "", "<u8", "<i8", "<f8"))
    if kind
}


@dataclass(frozen=True)
class Array:
    """A list among the settings, read when it is needed: `kind` is the type's number, `start` its first byte.

    `edges` are the places of all strings in a list of them (int64, count + 1), each with its length in 8 bytes ahead.
    """

    kind: int
    count: int
    start: int
    edges: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies: its first byte in the file, its type as GGML names it, its shape, row by row."""

    start: int
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class File:
    """A mapped GGUF file: settings by their keys, tensors by their names."""

    path: Path
    mapped: mmap.mmap
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def head(self) -> bytes:
        """All that stands before the tensors: settings, names and places."""
        return self.mapped[: min((tensor.start for tensor in self.tensors.values()), default=len(self.mapped))]

    def strings(self, key: str) -> list[str]:
        """The list of strings under `key`. Raises `CheckpointError` where there is none."""
        listed = self._array(key)
        if listed.edges is None:
            raise CheckpointError(f"{self.path}: {key} is a list of numbers, expected a list of strings")
        with suppress(UnicodeDecodeError):
            if len(found := self._split(listed.edges)) == listed.count:
                return found
        # One of them holds a NUL, or is no text.
        found = []
        try:
            for start, end in pairwise(listed.edges.tolist()):
                found.append(self.mapped[start + 8 : end].decode())
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{self.path}: item {len(found)} of {key} is not valid UTF-8") from error
        return found

    def _split(self, edges: npt.NDArray[np.int64]) -> list[str]:
        """Strings that hold no NUL, decoded together: one by one, 229,000 took a tenth of a second."""
        starts = edges[:-1] - edges[0]
        raw = np.frombuffer(self.mapped, np.uint8, edges[-1] - edges[0], edges[0]).copy()
        raw[starts] = 0  # of the length, one byte is left between two strings
        kept = np.ones(len(raw), np.bool_)
        for byte in range(1, 8):
            kept[starts + byte] = False
        return raw[kept].tobytes().decode()[1:].split("\0")

    def numbers(self, key: str) -> npt.NDArray[Any]:
        """The list of numbers under `key`. Raises `CheckpointError` where there is none."""
        listed = self._array(key)
        if listed.kind not in _SCALARS:
            raise CheckpointError(f"{self.path}: {key} is a list of strings, expected a list of numbers")
        return np.frombuffer(self.mapped, _SCALARS[listed.kind], listed.count, listed.start)

    def _array(self, key: str) -> Array:
        value = self.settings.get(key)
        if not isinstance(value, Array):
            what = "missing" if value is None else f"{value!r:.60}"
            raise CheckpointError(f"{self.path}: {key} is {what}, expected a list")
        return value


def read(path: Path) -> File:
    """Read what a file says of itself; tensors are not touched. Raises `CheckpointError` where it is damaged."""
    try:
        state = path.stat()
        return _read(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


@lru_cache(maxsize=2)  # a checkpoint, its tokenizer and its weights ask one after another
def _read(path: Path, size: int, changed: int) -> File:  # noqa: ARG001  the file's state is the key
    if size < 24:
        raise CheckpointError(f"{path} is not a GGUF file: it has {size} bytes")
    with path.open("rb") as file:
        # A private writable map: OpenVINO shares memory only with writable arrays, and nothing is ever written.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    try:
        return _Cursor(path, mapped).file()
    except (struct.error, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path} is not a readable GGUF file: it is damaged or cut short ({error})") from error


class _Cursor:
    """Reads a file's head from its beginning."""

    def __init__(self, path: Path, mapped: mmap.mmap) -> None:
        self._path, self._bytes, self._at = path, mapped, 0

    def file(self) -> File:
        """All of the head."""
        if self._bytes[:4] != _MAGIC:
            raise CheckpointError(f"{self._path} is not a GGUF file: it begins with {self._bytes[:4]!r}")
        self._at = 4
        version = self._uint32()
        if version not in _VERSIONS:
            known = " and ".join(map(str, _VERSIONS))
            raise CheckpointError(f"{self._path}: GGUF version {version}, me5 reads {known} (little endian)")
        tensors, settings = self._count("tensors", _MOST_TENSORS), self._count("settings", _MOST_SETTINGS)
        read: dict[str, Any] = {}
        for _ in range(settings):
            key = self._key()
            if key in read:
                raise CheckpointError(f"{self._path}: the setting {key} occurs twice")
            read[key] = self._value(self._uint32())
        return File(self._path, self._bytes, read, self._tensors(tensors, read))

    def _tensors(self, count: int, settings: Mapping[str, Any]) -> dict[str, Tensor]:
        heads = [self._tensor() for _ in range(count)]
        alignment = settings.get("general.alignment", _ALIGNMENT)
        if type(alignment) is not int or not 1 <= alignment <= 1 << 16:
            raise CheckpointError(f"{self._path}: general.alignment is {alignment!r:.60}, expected 1 to 65,536")
        data = math.ceil(self._at / alignment) * alignment
        tensors: dict[str, Tensor] = {}
        for name, tensor in heads:
            if name in tensors:
                raise CheckpointError(f"{self._path}: tensor {name} occurs twice")
            start, end = data + tensor.start, data + tensor.start + stored_bytes(tensor.type, tensor.shape)
            if tensor.start % alignment or end > len(self._bytes):
                raise CheckpointError(
                    f"{self._path}: tensor {name} lies at bytes {start:,} to {end:,} of {len(self._bytes):,}; the file "
                    "is cut short or damaged"
                )
            tensors[name] = Tensor(start, tensor.type, tensor.shape)
        return tensors

    def _tensor(self) -> tuple[str, Tensor]:
        name, dimensions = self._key(), self._uint32()
        if not 1 <= dimensions <= _MOST_DIMENSIONS:
            raise CheckpointError(f"{self._path}: tensor {name} has {dimensions} dimensions, expected 1 to 4")
        # GGML writes the length of a row first.
        shape = tuple(reversed([self._uint64() for _ in range(dimensions)]))
        number = self._uint32()
        try:
            kind = blocks.name_of(number)
        except ValueError as error:
            raise CheckpointError(f"{self._path}: tensor {name} is of the unknown type {number}") from error
        if not blocks.decodes(kind):
            raise CheckpointError(
                f"{self._path}: tensor {name} is of the type {kind}, which the gguf package cannot read"
            )
        if shape[-1] % blocks.size_of(kind)[0]:
            raise CheckpointError(
                f"{self._path}: tensor {name} has rows of {shape[-1]} numbers, {kind} has blocks of "
                f"{blocks.size_of(kind)[0]}"
            )
        return name, Tensor(self._uint64(), kind, shape)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._list()
        if kind not in _SCALARS:
            raise ValueError(f"a setting of the unknown type {kind}")
        return np.frombuffer(self._take(_SCALARS[kind].itemsize), _SCALARS[kind])[0].item()

    def _list(self) -> Array:
        kind, count = self._uint32(), self._uint64()
        found = Array(kind, count, self._at)
        if kind == _STRING:
            at, most = self._at, (len(self._bytes) - self._at) // 8
            if count > most:
                raise ValueError(f"a list of {count:,} strings in a file of {len(self._bytes):,} bytes")
            edges = array("q", [at])
            for _ in range(count):
                at += 8 + _UINT64.unpack_from(self._bytes, at)[0]
                edges.append(at)
            self._skip(at - self._at)
            found = replace(found, edges=np.frombuffer(edges, np.int64))
        elif kind in _SCALARS:
            self._skip(count * _SCALARS[kind].itemsize)
        else:
            raise ValueError(f"a list of the type {kind}")
        return found

    def _count(self, what: str, most: int) -> int:
        count = self._uint64()
        if count > most:
            raise ValueError(f"{count:,} {what}, at most {most:,} are read")
        return count

    def _key(self) -> str:
        text = self._string(_MOST_KEY)
        if not text.isprintable():
            raise ValueError(f"the name {text[:40]!r}")
        return text

    def _string(self, most: int = 1 << 26) -> str:
        length = self._uint64()
        if length > most:
            raise ValueError(f"a string of {length:,} bytes")
        return self._take(length).decode()

    def _uint32(self) -> int:
        value: int = _UINT32.unpack(self._take(4))[0]
        return value

    def _uint64(self) -> int:
        value: int = _UINT64.unpack(self._take(8))[0]
        return value

    def _take(self, length: int) -> bytes:
        start = self._at
        self._skip(length)
        return self._bytes[start : self._at]

    def _skip(self, length: int) -> None:
        if length > len(self._bytes) - self._at:
            raise ValueError(f"{length:,} bytes are announced at byte {self._at:,} of {len(self._bytes):,}")
        self._at += length


def stored_bytes(kind: str, shape: tuple[int, ...]) -> int:
    """The bytes that a tensor of a GGML type takes."""
    numbers, size = blocks.size_of(kind)
    return math.prod(shape) // numbers * size
