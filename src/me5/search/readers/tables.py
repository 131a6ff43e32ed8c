"""JSONL, CSV, TSV and Parquet: every row is a document; columns that are neither text nor title are its metadata."""

import contextlib
import datetime
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from me5.errors import InputError
from me5.files import parquet
from me5.files.compression import opened
from me5.files.place import FileError
from me5.files.records import Records, format_of, listed, no_string
from me5.search.documents import TABLES, Complain, Document
from me5.search.readers import mail

# Characters of a row's metadata as JSON: every passage of the row holds them, and a batch is 4,096 passages.
_MOST_METADATA = 1 << 16


@dataclass(frozen=True)
class Columns:
    """The names of the columns that hold text, joined in this order by line breaks, and the title.

    A missing title column is not an error, unless it is called otherwise; rows of JSON may lack it in any case. Columns
    called `language` or `lang` state the language by its code.
    """

    text: tuple[str, ...] = ("text",)
    title: str = "title"


def read(path: Path, columns: Columns, complain: Complain) -> Iterator[Document]:
    """A document per row. Those that cannot be used go to `complain`; a damaged file is an `InputError`."""
    wanted = dict.fromkeys(columns.text, "--field")
    if columns.title != Columns.title and format_of(path) != "jsonl":
        wanted[columns.title] = "--title-field"
    rows = Records(path, wanted=wanted, refuse=lambda place, reason: complain(place.at, reason))
    try:
        for place, row in rows:
            yield from document_of(row, place.at, columns, complain)
    except FileError as error:
        raise InputError(error.reason) from error


def document_of(row: Mapping[str, Any], at: int, columns: Columns, complain: Complain) -> Iterator[Document]:
    """A row as a document; one that cannot be used goes to `complain`."""
    for name in columns.text:
        if not isinstance(row[name], str):
            complain(at, f"{no_string(name, row[name])}; the fields are {listed(list(row))}")
            return
    text = "\n".join(row[name] for name in columns.text)
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
    """The other columns as JSON can write them; what is too long for every passage to hold is left out and reported."""
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
        with contextlib.suppress(InputError):
            return parquet.count(Path(path))
    if kind == "email":
        return mail.count(Path(path))
    if kind in TABLES:
        with contextlib.suppress(InputError), opened(Path(path)) as file:
            return sum(chunk.count(b"\n") for chunk in iter(lambda: file.stream.read(1 << 20), b""))
    return 1
