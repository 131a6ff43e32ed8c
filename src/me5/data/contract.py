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
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from unicodedata import is_normalized, normalize

import pyarrow as pa
import pyarrow.parquet as pq

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
    `teacher_score` what the model named in `teacher` said. Raises `InputError` where a value cannot be used.
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


_VALUES: Mapping[Table, type[Document] | type[Query] | type[Relation]] = {
    "documents": Document,
    "queries": Query,
    "relations": Relation,
}


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


class Dataset:
    """A dataset folder, read in batches. `open` verifies the manifest and the schemas; `checking.check` every row."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any], files: Mapping[Table, Sequence[Path]]) -> None:
        self.folder = folder
        self.manifest = manifest
        self.files = files

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """Raises `InputError` where the folder is no dataset, or not the one that its manifest tells of."""
        manifest = _manifest(folder)
        listed: Mapping[str, Mapping[str, Any]] = manifest["files"]
        files = {table: _files(folder, table) for table in TABLES}
        there = {path.relative_to(folder).as_posix() for paths in files.values() for path in paths}
        if there != set(listed):
            odd = ", ".join(sorted(there ^ set(listed)))
            raise InputError(f"{folder} and its dataset.json differ in the files {odd}; make the dataset again")
        for table, paths in files.items():
            for path in paths:
                _verify(path, SCHEMAS[table], int(listed[path.relative_to(folder).as_posix()]["rows"]))
        return cls(folder, manifest, files)

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows by table, and relations by kind."""
        counts: Mapping[str, int] = self.manifest["counts"]
        return counts

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """What was done to make it, in order."""
        steps: Sequence[Mapping[str, Any]] = self.manifest["steps"]
        return steps

    @property
    def fingerprint(self) -> str:
        """One hash over the files' hashes: 64 hex digits; equal for equal data."""
        hashes = {name: told["sha256"] for name, told in self.manifest["files"].items()}
        return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()

    def batches(self, table: Table, columns: Sequence[str] | None = None, rows: int = 8192) -> Iterator[pa.RecordBatch]:
        """A table in order, at most `rows` rows at a time, some of its columns."""
        for path in self.files[table]:
            with explained(path), pq.ParquetFile(path) as file:
                yield from file.iter_batches(rows, columns=None if columns is None else list(columns))

    def items(self, table: Table) -> Iterator[Document | Query | Relation]:
        """A table as values, one at a time. Raises `InputError` naming file and row where one breaks the rules."""
        make = _VALUES[table]
        for path in self.files[table]:
            number = 0
            with explained(path), pq.ParquetFile(path) as file:
                for batch in file.iter_batches(8192):
                    for row in batch.to_pylist():
                        number += 1
                        name = row.pop("id", None)
                        try:
                            value = make(**row)
                            if name is not None and name != value.id:  # type: ignore[union-attr]
                                raise InputError(f"the id {name!r} is not that of its content, {value.id!r}")  # type: ignore[union-attr]
                        except InputError as error:
                            raise InputError(f"{path}, row {number}: {error}") from error
                        yield value

    def documents(self, columns: Sequence[str] | None = None, rows: int = 8192) -> Iterator[pa.RecordBatch]:
        """Batches of documents."""
        return self.batches("documents", columns, rows)

    def queries(self, columns: Sequence[str] | None = None, rows: int = 8192) -> Iterator[pa.RecordBatch]:
        """Batches of queries."""
        return self.batches("queries", columns, rows)

    def relations(self, columns: Sequence[str] | None = None, rows: int = 8192) -> Iterator[pa.RecordBatch]:
        """Batches of relations; those of one query stand together, and may go on in the next batch."""
        return self.batches("relations", columns, rows)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a broken file into an `InputError` that names it."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / "dataset.json"
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no dataset: it has no dataset.json; make one with `me5 data read`") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(manifest, dict) or not {"format", "counts", "files", "steps"} <= set(manifest):
        raise InputError(f"{path} is no manifest of a dataset: expected format, counts, files and steps")
    if manifest["format"] != FORMAT:
        raise InputError(f"{path} has format {manifest['format']!r}; this version of me5 reads format {FORMAT}")
    return manifest


def _files(folder: Path, table: Table) -> list[Path]:
    one, shards = folder / f"{table}.parquet", folder / table
    if one.exists() and shards.is_dir():
        raise InputError(f"{folder} has both {one.name} and a folder {table}; remove one of them")
    return [one] if one.exists() else sorted(shards.glob("*.parquet"))


def _verify(path: Path, schema: pa.Schema, rows: int) -> None:
    with explained(path), pq.ParquetFile(path) as file:
        found, counted = file.schema_arrow, file.metadata.num_rows
    if not found.remove_metadata().equals(schema):
        raise InputError(f"{path} has the columns {_columns(found)}; expected {_columns(schema)}")
    if counted != rows:
        raise InputError(f"{path} has {counted} rows, dataset.json says {rows}; make the dataset again")


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{column.name}: {column.type}" for column in schema)
