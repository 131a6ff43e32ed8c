"""Documents without queries, to be mined from: records of text (or contents), perhaps with title and lang."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from me5.data.readers.reading import Reading
from me5.data.writing import Item
from me5.files.records import Row

NAME = "documents"


def recognises(first: Mapping[str, Any]) -> bool:
    """Whether the first record looks like this format."""
    return ("text" in first or "contents" in first) and not {"query", "query_id", "query_text"} & set(first)


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The documents of some files."""

    def convert(row: Row) -> list[Item]:
        text = row.get("text", row.get("contents"))
        return [reading.document(text, title=row.get("title"), lang=row.get("lang"))]

    for path in paths:
        yield from reading.convert(reading.records(path), convert)
