"""Rows of Parquet in batches of bounded size.

A file of a few kilobytes may hold a million equal long texts: of what Parquet holds once, one copy is in memory, and a
batch has the fewer rows the larger they are on average in their row group.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from me5.files.lines import LONGEST
from me5.files.objects import File, ObjectFile
from me5.files.place import FileError, Place
from me5.progress import Advance

# Bytes of a batch, as the file states them unpacked, and rows at most. Arrow copies dictionaries for each batch:
# a row of three short texts took 4.8 us in batches of 1,024 rows, 2 us in those of 8,192, without dictionaries 1 us.
_BATCH_BYTES, _BATCH_ROWS = 1 << 26, 8192
# With this encoding a value may repeat the beginning of the one before, so that stated sizes say nothing of its length.
_UNKNOWN_SIZE, _FEW_ROWS = "DELTA_BYTE_ARRAY", 16


def schema(path: File) -> Any:
    """The names and Arrow types of the columns."""
    import pyarrow.parquet as pq

    with _explained(path):
        return pq.read_schema(_readable(path))


def columns(path: File) -> list[str]:
    """The names of the columns."""
    return list(schema(path).names)


def count(path: File) -> int:
    """How many rows a file has."""
    import pyarrow.parquet as pq

    with _explained(path):
        return int(pq.read_metadata(_readable(path)).num_rows)


def groups(path: File) -> list[int]:
    """How many rows each row group of a file has."""
    import pyarrow.parquet as pq

    with _explained(path):
        metadata = pq.read_metadata(_readable(path))
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def rows(
    path: File, names: Sequence[str] | None = None, *, advance: Advance | None = None, start: int = 0
) -> Iterator[dict[str, Any]]:
    """Every row in order from row `start` on, with all columns or those that are named.

    Raises `FileError` for a damaged file, and for a text that is not UTF-8, naming its row.
    """
    import pyarrow.parquet as pq

    at = done = 0
    with _explained(path):
        metadata = pq.read_metadata(_readable(path))
        # Read through a buffer, a row group need not be held as a whole.
        source, repeated = _readable(path), _repeated(metadata)
        with pq.ParquetFile(source, metadata=metadata, read_dictionary=repeated, buffer_size=1 << 20) as file:
            size, total = path.stat().st_size, max(1, file.metadata.num_rows)
            for group in range(file.metadata.num_row_groups):
                if at + file.metadata.row_group(group).num_rows <= start:
                    at += file.metadata.row_group(group).num_rows
                    continue
                few = _batch_rows(file.metadata.row_group(group), names)
                for batch in file.iter_batches(few, row_groups=[group], columns=names):
                    skipped = min(max(start - at, 0), batch.num_rows)
                    if skipped < batch.num_rows:
                        yield from _rows(path, batch.slice(skipped), at + skipped)
                    at += batch.num_rows
                    if advance is not None:
                        advance(-done + (done := size * at // total), 0)


def batches(path: File, names: Sequence[str]) -> Iterator[Any]:
    """These columns of a file as Arrow's batches, each of about `_BATCH_BYTES` at most. Raises `FileError`."""
    import pyarrow.parquet as pq

    with _explained(path), pq.ParquetFile(_readable(path), buffer_size=1 << 20) as file:
        for group in range(file.metadata.num_row_groups):
            few = _batch_rows(file.metadata.row_group(group), names)
            for batch in file.iter_batches(few, row_groups=[group], columns=list(names)):
                yield batch.select(list(names))


def too_long(row: Mapping[str, object]) -> str | None:
    """Why a row has a text beyond the limit; else None."""
    for name, value in row.items():
        if isinstance(value, str) and len(value) > LONGEST:
            return (
                f"the text in {name!r} has {len(value):,} characters, and at most {LONGEST:,} are read; split it into "
                "several rows"
            )
    return None


def _readable(path: File) -> Any:
    """What Arrow can read from."""
    return path.open("rb") if isinstance(path, ObjectFile) else path


@contextmanager
def _explained(path: File) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise FileError(str(path), "is missing; check the path") from error
    except (pa.ArrowException, OSError) as error:
        raise FileError(str(path), f"cannot be read as Parquet: {error}") from error


def _repeated(metadata: Any) -> list[str]:
    """The columns, also those within others, of which Parquet holds equal values once."""
    found = set()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.physical_type == "BYTE_ARRAY" and any("DICTIONARY" in name for name in column.encodings):
                found.add(column.path_in_schema)
    decimals = {
        column.path for column in map(metadata.schema.column, range(len(metadata.schema)))
        if column.logical_type.type == "DECIMAL"
    }  # fmt: skip
    return sorted(found - decimals)


def _batch_rows(group: Any, names: Sequence[str] | None) -> int:
    chunks = [group.column(index) for index in range(group.num_columns)]
    if names is not None:
        chunks = [
            chunk for chunk in chunks if f"{chunk.path_in_schema}.".startswith(tuple(f"{name}." for name in names))
        ]
    mean = sum(chunk.total_uncompressed_size for chunk in chunks) // max(1, group.num_rows)
    most = _FEW_ROWS if any(_UNKNOWN_SIZE in chunk.encodings for chunk in chunks) else _BATCH_ROWS
    return int(max(1, min(most, _BATCH_BYTES // max(1, mean))))


def _rows(path: File, batch: Any, first: int) -> Iterator[dict[str, Any]]:
    names = batch.schema.names
    try:
        values = [_values(batch.column(index)) for index in range(len(names))]
    except UnicodeDecodeError:
        for row in range(batch.num_rows):
            try:
                yield {name: batch.column(index)[row].as_py() for index, name in enumerate(names)}
            except UnicodeDecodeError as error:
                raise FileError(
                    Place(str(path), first + row, "row"), f"not valid UTF-8 ({error.reason}); write the column again "
                    "as strings"
                ) from error  # fmt: skip
        return
    for cells in zip(*values, strict=True):
        yield dict(zip(names, cells, strict=True))


def _values(array: Any) -> list[Any]:
    """The values of an Arrow array; of equal texts in a dictionary there is one."""
    import pyarrow as pa
    import pyarrow.types as kinds

    kind = array.type
    if kinds.is_dictionary(kind):
        places = array.indices.fill_null(-1).to_numpy()
        used, numbers = np.unique(places, return_inverse=True)
        texts = array.dictionary.take(pa.array(used, mask=used < 0)).to_pylist()
        return [texts[number] for number in numbers.tolist()]
    if kinds.is_list(kind) or kinds.is_large_list(kind):
        inner = iter(_values(array.flatten()))
        return [None if n is None else list(islice(inner, n)) for n in array.value_lengths().to_pylist()]
    if kinds.is_struct(kind):
        names = [field.name for field in kind]
        parts = zip(array.is_valid().to_pylist(), *map(_values, array.flatten()), strict=True)
        return [dict(zip(names, row, strict=True)) if there else None for there, *row in parts]
    return array.to_pylist()  # type: ignore[no-any-return]
