"""What all readers share: options, counts, and the conversion of rows to items, whose errors name the row."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import inf, isnan
from pathlib import Path
from typing import Any

from me5.data.contract import Document, EmptyTextError, Example, Kind, Query, Relation, content_id
from me5.data.writing import Item
from me5.errors import InputError
from me5.files.compression import bare_name
from me5.files.lines import lines
from me5.files.records import Record, Row, records
from me5.files.retrieval import Passage, passages
from me5.progress import Advance
from me5.prompts import task_sentence

# It is called for every row.
_sentence = lru_cache(maxsize=4096)(task_sentence)


@dataclass(frozen=True)
class Options:
    """Defaults for what rows do not say themselves, and how to read them.

    `source` None is the name of each file or folder. `positive_from` is the label from which a pair is positive.
    `in_batch` also reads rows that exclude in-batch negatives. `skip_empty` skips empty texts, and counts them.
    Raises `InputError` where `positive_from` is not a number.
    """

    source: str | None = None
    licence: str = ""
    query_lang: str = ""
    document_lang: str = ""
    instruction: str = ""
    teacher: str | None = None
    split: str = "train"
    columns: tuple[str, ...] = ()
    positive_from: float | None = None
    in_batch: bool = False
    skip_empty: bool = False

    def __post_init__(self) -> None:
        if self.positive_from is not None and isnan(self.positive_from):
            raise InputError("positive_from must be a number, got nan, which no label reaches")


@dataclass
class Reading:
    """One run of the readers: its options, and what it has read and counted."""

    options: Options = Options()
    advance: Advance = lambda _done, _tokens: None
    counts: Counter[str] = field(default_factory=Counter)
    files: list[Path] = field(default_factory=list)
    unread: dict[str, None] = field(default_factory=dict)

    def note(self, path: Path) -> Path:
        """Remember a file that is read."""
        self.files.append(path)
        return path

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """The lines of a file, by number."""
        return lines(self.note(path), advance=self.advance)

    def records(self, path: Path) -> Iterator[Record]:
        """The records of a file with their places."""
        return records(self.note(path), self.advance)

    def convert(self, rows: Iterable[tuple[object, Any]], convert: Callable[[Any], Iterable[Item]]) -> Iterator[Item]:
        """The items of all rows. Raises `InputError` naming the row."""
        for place, row in rows:
            try:
                items = list(convert(row))
            except EmptyTextError as error:
                if not self.options.skip_empty:
                    raise InputError(f"{place}: {error}; repair it, or skip empty texts with --skip-empty") from error
                self.counts["empty"] += 1
                continue
            except InputError as error:
                raise InputError(f"{place}: {error}") from error
            yield from items

    def source_of(self, path: Path) -> str:
        """What a file's or folder's examples are grouped by."""
        return self.options.source or bare_name(path).split(".")[0]

    # The fields of a row may hold anything: Query and Document check them.
    def query(self, text: Any, *, instruction: Any = None, lang: Any = None) -> Query:
        """A query, with what the options say where the row says nothing. A task's name stands for its sentence."""
        instruction = one_line(instruction or self.options.instruction)
        if isinstance(instruction, str) and instruction.strip():
            instruction = _sentence(instruction)
        return Query(text, instruction, lang or self.options.query_lang)

    def document(self, text: Any, *, title: Any = None, lang: Any = None) -> Document:
        """A document. Where it has a title and no text, the title is its text."""
        if isinstance(text, str) and not text.strip() and isinstance(title, str):
            text, title = title, None
        return Document(text, one_line(title or ""), lang or self.options.document_lang)

    def examples(
        self,
        query: Query,
        documents: Sequence[object],
        kind: Kind = "positive",
        *,
        source: str,
        scores: object = None,
        lang: Any = None,
        licence: Any = None,
    ) -> Iterator[Example]:
        """A query with documents of one kind: texts or `Document`s. `scores` are a teacher's, as many as documents."""
        each = numbers(scores, len(documents)) if scores else [None] * len(documents)
        if scores and self.options.teacher is None:
            raise InputError("the documents have scores; name the model that gave them with --teacher")
        for document, score in zip(documents, each, strict=True):
            try:
                made = document if isinstance(document, Document) else self.document(document, lang=lang)
            except EmptyTextError:
                if not self.options.skip_empty:
                    raise
                self.counts["empty"] += 1
                continue
            yield Example(
                query, made, kind, None, score, None if score is None else self.options.teacher, source,
                licence or self.options.licence,
            )  # fmt: skip


