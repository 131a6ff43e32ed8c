"""Tables of named columns: query, positive, and optionally negatives, languages, source, licence and task.

`negatives` is a list of texts (of CSV: a JSON list), `negative` one text; `positive_title` goes with the positive;
`task` or `instruction` is the query's instruction: a sentence, or a task's name. Other columns are reported, unread.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from me5.data.contract import Example
from me5.data.readers.reading import Reading, listed
from me5.data.writing import Item
from me5.errors import InputError
from me5.files.records import Row

NAME = "columns"
_KNOWN = {
    "query", "positive", "positive_title", "negatives", "negative", "query_lang", "positive_lang", "source", "licence",
    "license", "task", "instruction",
}  # fmt: skip


def recognises(first: Mapping[str, Any]) -> bool:
    """Whether the first record looks like this format."""
    return {"query", "positive"} <= set(first)


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some files."""
    for path in paths:
        yield from reading.convert(reading.records(path), partial(_examples, reading, reading.source_of(path)))


def _examples(reading: Reading, source: str, row: Row) -> Iterator[Example]:
    for name in row.keys() - _KNOWN:
        reading.unread.setdefault(name)
    query = reading.query(
        row.get("query"), instruction=row.get("task") or row.get("instruction"), lang=row.get("query_lang")
    )
    lang, licence = row.get("positive_lang"), row.get("licence") or row.get("license")
    source = reading.options.source or row.get("source") or source
    positive = reading.document(row.get("positive"), title=row.get("positive_title"), lang=lang)
    yield from reading.examples(query, [positive], source=source, licence=licence)
    yield from reading.examples(query, _negatives(row), "negative", source=source, lang=lang, licence=licence)


def _negatives(row: Row) -> list[Any]:
    if row.get("negative") is not None:
        return [row["negative"]]
    value = row.get("negatives")
    if isinstance(value, str) and value.startswith("["):
        try:
            row = {"negatives": json.loads(value)}
        except ValueError as error:
            raise InputError(f"expected a JSON list 'negatives', got {value[:60]!r}") from error
    return [] if value == "" else listed(row, "negatives", needed=False)
