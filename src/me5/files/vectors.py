"""Files of vectors, as `me5 embed` and `me5 bulk` write them, read back: ids, texts and unit vectors, in memory.

    .npy      a matrix; ids are row numbers
    .parquet  a column of lists of one length, beside `id` and `text` where there are such; int8 and binary vectors of
              `me5 bulk` with their `scale`. A folder is all Parquet files in it
    .jsonl    the same by record

A row without a vector (null, as a bulk job leaves one for a text that it could not embed) is left out and counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from me5.errors import InputError, described
from me5.files import parquet
from me5.files.records import Records
from me5.quantization import restored
from me5.vectors import Float32, join, normalized

SUFFIXES = (".npy", ".parquet", ".jsonl", ".ndjson")


@dataclass(frozen=True)
class VectorTable:
    """Vectors (n, dim) of length 1 with the id of each, and its text where there are texts; `missing` had none."""

    name: str
    ids: Sequence[int | str]
    texts: Sequence[str] | None
    vectors: Float32
    missing: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, place: int) -> dict[str, Any]:
        """The id of a vector and its text, if there is one, as commands print them."""
        return {"id": self.ids[place]} | ({} if self.texts is None else {"text": self.texts[place]})

    def place_of(self, identity: str) -> int:
        """Where an id stands. Raises `InputError` for one that is not there."""
        for place, known in enumerate(self.ids):
            if str(known) == identity:
                return place
        raise InputError(f"{self.name} has no id {identity!r}; its first is {described(self.ids[0])}")


def holds_vectors(path: Path) -> bool:
    """Whether a path is a file of vectors by its name, or a folder with Parquet files."""
    if path.is_dir():
        return any(path.rglob("*.parquet"))
    return path.suffix.lower() in SUFFIXES


def read_vectors(path: Path, *, vector: str = "vector", identity: str = "id", text: str = "text") -> VectorTable:
    """Read a file, or a folder of Parquet files; the others are names of columns.

    Raises `InputError` for what holds no vectors of one length.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; expected a file of vectors ({', '.join(SUFFIXES)}), or a folder")
    if not holds_vectors(path):
        raise InputError(
            f"{path} is not a file of vectors; expected {', '.join(SUFFIXES)}, or a folder of Parquet files"
        )
    if path.suffix.lower() == ".npy" and not path.is_dir():
        return _of_matrix(path)
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    ids: list[int | str] = []
    texts: list[str] = []
    blocks: list[Float32] = []
    read_rows = missing = 0
    for file in files:
        read = _columns if file.suffix.lower() == ".parquet" else _lines
        for block in read(file, vector, identity, text):
            kept = np.flatnonzero(~block.missing).tolist()
            rows = len(block.missing)
            numbered = range(read_rows, read_rows + rows) if block.ids is None else block.ids
            read_rows, missing = read_rows + rows, missing + rows - len(kept)
            ids += [numbered[at] for at in kept]
            if block.texts is not None:
                texts += [block.texts[at] for at in kept]
            blocks.append(_unit(file, block.vectors[kept]))
    widths = {block.shape[1] for block in blocks if len(block)}
    if not ids:
        raise InputError(f"{path} holds no vectors")
    if len(widths) != 1:
        raise InputError(f"{path} holds vectors of {', '.join(map(str, sorted(widths)))} numbers, expected one width")
    (width,) = widths
    vectors = join([block for block in blocks if len(block)], width)
    return VectorTable(str(path), ids, texts if len(texts) == len(ids) else None, vectors, missing)


@dataclass(frozen=True)
class _Block:
    """Some rows of a file; ids None are their numbers."""

    ids: Sequence[int | str] | None
    texts: Sequence[str] | None
    vectors: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_]


def _of_matrix(path: Path) -> VectorTable:
    try:
        matrix = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a matrix of NumPy: {error}") from error
    if matrix.ndim != 2 or matrix.dtype.kind != "f" or not len(matrix):
        raise InputError(f"{path} holds {matrix.dtype} of shape {matrix.shape}, expected vectors: floats (n, dim)")
    return VectorTable(str(path), range(len(matrix)), None, _unit(path, matrix))


def _columns(path: Path, vector: str, identity: str, text: str) -> Iterator[_Block]:
    names = parquet.columns(path)
    if vector not in names:
        raise InputError(f"{path} has no column {vector!r}; it has {', '.join(names)}")
    wanted = [name for name in (identity, text, vector, "scale") if name in names]
    for batch in parquet.batches(path, wanted):
        column = batch.column(wanted.index(vector))
        missing = np.asarray(column.is_null())
        scales = np.asarray(batch.column(wanted.index("scale"))) if "scale" in wanted else None
        yield _Block(
            batch.column(wanted.index(identity)).to_pylist() if identity in wanted else None,
            ["" if value is None else str(value) for value in batch.column(wanted.index(text)).to_pylist()]
            if text in wanted
            else None,
            _numbers(path, vector, column, scales),
            missing,
        )


def _numbers(path: Path, name: str, column: Any, scales: npt.NDArray[Any] | None) -> Float32:
    """The vectors of an Arrow column of lists; those that are null as zeros."""
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)):
        raise InputError(f"{path}: the column {name!r} holds {kind}, expected lists of numbers")
    values = np.asarray(column.flatten())  # of those that are there
    there = len(column) - column.null_count
    if values.dtype.kind not in "fiu" or (there and len(values) % there):
        raise InputError(f"{path}: the column {name!r} holds {kind}, expected lists of one length without gaps")
    rows = values.reshape(there, -1)
    if scales is not None and values.dtype == np.uint8:  # the signs of numbers, the first in the highest bit
        rows = restored(rows, "ubinary")
    numbers = np.zeros((len(column), rows.shape[1]), np.float32)
    numbers[~np.asarray(column.is_null())] = rows
    return numbers


def _lines(path: Path, vector: str, identity: str, text: str) -> Iterator[_Block]:
    rows: list[dict[str, Any]] = []
    for record in Records(path, wanted={vector: "--column"}):
        rows.append(record.values)
        if len(rows) == 4096:
            yield _of_rows(path, rows, vector, identity, text)
            rows = []
    if rows:
        yield _of_rows(path, rows, vector, identity, text)


def _of_rows(path: Path, rows: list[dict[str, Any]], vector: str, identity: str, text: str) -> _Block:
    missing = np.array([row[vector] is None for row in rows], np.bool_)
    try:
        numbers = np.array([row[vector] for row in rows if row[vector] is not None], np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {vector!r} holds no lists of numbers of one length: {error}") from error
    if not missing.all() and numbers.ndim != 2:
        raise InputError(f"{path}: {vector!r} holds no lists of numbers of one length")
    vectors = np.zeros((len(rows), numbers.shape[1] if numbers.ndim == 2 else 0), np.float32)
    if numbers.ndim == 2:
        vectors[~missing] = numbers
    ids = [row[identity] for row in rows] if all(identity in row for row in rows) else None
    texts = [str(row[text]) for row in rows] if all(text in row for row in rows) else None
    return _Block(ids, texts, vectors, missing)


def _unit(path: Path, vectors: npt.NDArray[Any]) -> Float32:
    numbers = np.asarray(vectors, np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(f"{path} holds numbers that are not finite; embed its texts again")
    return normalized(numbers)