@dataclass
class Corpus:
    """Documents, or queries, that relations name by ids of their own: which content is behind each."""

    what: str
    reading: Reading
    ids: dict[str, str | None] = field(default_factory=dict)
    # Ids whose document may have a certain text, by that text's id; and those of them that have it.
    watched: dict[str, str] = field(default_factory=dict)
    same: list[str] = field(default_factory=list)

    def add(self, name: str, value: Document | Query) -> Document | Query:
        """Remember an id. Raises `InputError` where it stood for something else."""
        if self.ids.setdefault(name, value.id) != value.id:
            raise InputError(f"the id {name!r} stands there a second time, for another text")
        return value

    def documents(self, paths: Iterable[Path]) -> Iterator[Item]:
        """All documents of some files."""

        def convert(passage: Passage) -> list[Item]:
            self.ids.setdefault(passage.id, None)  # an empty one that is left out: known, and nowhere
            made = self.reading.document(passage.text, title=passage.title, lang=passage.values.get("lang"))
            if self.ids[passage.id] is None:
                self.ids[passage.id] = made.id
            if self.watched.get(passage.id) == content_id("", made.text):
                self.same.append(passage.id)
            return [self.add(passage.id, made)]

        for path in paths:
            found = passages(self.reading.note(path), self.reading.advance)
            yield from self.reading.convert(((passage.place, passage) for passage in found), convert)

    def and_rows(
        self,
        paths: Sequence[Path],
        recognises: Callable[[Row], bool],
        items: "Callable[[Reading, Corpus, str, Row], Iterable[Item]]",
    ) -> Iterator[Item]:
        """All documents of the files whose first record is not recognised, then the items of the rows of the others."""
        trained = {path: recognises(first(path)) for path in paths}
        yield from self.documents(path for path, is_trained in trained.items() if not is_trained)
        for path, is_trained in trained.items():
            if is_trained:
                convert = partial(items, self.reading, self, self.reading.source_of(path))
                yield from self.reading.convert(self.reading.records(path), convert)

    def id_of(self, name: object) -> str | None:
        """The content's id; None where its text was empty and left out. Raises `InputError` where there is none."""
        if str(name) not in self.ids:
            raise InputError(f"the {self.what} {str(name)!r} is not among the {len(self.ids):,} that were read")
        return self.ids[str(name)]


def first(path: Path) -> Row:
    """The first record of a file, by which its format is recognised. Raises `InputError` where there is none."""
    for record in records(path):
        return record.values
    raise InputError(f"{path} is empty")


def relation(
    reading: Reading,
    query: str | None,
    document: str | None,
    *,
    kind: Kind,
    source: str,
    label: float | None = None,
    score: float | None = None,
) -> list[Relation]:
    """A relation by ids, or none where one of both was empty and left out."""
    if query is None or document is None:
        reading.counts["empty"] += 1
        return []
    options = reading.options
    if score is not None and options.teacher is None:
        raise InputError("the documents have scores; name the model that gave them with --teacher")
    teacher = None if score is None else options.teacher
    return [Relation(query, document, kind, label, score, teacher, source, options.licence)]


def listed(row: Mapping[str, Any], key: str, *, needed: bool = True) -> list[Any]:
    """A field that must be a list; where not needed, it may be missing. A lone string is a common mistake."""
    value = row.get(key)
    if value is None and not needed:
        return []
    if not isinstance(value, list):
        hint = f'; write ["{value:.20}…"]' if isinstance(value, str) else ""
        raise InputError(f"expected a list {key!r}, got {type(value).__name__} ({value!r:.60}){hint}")
    return value


def numbers(value: object, count: int) -> list[float]:
    """Scores, one for each of `count` documents."""
    if not isinstance(value, list) or len(value) != count:
        got = f"{len(value)}" if isinstance(value, list) else repr(value)
        raise InputError(f"expected {count} scores, as many as documents, got {got}")
    if wrong := [
        one for one in value if isinstance(one, bool) or not isinstance(one, int | float) or not abs(one) < inf
    ]:
        raise InputError(f"expected numbers as scores, got {wrong[0]!r}")
    return value


def one_line(text: Any) -> Any:
    """A title or instruction without line breaks; what is not a string is left to the contract's check."""
    return " ".join(text.split()) if isinstance(text, str) and "\n" in text else text
