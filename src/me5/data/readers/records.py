"""Files of lines and of records, compressed or not -> one after the other, each record with its place for errors."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from me5.data.contract import explained
from me5.errors import InputError
from me5.files.lines import TOO_LONG, RecordError, csv_records
from me5.files.lines import lines as lines_of
from me5.progress import Advance

Record = dict[str, Any]
_TABLES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
_PACKED = (".gz", ".zst")
# Lines or rows between two moves of the progress bar.
_AT_ONCE = 1024


def bare_name(path: Path) -> str:
    """The name of a file without the ending of its compression."""
    return path.stem if path.suffix in _PACKED else path.name


def kind_of(path: Path) -> str | None:
    """How a file of records is read, by its name: jsonl, csv, tsv, parquet, or None for another."""
    return _TABLES.get(Path(bare_name(path)).suffix)


def lines(path: Path, advance: Advance) -> Iterator[tuple[int, str]]:
    """(number from 1, line with its end) of a file, also .gz or .zst. `advance` is told bytes of the file done."""
    number = done = 0
    try:
        with path.open("rb") as raw, _unpacked(raw, path) as file:
            packed = path.stat().st_size if path.suffix in _PACKED else None
            for number, line in enumerate(lines_of(file, str(path), packed), 1):
                if line is None:
                    raise InputError(f"{path}, line {number}: {TOO_LONG}")
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                if number % _AT_ONCE == 0:
                    advance(-done + (done := raw.tell()), 0)
            advance(raw.tell() - done, 0)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, line {number}: not UTF-8 ({error.reason}); convert the file") from error
    except (OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read after line {number}: {error}") from error


def records(path: Path, advance: Advance) -> Iterator[tuple[str, Record]]:
    """(place, record) of every line of JSONL, CSV and TSV with a header, and row of Parquet."""
    kind = kind_of(path)
    if kind == "parquet":
        yield from _parquet(path, advance)
    elif kind == "jsonl":
        yield from _jsonl(path, advance)
    elif kind in ("csv", "tsv"):
        yield from _csv(path, advance, "," if kind == "csv" else "\t")
    else:
        raise InputError(f"{path} is no file of records: expected {', '.join(_TABLES)} (also {', '.join(_PACKED)})")


def first(path: Path) -> Record:
    """The first record of a file, from which its format is told. Raises `InputError` where there is none."""
    for _, record in records(path, lambda _done, _tokens: None):
        return record
    raise InputError(f"{path} is empty")


def _unpacked(raw: Any, path: Path) -> Any:
    """A stream of bytes; Arrow knows both compressions."""
    if path.suffix not in _PACKED:
        return io.BufferedReader(raw.raw)
    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw), "gzip" if path.suffix == ".gz" else "zstd"))


def _jsonl(path: Path, advance: Advance) -> Iterator[tuple[str, Record]]:
    for number, line in lines(path, advance):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}, line {number}: expected an object, got {line[:60]!r}")
        yield f"{path}, line {number}", record


def _csv(path: Path, advance: Advance, delimiter: str) -> Iterator[tuple[str, Record]]:
    rows = csv_records((line for _, line in lines(path, advance)), delimiter)
    try:
        _, header = next(rows, (1, []))
        for number, cells in rows:
            place = f"{path}, line {number}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise InputError(f"{place}: {len(cells)} columns where the header has {len(header)}; quote the fields")
            yield place, dict(zip(header, cells, strict=True))
    except RecordError as error:
        raise InputError(f"{path}, line {error.line}: cannot be read ({error}); look at its quotes") from error


def _parquet(path: Path, advance: Advance) -> Iterator[tuple[str, Record]]:
    number = done = 0
    with explained(path), pq.ParquetFile(path) as file:
        size, rows = path.stat().st_size, max(1, file.metadata.num_rows)
        for batch in file.iter_batches(_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row
            advance(-done + (done := size * number // rows), 0)
