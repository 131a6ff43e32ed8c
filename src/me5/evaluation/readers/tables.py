"""Files of lines and of records (JSONL, Parquet; both also gzipped) -> one after the other, each with its place."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from me5.errors import InputError
from me5.files.lines import TOO_LONG
from me5.files.lines import lines as lines_of

Numbered = Iterator[tuple[int, dict[str, Any]]]
_ROWS_AT_ONCE = 1024


def holds_records(path: Path) -> bool:
    """Whether `records` can read a file, by its name."""
    return path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson")) or path.suffix == ".parquet"


def at(path: Path, number: int) -> str:
    """The place of a line or row, for errors."""
    return f"{path}, {'row' if path.suffix == '.parquet' else 'line'} {number}"


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, line without its end) of every line that is not empty. Raises `InputError` with the place."""
    if not path.exists():
        raise InputError(f"{path} is missing")
    number = 0
    try:
        packed = path.stat().st_size if path.suffix == ".gz" else None
        with cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(lines_of(file, str(path), packed), 1):
                if raw is None:
                    raise InputError(f"{path}, line {number}: {TOO_LONG}")
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if line:
                    yield number, line
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, line {number}: not UTF-8 ({error})") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise InputError(f"{path}, after line {number}: no whole gzip file ({error}); fetch it again") from error


def records(path: Path) -> Numbered:
    """(number from 1, record) of every line of a JSONL file or row of a Parquet file, in memory that does not grow."""
    if path.suffix == ".parquet":
        yield from _rows(path)
        return
    for number, line in lines(path):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}, line {number}: expected an object, got {line[:60]}")
        yield number, record


def _rows(path: Path) -> Numbered:
    if not path.exists():
        raise InputError(f"{path} is missing")
    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error


def text_of(record: dict[str, Any], key: str, path: Path, number: int) -> str:
    """A field that must be a string."""
    value = record.get(key)
    if not isinstance(value, str):
        raise InputError(f'{at(path, number)}: expected a string "{key}", got {value!r}'[:300])
    return value


def name_of(record: dict[str, Any], keys: tuple[str, ...], path: Path, number: int) -> str:
    """The id of a record, under the first of `keys` that it has. Numbers count as their digits, as in mteb."""
    value = next((record[key] for key in keys if key in record), None)
    if isinstance(value, bool) or not isinstance(value, str | int):
        wanted = " or ".join(f'"{key}"' for key in keys)
        raise InputError(f"{at(path, number)}: expected an id under {wanted}, got {value!r}; it has {list(record)[:6]}")
    return str(value)
