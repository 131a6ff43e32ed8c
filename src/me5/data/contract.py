"""The one form of training data: a folder of documents, queries and the relations between them, in Parquet.

    documents.parquet   id, title, text, lang
    queries.parquet     id, text, instruction, lang
    relations.parquet   query_id, document_id, kind, label, teacher_score, teacher, source, licence
    dataset.json        counts, the sha256 and rows of every file, and the steps that made it

Each table may instead be a folder of shards (`documents/00000.parquet`, …), as one of over a million rows is. An id is
24 hex digits of blake2b over the text in Unicode's NFC form, a document's with its title and a query's with its
instruction in front, so equal content is one row wherever it comes from; of rows that differ in `lang` alone the first
stays. The relations of one query stand together, queries in the order in which they first appeared.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args
from unicodedata import is_normalized, normalize

import pyarrow as pa

from me5.errors import InputError, described

FORMAT = 1
ID_DIGITS = 24
# Of float32; neither infinity nor what is not a number is at most this.
_LARGEST = 3.4028234e38
Kind = Literal["positive", "negative", "ignore"]
KINDS: tuple[str, ...] = get_args(Kind)
Table = Literal["documents", "queries", "relations"]
TABLES: tuple[Table, ...] = get_args(Table)

_STRING = pa.string()
SCHEMAS: Mapping[Table, pa.Schema] = {
    "documents": pa.schema([("id", _STRING), ("title", _STRING), ("text", _STRING), ("lang", _STRING)]),
    "queries": pa.schema([("id", _STRING), ("text", _STRING), ("instruction", _STRING), ("lang", _STRING)]),
    "relations": pa.schema(
        [
            ("query_id", _STRING), ("document_id", _STRING), ("kind", _STRING), ("label", pa.float32()),
            ("teacher_score", pa.float32()), ("teacher", _STRING), ("source", _STRING), ("licence", _STRING),
        ]
    ),
}  # fmt: skip


class EmptyTextError(InputError):
    """A document or query without a text."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is to be found. `title` "" is none, `lang` "" unknown. Raises `InputError` where the text cannot be used."""

    text: str
    title: str = ""
    lang: str = ""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        _check_texts("document", text=self.text, title=self.title, lang=self.lang)
        object.__setattr__(self, "id", content_id(self.title, self.text))

    @property
    def whole(self) -> str:
        """What models read: the text with its title before it."""
        return f"{self.title} {self.text}".strip() if self.title else self.text


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. `instruction` is its task for instruct models, "" none. Raises `InputError` as `Document`."""

    text: str
    instruction: str = ""
    lang: str = ""
    id: str = field(init=False)

    def __post_init__(self) -> None:
        _check_texts("query", text=self.text, instruction=self.instruction, lang=self.lang)
        object.__setattr__(self, "id", content_id(self.instruction, self.text))


@dataclass(frozen=True, slots=True)
class Relation:
    """How a query and a document belong together, by their ids.

    `ignore` is a pair that training masks: neither right nor wrong. `label` is a judge's grade or similarity,
    `teacher_score` is the score by the model named in `teacher`. Raises `InputError` where a value cannot be used.
    """

    query_id: str
    document_id: str
    kind: Kind = "positive"
    label: float | None = None
    teacher_score: float | None = None
    teacher: str | None = None
    source: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind {self.kind!r}; expected {', '.join(KINDS)}")
        for name, value in (("label", self.label), ("teacher_score", self.teacher_score)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
                raise InputError(f"{name} {value!r}; expected a finite number or nothing")
        if not isinstance(self.source, str) or not isinstance(self.licence, str):
            raise InputError(f"source {self.source!r}, licence {self.licence!r}; expected strings")
        if self.teacher_score is not None and not self.teacher:
            raise InputError(f"teacher_score {self.teacher_score!r} without the teacher that gave it")


@dataclass(frozen=True, slots=True)
class Example:
    """A query, a document and how they belong together: what most readers yield. Fields as in `Relation`."""

    query: Query
    document: Document
    kind: Kind = "positive"
    label: float | None = None
    teacher_score: float | None = None
    teacher: str | None = None
    source: str = ""
    licence: str = ""

    def relation(self) -> Relation:
        """The relation by ids."""
        return Relation(
            self.query.id, self.document.id, self.kind, self.label, self.teacher_score, self.teacher, self.source,
            self.licence,
        )  # fmt: skip


def content_id(head: str, text: str) -> str:
    """The id of a text below its title or instruction, "" for none."""
    content = f"{head}\n{text}"
    if not is_normalized("NFC", content):
        content = normalize("NFC", content)
    return hashlib.blake2b(content.encode(), digest_size=ID_DIGITS // 2).hexdigest()


def _check_texts(what: str, *, text: object, lang: object, **heads: object) -> None:
    for name, value in (("text", text), ("lang", lang), *heads.items()):
        if not isinstance(value, str):
            raise InputError(f"the {name} of a {what} is {described(value)}, expected a string")
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise InputError(f"the {name} of a {what} has half a surrogate pair: {value[:60]!r}") from error
    if not str(text).strip():
        raise EmptyTextError(f"the text of a {what} is empty")
    for name, value in heads.items():
        # The id joins head and text with a line feed: with one in the head, two contents could share an id.
        if "\n" in str(value):
            raise InputError(f"the {name} of a {what} has a line feed: {str(value)[:60]!r}; join its lines")
