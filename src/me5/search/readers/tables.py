"""JSONL, CSV, TSV and Parquet: every row is a document; columns that are neither text nor title are its metadata."""

import contextlib
import datetime
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from me5.errors import InputError
from me5.files.lines import LONGEST, TOO_LONG, RecordError, csv_records, lines
from me5.search.documents import Complain, Document
from me5.search.readers.plain import decode, encoding_of

_PARQUET_ROWS = 1024
# Characters of a row's metadata as JSON: every passage of the row holds them, and a batch is 4,096 passages.
_MOST_METADATA = 1 << 16
# What may stand between the columns of a CSV file, in the order in which its header is tried.
_DELIMITERS = (",", ";", "\t", "|")


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
        for at, raw in enumerate(lines(file, str(path)), 1):
            if raw is None:
                complain(at, TOO_LONG)
                continue
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
    """The first row names the columns; between them stand commas (or semicolons, tabs, bars), or tabs in `.tsv`."""
    with path.open("rb") as raw:
        encoding = encoding_of(raw.read(4))
    with path.open(encoding=encoding) as file:
        text = _decoded(file)
        first = next(text, None)
        if first is None:
            raise InputError("is empty")
        delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(first, columns)
        rows = csv_records(itertools.chain([first], text), delimiter)
        try:
            _, header = next(rows)
            _check(columns, header)
            for at, cells in rows:
                if len(cells) == len(header):
                    yield from _document(dict(zip(header, cells, strict=True)), at, columns, complain)
                elif cells:
                    complain(at, f"{len(cells)} columns, the header has {len(header)}")
        except RecordError as error:
            raise InputError(
                f"cannot be read from line {error.line} on ({error}); look for a quote that is not closed"
            ) from error


def _decoded(file: TextIO) -> Iterator[str]:
    """The lines of a file with line feeds as their ends. Raises `InputError` for one that is too long, or no text."""
    at = 0
    try:
        for at in itertools.count(1):
            line = file.readline(LONGEST + 1)
            if len(line) > LONGEST:
                raise InputError(f"line {at}: {TOO_LONG}")
            if "\0" in line:
                raise InputError(f"line {at} holds NUL characters, so it is no text")
            if not line:
                return
            yield line
    except UnicodeDecodeError as error:
        raise InputError(
            f"line {at} or one of those after it is not valid {error.encoding.upper()} ({error.reason}); "
            "convert the file, for example with `iconv -f WINDOWS-1252 -t UTF-8`"
        ) from error


def _delimiter(header: str, columns: Columns) -> str:
    """The first delimiter by which the header has the columns that are wanted."""
    for delimiter in _DELIMITERS:
        with contextlib.suppress(RecordError, StopIteration):
            _, names = next(csv_records([header], delimiter))
            if all(name in names for name in columns.text):
                return delimiter
    return max(_DELIMITERS, key=header.count)


def read_parquet(path: Path, columns: Columns, complain: Complain) -> Iterator[Document]:
    """Every row; rows are counted from 0."""
    at = 0
    try:
        # Of equal strings one is held: a file of a few kilobytes may hold a million long ones.
        schema = pq.read_schema(path)
        names = schema.names
        strings = [field.name for field in schema if field.type in (pa.string(), pa.large_string())]
        with pq.ParquetFile(path, read_dictionary=strings) as file:
            _check(columns, names)
            for batch in file.iter_batches(_PARQUET_ROWS):
                for row in range(batch.num_rows):
                    values = {name: batch.column(index)[row].as_py() for index, name in enumerate(names)}
                    yield from _document(values, at, columns, complain)
                    at += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as Parquet: {error}") from error


def _check(columns: Columns, names: Sequence[str]) -> None:
    counts = Counter(names)
    if wrong := [name for name in columns.text if counts[name] != 1]:
        found = f"{counts[wrong[0]]} columns" if counts[wrong[0]] else "no column"
        raise InputError(
            f"has {found} {wrong[0]!r}; its columns are {', '.join(map(repr, names[:12]))}. Name the text with --field"
        )


def _document(row: Mapping[str, Any], at: int, columns: Columns, complain: Complain) -> Iterator[Document]:
    for name in columns.text:
        if not isinstance(row.get(name), str):
            what = "is null" if name in row and row[name] is None else "is no string" if name in row else "is missing"
            complain(at, f"the field {name!r} {what}; the fields are {', '.join(map(repr, row))}")
            return
    text = "\n".join(row[name] for name in columns.text)
    if len(text) > LONGEST:
        complain(
            at, f"its text has {len(text):,} characters, and at most {LONGEST:,} are read; split it into several rows"
        )
        return
    title = row.get(columns.title)
    language = row.get("language", row.get("lang"))
    yield Document(
        text,
        title if isinstance(title, str) else "",
        at=at,
        metadata=_metadata(row, at, columns, complain),
        language=language if isinstance(language, str) else "",
    )


def _metadata(row: Mapping[str, Any], at: int, columns: Columns, complain: Complain) -> dict[str, Any]:
    """The other columns as JSON can write them; what is too long for every passage to hold is left out, and told."""
    kept: dict[str, Any] = {}
    left = _MOST_METADATA
    for name, value in row.items():
        if name in (*columns.text, columns.title):
            continue
        made = plain(value)
        size = len(made) if isinstance(made, str) else len(json.dumps(made)) if isinstance(made, dict | list) else 8
        if size > left:
            complain(
                at, f"the column {name!r} is left out of its metadata: with it the row has more than "
                f"{_MOST_METADATA:,} characters beside the text; the text is indexed"
            )  # fmt: skip
            continue
        kept[name] = made
        left -= size
    return kept


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
