"""The parts of a retrieval collection as values: queries, passages and judgements, whatever the layout."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from me5.files.place import FileError, Place
from me5.files.records import Row, records
from me5.progress import Advance

_IDS = ("_id", "docid", "id", "query-id")


class Query(NamedTuple):
    """A query. `values` is its whole record, where it comes from one."""

    place: Place
    id: str
    text: str
    values: Row


class Passage(NamedTuple):
    """A document of the corpus, and its whole record."""

    place: Place
    id: str
    title: str
    text: str
    values: Row


class Judgement(NamedTuple):
    """How relevant a document is to a query, 0 for not at all."""

    place: Place
    query: str
    document: str
    grade: float


def queries(path: Path, advance: Advance | None = None) -> Iterator[Query]:
    """Every query of a file of records of id and text. Raises `FileError` naming the line."""
    for record in records(path, advance):
        yield Query(record.place, record.id(*_IDS), record.text("text"), record.values)


def passages(path: Path, advance: Advance | None = None) -> Iterator[Passage]:
    """Every document of a file of records: an id, a text and perhaps a title. Raises `FileError` naming the line.

    The text is `text` or, where there is none, `contents`; in Mr.TyDi that begins with the title and a blank line.
    """
    for record in records(path, advance):
        values = record.values
        title, key = values.get("title") or "", "text" if "text" in values or "contents" not in values else "contents"
        text = record.text(key)
        if key == "contents" and not title and "\n\n" in text:
            title, _, text = text.partition("\n\n")
        yield Passage(record.place, record.id(*_IDS), title, text, values)


def judgement(place: Place, line: str, fields: Sequence[str], layout: str) -> Judgement:
    """A judgement from the query, document and grade of a line. Raises `FileError` where they are not these."""
    try:
        query, document, grade = fields
        return Judgement(place, query, document, float(grade))
    except ValueError as error:
        raise FileError(place, f"expected {layout}, got {line[:60]!r}") from error
