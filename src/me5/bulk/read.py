"""Sources → records: the text of each line or record, and its id.

Nothing is skipped: what cannot be used is an error that names the file, the line, what came and what to do.
A blank line of plain text is an empty text, so that line n of the file is always row n of the result.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from me5.bulk.source import Source
from me5.errors import InputError, described
from me5.files.lines import BEGINNING, Start, lines
from me5.files.place import FileError, Place
from me5.files.records import Record as Row

_NOTHING: Mapping[str, Any] = {}


class Record(NamedTuple):
    """One text. `at` is its line, from 1 (in Parquet its row, from 0); `id` without an id field its number, from 0.

    `values` are those of the whole record; in plain text there are none.
    """

    at: int
    number: int
    id: int | str
    text: str
    values: Mapping[str, Any] = _NOTHING


class Unusable(NamedTuple):
    """A record that holds no text that can be used, or no id, and why."""

    number: int
    error: InputError


def entries(
    source: Source, start: Start = BEGINNING, kind: type | None = None
) -> Iterator[Record | Unusable]:  # fmt: skip
    """Every record in order, those that cannot be used too, from `start` on.

    Ids are of one `kind`, str or int; None: that of the first. Raises `FileError` where the file cannot be read on.
    """
    # Without bytes to begin at, all but Parquet is read and passed over.
    skips = start.record if source.format != "parquet" and not start.byte else 0
    if skips:
        start = BEGINNING
    return islice(_lines(source, start) if source.format == "text" else _rows(source, start, kind), skips, None)


def records(source: Source) -> Iterator[Record]:
    """Every record in order. Raises `InputError` at the first that cannot be used, or when there is none."""
    entry = None
    for entry in entries(source):
        if isinstance(entry, Unusable):
            raise entry.error
        yield entry
    if entry is None:
        raise InputError(f"{source.name} is empty: it holds no texts to embed")


def check(source: Source) -> int | None:
    """Read everything once, so that a bad row is found before hours of work, and count the records.

    None for what can be read only once, such as standard input.
    """
    return sum(1 for _ in records(source)) if source.rereadable else None


def _lines(source: Source, start: Start) -> Iterator[Record | Unusable]:
    refused: list[Unusable] = []

    def refuse(place: Place, reason: str) -> None:
        refused.append(Unusable(place.at - 1, FileError(place, reason)))

    for at, line in lines(source.path, refuse=refuse, start=start):
        yield from _taken(refused)
        yield Record(at, at - 1, at - 1, line)
    yield from _taken(refused)


def _rows(source: Source, start: Start, kind: type | None) -> Iterator[Record | Unusable]:
    refused: list[Unusable] = []
    number = start.record

    def refuse(place: Place, reason: str) -> None:
        nonlocal number
        refused.append(Unusable(number, FileError(place, reason)))
        number += 1

    for row in source.records(refuse, start):
        yield from _taken(refused)
        record: Record | Unusable
        try:
            record = _record(source, row, number, kind)
            if source.id_field is not None:
                kind = type(record.id)
        except InputError as error:
            record = Unusable(number, error)
        yield record
        number += 1
    yield from _taken(refused)


def _taken(refused: list[Unusable]) -> list[Unusable]:
    taken = refused.copy()
    refused.clear()
    return taken


def _record(source: Source, row: Row, number: int, kind: type | None) -> Record:
    """A row's text and id, which must be of the same kind as those before it."""
    # Several fields are joined as E5 joins title and text.
    texts = [row.text(name) for name in source.fields]
    text = texts[0] if len(texts) == 1 else " ".join(texts).strip()
    at = row.place.at
    if source.id_field is None:
        return Record(at, number, number, text, row.values)
    identity = _identity(source, at, row.values[source.id_field])
    if kind not in (None, type(identity)):
        raise source.error(
            at, f"the id in {source.id_field!r} is {described(identity)}, unlike the others; make all of them "
            "strings or all of them integers"
        )  # fmt: skip
    return Record(at, number, identity, text, row.values)


def _identity(source: Source, at: int, value: object) -> int | str:
    if isinstance(value, str) and _is_unicode(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63:
        return value
    raise source.error(
        at, f"the id in {source.id_field!r} is {described(value)}, expected a string of valid Unicode or an integer of "
        "64 bits; fix it, or leave --id-field out to number the texts"
    )  # fmt: skip


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
