"""What is in evaluation sets out of training data, with a list of what went and why.

A query or document goes where its letters equal those of an evaluation text, or where both share a long run (`runs`)
that is not common: what stands in more than ten training texts is boilerplate, as GPT-3's authors found (Brown et al.
2020, appendix C).
Evaluation sets are whatever `me5 eval` reads, or plain text with a text per line; of a retrieval set its queries and
the documents judged relevant count, on demand its whole corpus. Needs the extra `eval` too.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from me5.data.contract import Dataset, Document, Query, Relation
from me5.data.letters import key, letters
from me5.data.runs import Runs
from me5.data.writing import Item, sha256, write_dataset
from me5.errors import InputError
from me5.evaluation.readers import read as read_tasks
from me5.evaluation.task import Classification, Clustering, Reranking, Retrieval, Task
from me5.progress import Advance, track

LIST = "decontamination.jsonl"
# Letters that are compared at a time: windows take some 60 bytes a letter.
_LETTERS = 1 << 20
_SHOWN = 200


@dataclass(frozen=True)
class Removed:
    """What went: `table` and id, how it matched, and the evaluation text by file and place in it."""

    table: str
    id: str
    match: str
    file: str
    place: str
    shared: str


@dataclass
class Known:
    """The texts of evaluation sets: their equals by key, their runs, and where each stands."""

    equal: dict[bytes, int] = field(default_factory=dict)
    runs: Runs = field(default_factory=Runs)
    places: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, texts: Iterable[tuple[str, str, str]]) -> "Known":
        """(file, place, text) of every evaluation text. Raises `InputError` where there is none."""
        known = cls()
        waiting: list[str] = []
        for file, place, text in texts:
            if not text.strip():
                continue
            known.equal.setdefault(key(text), len(known.places))
            known.places.append((file, place))
            waiting.append(letters(text))
            if len(waiting) % 64 == 0 and sum(map(len, waiting)) > _LETTERS:
                known.runs.add(waiting)
                waiting = []
        known.runs.add(waiting)
        if not known.places:
            raise InputError("the evaluation sets hold no texts")
        return known

    def matches(self, table: str, values: Sequence[Document | Query], common: int) -> Iterator[Removed]:
        """Which of some rows match an evaluation text, and how; after all rows were counted."""
        texts = _whole(values)
        equal = [self._equal(value.text, text) for value, text in zip(values, texts, strict=True)]
        reduced = [letters(text) for text in texts]
        runs = {hit.row: hit for hit in self.runs.find(reduced, common)}
        for row, (value, place) in enumerate(zip(values, equal, strict=True)):
            if place is not None:
                yield Removed(table, value.id, "equal", *self.places[place], value.text[:_SHOWN])
            elif (hit := runs.get(row)) is not None:
                shared = reduced[row][hit.start : hit.end]
                yield Removed(table, value.id, "run", *self.places[hit.known], shared)

    def _equal(self, *texts: str) -> int | None:
        return next((place for text in texts if (place := self.equal.get(key(text))) is not None), None)


def decontaminate(
    dataset: Dataset,
    folder: Path,
    evaluation: Sequence[Path],
    *,
    whole_corpus: bool = False,
    common: int = 10,
    show_progress_bar: bool = False,
    overwrite: bool = False,
) -> Dataset:
    """Write a dataset without what evaluation sets hold, and in it `decontamination.jsonl`, a line per text that went.

    With a text all its relations go; a query that so loses its last positive goes too. A run that more than `common`
    training texts have does not count.
    """
    known = Known.of(text for path in evaluation for text in evaluation_texts(path, whole_corpus=whole_corpus))
    sizes = {table: dataset.counts[table] for table in ("documents", "queries", "relations")}
    total = 3 * (sizes["documents"] + sizes["queries"]) + 2 * sizes["relations"]
    with track(total, show=show_progress_bar, description="Comparing", unit="rows") as advance:
        for _, values in _blocks(dataset, advance):
            known.runs.count([letters(text) for text in _whole(values)])
        removed = {
            bytes.fromhex(one.id): one
            for table, values in _blocks(dataset, advance)
            for one in known.matches(table, values, common)
        }
        orphans, sources = _orphans(dataset, removed, advance)
        counts = Counter(f"{one.table}, {one.match}" for one in removed.values())
        step = {
            "step": "decontaminate",
            "settings": {"whole_corpus": whole_corpus, "common": common},
            "input": dataset.fingerprint,
            "evaluation": {str(path): _hash(path) for path in evaluation},
            "evaluation_texts": len(known.places),
            "removed": {**counts, "queries, without a positive left": len(orphans)},
        }
        lists = {LIST: (_told(one, sources.get(name, [])) for name, one in removed.items())}
        items = _left(dataset, removed.keys() | orphans, advance)
        return write_dataset(folder, items, step=step, before=dataset, lists=lists, overwrite=overwrite)


def evaluation_texts(path: Path, *, whole_corpus: bool = False) -> Iterator[tuple[str, str, str]]:
    """(file, place, text) of all that a model is judged on. Raises `InputError` naming file and line."""
    if path.suffix == ".txt":
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            yield str(path), f"line {number}", line
        return
    for task in read_tasks(path):
        for place, text in _texts(task, whole_corpus=whole_corpus):
            yield str(path), f"{task.subset}: {place}", text


def _texts(task: Task, *, whole_corpus: bool) -> Iterator[tuple[str, str]]:
    if isinstance(task, Retrieval | Reranking):
        yield from ((f"query {name}", text) for name, text in task.queries.items())
        wanted = {name for of_query in task.relevant.values() for name, grade in of_query.items() if grade > 0}
        for name, text in task.documents:
            if whole_corpus or name in wanted:
                yield f"document {name}", text
        return
    if isinstance(task, Classification | Clustering):
        # What a classifier learns from is no secret, what it is judged on is.
        columns = {"text": task.test if isinstance(task, Classification) else task.texts}
    else:
        columns = {"left": task.left, "right": task.right}
    for column, texts in columns.items():
        for number, text in enumerate(texts, 1):
            yield f"{column} {number}", text


def _blocks(dataset: Dataset, advance: Advance) -> Iterator[tuple[str, list[Document | Query]]]:
    """Documents, then queries, some at a time."""
    for table in ("documents", "queries"):
        block: list[Document | Query] = []
        size = 0
        for value in dataset.items(table):
            assert not isinstance(value, Relation)
            block.append(value)
            size += len(value.text)
            if size > _LETTERS:
                yield table, block
                advance(len(block), 0)
                block, size = [], 0
        yield table, block
        advance(len(block), 0)


def _whole(values: Sequence[Document | Query]) -> list[str]:
    """What is compared: a document with its title."""
    return [f"{value.title} {value.text}" if isinstance(value, Document) else value.text for value in values]


def _orphans(
    dataset: Dataset, removed: dict[bytes, Removed], advance: Advance
) -> tuple[set[bytes], dict[bytes, list[str]]]:
    """Queries that have a positive, but none that stays; and the sources of what is removed."""
    lost: set[bytes] = set()
    left: set[bytes] = set()
    sources: dict[bytes, list[str]] = {}
    for relation in dataset.items("relations"):
        assert isinstance(relation, Relation)
        advance(1, 0)
        query, document = bytes.fromhex(relation.query_id), bytes.fromhex(relation.document_id)
        for name in (query, document):
            if name in removed and relation.source not in sources.setdefault(name, []):
                sources[name].append(relation.source)
        if relation.kind == "positive" and query not in removed:
            (lost if document in removed else left).add(query)
    return lost - left, sources


def _left(dataset: Dataset, gone: set[bytes], advance: Advance) -> Iterator[Item]:
    for table in ("documents", "queries"):
        for value in dataset.items(table):
            assert not isinstance(value, Relation)
            advance(1, 0)
            if bytes.fromhex(value.id) not in gone:
                yield value
    for relation in dataset.items("relations"):
        assert isinstance(relation, Relation)
        advance(1, 0)
        if not {bytes.fromhex(relation.query_id), bytes.fromhex(relation.document_id)} & gone:
            yield relation


def _told(removed: Removed, sources: Sequence[str]) -> str:
    return json.dumps({**vars(removed), "sources": list(sources)}, ensure_ascii=False)


def _hash(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path.parent).as_posix(): sha256(file) for file in files}
