"""Records and vectors → a file that appears whole or not at all: NumPy, Parquet or JSON lines.

    .npy      the vectors alone, float32 or float16 (texts, dim); row n is record n
    .parquet  columns `id`, `text` (if asked for), those that are kept, and `vector`, a fixed-size list of floats
    .jsonl    {"id": …, "text": … (if asked for), …, "vector": […]}, with the digits that give back each float32

Everything goes to a temporary file beside the target, which takes the target's name at the very end.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from me5.bulk.read import Record
from me5.bulk.table import column, inferred, parquet_writer, vector_columns
from me5.errors import InputError
from me5.files.atomic import check_file, explained, replacing

Dtype = Literal["float32", "float16"]
Write = Callable[[Sequence[Record], npt.NDArray[np.float32]], None]


@dataclass(frozen=True)
class Target:
    """A file to write, or standard output (`path` None). Made by `target_of`."""

    path: Path | None
    format: Literal["npy", "parquet", "jsonl"]
    dtype: Dtype = "float32"
    keep_text: bool = False
    keep: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What errors call it."""
        return "standard output" if self.path is None else str(self.path)


def target_of(
    file: str,
    *,
    dtype: Dtype = "float32",
    keep_text: bool = False,
    keep: Sequence[str] = (),
    overwrite: bool = False,
) -> Target:
    """The target that a command line names: a path with a known suffix, or `-` for JSON lines on standard output.

    Raises `InputError` for what cannot be written there, or would replace a file without `overwrite`.
    """
    path = None if file == "-" else Path(file)
    suffix = ".jsonl" if path is None else path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(
            f"cannot tell the format of {file} from its name; expected one of {', '.join(_SUFFIXES)}, or - for JSON "
            "lines on standard output"
        )
    target = Target(path, _SUFFIXES[suffix], dtype, keep_text, tuple(keep))
    if keep_text and target.format == "npy":
        raise InputError(f"{file} holds vectors only and cannot keep texts; write .parquet or .jsonl instead")
    if dtype != "float32" and target.format == "jsonl":
        raise InputError(f"{target.name} holds decimal numbers, which have no dtype; write .npy or .parquet instead")
    if path is not None:
        check_file(path, overwrite=overwrite)
    return target


@contextmanager
def writing(target: Target, dim: int) -> Iterator[Write]:
    """Give a function that appends records and their vectors (records, dim).

    The target appears when the block ends; when it fails nothing is left behind, and an older file stays as it was.
    """
    with _file(target) as file:
        sink = _SINKS[target.format](file, target, dim)

        def write(records: Sequence[Record], vectors: npt.NDArray[np.float32]) -> None:
            with explained(target.name):
                sink.write(records, vectors)

        try:
            yield write
        finally:
            with explained(target.name):
                sink.close()


class _Sink(Protocol):
    def write(self, records: Sequence[Record], vectors: npt.NDArray[np.float32]) -> None: ...

    def close(self) -> None: ...


class _Npy:
    def __init__(self, file: IO[bytes], target: Target, dim: int) -> None:
        self._file, self._dim, self._rows = file, dim, 0
        self._dtype = np.dtype(target.dtype).newbyteorder("<")
        self._write_header()

    def write(self, records: Sequence[Record], vectors: npt.NDArray[np.float32]) -> None:
        self._file.write(np.ascontiguousarray(vectors, self._dtype).data)
        self._rows += len(records)

    def close(self) -> None:
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        self._file.seek(end)

    def _write_header(self) -> None:
        # NumPy pads its header so that the first axis can grow in place: it has the same length for any number of rows.
        shape = (self._rows, self._dim)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class _Parquet:
    def __init__(self, file: IO[bytes], target: Target, dim: int) -> None:  # noqa: ARG002
        self._file, self._target = file, target
        self._writer: Any = None
        self._kinds: dict[str, Any] = {}

    def write(self, records: Sequence[Record], vectors: npt.NDArray[np.float32]) -> None:
        import pyarrow as pa

        columns = {"id": pa.array([record.id for record in records])}
        if self._target.keep_text:
            columns["text"] = pa.array([record.text for record in records], pa.string())
        columns |= {name: self._kept(name, records) for name in self._target.keep}
        columns |= vector_columns(vectors, "f16" if self._target.dtype == "float16" else "f32")
        table = pa.table(columns)
        if self._writer is None:
            self._writer = parquet_writer(self._file, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _kept(self, name: str, records: Sequence[Record]) -> Any:
        """A column of the records, of the type that its first values have."""
        values = [record.values[name] for record in records]
        kind = self._kinds.setdefault(name, inferred(values))
        array, wrong = column(values, kind)
        for place, reason in wrong.items():
            raise InputError(
                f"{self._target.name}: the column {name!r}, which is kept, holds {reason} at record "
                f"{records[place].number}; repair it, or leave --keep {name} out"
            )
        return array


class _Jsonl:
    def __init__(self, file: IO[bytes], target: Target, dim: int) -> None:
        self._file, self._target = file, target
        # Nine significant digits give back every float32 exactly.
        self._format = ", ".join(["%.9g"] * dim)

    def write(self, records: Sequence[Record], vectors: npt.NDArray[np.float32]) -> None:
        for record, vector in zip(records, vectors.tolist(), strict=True):
            head = {"id": record.id} | ({"text": record.text} if self._target.keep_text else {})
            head |= {name: record.values[name] for name in self._target.keep}
            opening = json.dumps(head, ensure_ascii=False, default=str)[:-1]
            self._file.write(f'{opening}, "vector": [{self._format % tuple(vector)}]}}\n'.encode())
        self._file.flush()

    def close(self) -> None:
        self._file.flush()


_SUFFIXES: Mapping[str, Literal["npy", "parquet", "jsonl"]] = {
    ".npy": "npy", ".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_SINKS: Mapping[str, Callable[[IO[bytes], Target, int], _Sink]] = {"npy": _Npy, "parquet": _Parquet, "jsonl": _Jsonl}


@contextmanager
def _file(target: Target) -> Iterator[IO[bytes]]:
    """The open file that everything is written to."""
    if target.path is None:
        yield sys.stdout.buffer
        return
    with replacing(target.path) as file:
        yield file
