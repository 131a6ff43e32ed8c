"""Sources → records: the text of each line or record, and its id.

Nothing is skipped: what cannot be used is an `InputError` that names the file, the line, what came and what to do.
A blank line of plain text is an empty text, so that line n of the file is always row n of the result.
"""

from collections.abc import Iterator
from typing import NamedTuple

from me5.bulk.source import Source
from me5.errors import InputError, described
from me5.files.lines import lines


class Record(NamedTuple):
    """One text. `at` is its line, from 1 (in Parquet its row, from 0); `id` without an id field its number, from 0."""

    at: int
    id: int | str
    text: str


def records(source: Source) -> Iterator[Record]:
    """Every record in order. Raises `InputError` at the first that cannot be used, or when there is none."""
    found = _lines(source) if source.format == "text" else _rows(source)
    if (first := next(found, None)) is None:
        raise InputError(f"{source.name} is empty: it holds no texts to embed")
    yield first
    yield from found


def check(source: Source) -> int | None:
    """Read everything once, so that a bad row is found before hours of work, and count the records.

    None for what can be read only once, such as standard input.
    """
    return sum(1 for _ in records(source)) if source.rereadable else None


def _lines(source: Source) -> Iterator[Record]:
    for at, line in lines(source.path):
        yield Record(at, at - 1, line)


def _rows(source: Source) -> Iterator[Record]:
    kind: type | None = None
    for number, record in enumerate(source.records):
        place, row = record
        # Several fields are joined as E5 joins title and text.
        texts = [record.text(name) for name in source.fields]
        text = texts[0] if len(texts) == 1 else " ".join(texts).strip()
        if source.id_field is None:
            yield Record(place.at, number, text)
            continue
        identity = _identity(source, place.at, row[source.id_field])
        if kind not in (None, type(identity)):
            raise source.error(
                place.at, f"the id in {source.id_field!r} is {described(identity)}, unlike those before it; make all "
                "of them strings or all of them integers"
            )  # fmt: skip
        kind = type(identity)
        yield Record(place.at, identity, text)


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
