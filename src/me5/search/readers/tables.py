"""JSONL, CSV, TSV and Parquet: every row is a document; columns that are neither text nor title are its metadata."""

import contextlib
import csv
import datetime
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from me5.errors import InputError
from me5.search.documents import Complain, Document
from me5.search.readers.plain import decode

_LONGEST_FIELD = 1 << 27
_PARQUET_ROWS = 1024


@dataclass(frozen=True)
class Columns:
    """The names of the columns that hold text, joined in this order by line breaks, and the title.

    A missing title column is no error. Columns called `language` or `lang` state the language by its code.
    """

    text: tuple[str, ...] = ("text",)
    title: str = "title"


def read_jsonl(path: Path, columns: Columns, complain: Complain) -> Iterator[Document]:
    """A JSON object per line; a blank line is passed over."""
    with path.open("rb") as file:
        for at, raw in enumerate(file, 1):
            try:
                line = decode(raw)
                row = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError) as error:
                complain(at, f"no valid JSON ({error})")
                continue
            if not isinstance(row, dict):
                complain(at, f'a JSON {type(row).__name__}, expected an object such as {{"text": "…"}}')
            elif row:
                yield from _document(row, at, columns, complain)


def read_csv(path: Path, columns: Columns, complain: Complain) -> Iterator[Document]:
    """The first row names the columns; commas, or tabs in `.tsv`."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    lines = io.StringIO(decode(path.read_bytes()), newline="")
    reader = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    at = 1
    try:
        header = next(reader, None)
        if header is None:
            raise InputError("is empty")
        _check(columns, header)
        at = reader.line_num + 1
        for cells in reader:
            if len(cells) == len(header):
                yield from _document(dict(zip(header, cells, strict=True)), at, columns, complain)
            elif cells:
                complain(at, f"{len(cells)} columns, the header has {len(header)}")
            at = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"cannot be read from line {at} on ({error}); look for a quote that is not closed") from error


def read_parquet(path: Path, columns: Columns, complain: Complain) -> Iterator[Document]:
    """Every row; rows are counted from 0."""
    at = 0
    try:
        with pq.ParquetFile(path) as file:
            _check(columns, file.schema_arrow.names)
            for batch in file.iter_batches(_PARQUET_ROWS):
                for row in batch.to_pylist():
                    yield from _document(row, at, columns, complain)
                    at += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as Parquet: {error}") from error


def _check(columns: Columns, names: Sequence[str]) -> None:
    if missing := [name for name in columns.text if name not in names]:
        raise InputError(
            f"has no column {missing[0]!r}; its columns are {', '.join(map(repr, names[:12]))}. "
            "Name the text with --field"
        )


def _document(row: Mapping[str, Any], at: int, columns: Columns, complain: Complain) -> Iterator[Document]:
    for name in columns.text:
        if not isinstance(row.get(name), str):
            what = "is null" if name in row and row[name] is None else "is no string" if name in row else "is missing"
            complain(at, f"the field {name!r} {what}; the fields are {', '.join(map(repr, row))}")
            return
    title = row.get(columns.title)
    language = row.get("language", row.get("lang"))
    yield Document(
        "\n".join(row[name] for name in columns.text),
        title if isinstance(title, str) else "",
        at=at,
        metadata={name: plain(value) for name, value in row.items() if name not in (*columns.text, columns.title)},
        language=language.lower() if isinstance(language, str) else "",
    )


def plain(value: Any) -> Any:
    """What JSON can write of a value; dates in ISO form, anything unknown as its string."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else None  # JSON knows no infinity and no NaN
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


def rows_of(path: str, kind: str) -> int:
    """About how many documents a file holds, for progress."""
    if kind == "parquet":
        with contextlib.suppress(pa.ArrowException, OSError):
            return int(pq.read_metadata(path).num_rows)
    if kind in ("jsonl", "csv"):
        with Path(path).open("rb") as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return 1
