"""Decontamination: removes from training data what evaluation sets hold, and lists what was removed and why.

A query or document is removed where its letters equal those of an evaluation text, or where both share a long run
(`runs`) that is not common: what more than ten training texts share is boilerplate, as GPT-3's authors found (Brown
et al. 2020, appendix C).
Evaluation sets are whatever `me5 eval` reads, or plain text with a text per line; of a retrieval set its queries and
the documents judged relevant count, on demand its whole corpus. Needs the extra `eval` too.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np

from me5.data.contract import Document, Query
from me5.data.dataset import TEXT_TABLES, Dataset, Mask, TextTable
from me5.data.letters import letters, text_key
from me5.data.relations import POSITIVE, Int64, Relations, number_relations
from me5.data.runs import Runs
from me5.data.writing import sha256, write_dataset
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
    """A removed text: `table` and id, how it matched, and the evaluation text by file and place in it."""

    table: TextTable
    id: str
    match: str
    file: str
    place: str
    shared: str


@dataclass
class Known:
    """The texts of evaluation sets: their equals by key, their runs, and where each stands."""

    equal: dict[int, int] = field(default_factory=dict)
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
            known.equal.setdefault(text_key(text), len(known.places))
            known.places.append((file, place))
            waiting.append(letters(text))
            if len(waiting) % 64 == 0 and sum(map(len, waiting)) > _LETTERS:
                known.runs.add(waiting)
                waiting = []
        known.runs.add(waiting)
        if not known.places:
            raise InputError("there are no texts in the evaluation sets")
        return known

    def matches(
        self, table: TextTable, values: Sequence[Document | Query], common: int
    ) -> Iterator[tuple[int, Removed]]:
        """The places of the values that match an evaluation text, and how; after all values were counted."""
        texts = _whole(values)
        equal = [self._equal(value.text, text) for value, text in zip(values, texts, strict=True)]
        reduced = [letters(text) for text in texts]
        runs = {hit.row: hit for hit in self.runs.find(reduced, common)}
        for row, (value, place) in enumerate(zip(values, equal, strict=True)):
            if place is not None:
                yield row, Removed(table, value.id, "equal", *self.places[place], value.text[:_SHOWN])
            elif (hit := runs.get(row)) is not None:
                shared = reduced[row][hit.start : hit.end]
                yield row, Removed(table, value.id, "run", *self.places[hit.known], shared)

    def _equal(self, *texts: str) -> int | None:
        return next((place for text in texts if (place := self.equal.get(text_key(text))) is not None), None)


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
    """Write a dataset without what evaluation sets hold, and in it `decontamination.jsonl`, a line per removed text.

    All relations of a text are removed with it, and so is a query that loses its last positive. A run that more than
    `common` training texts have does not count.
    """
    known = Known.of(text for path in evaluation for text in evaluation_texts(path, whole_corpus=whole_corpus))
    sizes = {table: dataset.counts[table] for table in ("documents", "queries", "relations")}
    total = 3 * (sizes["documents"] + sizes["queries"]) + sizes["relations"]
    with track(total, show=show_progress_bar, description="Comparing", unit="rows") as advance:
        for table in TEXT_TABLES:
            for values in _blocks(dataset, table, advance):
                known.runs.count([letters(text) for text in _whole(values)])
        removed = {table: _removed(dataset, table, known, common, advance) for table in TEXT_TABLES}
        relations = number_relations(dataset)
        documents, queries = (_without(sizes[table], removed[table]) for table in TEXT_TABLES)
        # Sources by removed text, before queries are removed for having no positive left.
        sources = _sources(relations, removed)
        orphans = _orphans(relations, documents, len(queries)) & queries
        queries &= ~orphans
        kept = queries[relations.queries] & documents[relations.documents]
        counts = Counter(f"{one.table}, {one.match}" for of_table in removed.values() for one in of_table.values())
        step = {
            "step": "decontaminate",
            "settings": {"whole_corpus": whole_corpus, "common": common},
            "input": dataset.fingerprint,
            "evaluation": {str(path): _hash(path) for path in evaluation},
            "evaluation_texts": len(known.places),
            "removed": {**counts, "queries, without a positive left": int(orphans.sum())},
        }
        lines = (
            json.dumps({**vars(one), "sources": sources.get((table, row), [])}, ensure_ascii=False)
            for table, of_table in removed.items()
            for row, one in of_table.items()
        )
        items = dataset.items(
            documents=documents,
            queries=queries,
            relations=compress(dataset.relations(advance=advance), kept),
            advance=advance,
        )
        return write_dataset(folder, items, step=step, before=dataset, lists={LIST: lines}, overwrite=overwrite)


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
        # What a classifier learns from is not a secret, what it is judged on is.
        columns = {"text": task.test if isinstance(task, Classification) else task.texts}
    else:
        columns = {"left": task.left, "right": task.right}
    for column, texts in columns.items():
        for number, text in enumerate(texts, 1):
            yield f"{column} {number}", text


def _blocks(dataset: Dataset, table: TextTable, advance: Advance) -> Iterator[list[Document | Query]]:
    """The values of a table, some at a time."""
    block: list[Document | Query] = []
    size = 0
    for value in dataset.texts(table, advance=advance):
        block.append(value)
        size += len(value.text)
        if size > _LETTERS:
            yield block
            block, size = [], 0
    yield block


def _removed(dataset: Dataset, table: TextTable, known: Known, common: int, advance: Advance) -> dict[int, Removed]:
    """What of a table matches an evaluation text, by row."""
    removed: dict[int, Removed] = {}
    first = 0
    for values in _blocks(dataset, table, advance):
        removed |= {first + place: one for place, one in known.matches(table, values, common)}
        first += len(values)
    return removed


def _whole(values: Sequence[Document | Query]) -> list[str]:
    """What is compared: a document with its title."""
    return [value.whole if isinstance(value, Document) else value.text for value in values]


def _without(rows: int, removed: Iterable[int]) -> Mask:
    kept = np.ones(rows, bool)
    kept[list(removed)] = False
    return kept


def _orphans(relations: Relations, documents: Mask, queries: int) -> Mask:
    """Whether each query has a positive, but none that stays."""
    positive = relations.kinds == POSITIVE
    had, has = np.zeros(queries, bool), np.zeros(queries, bool)
    had[relations.queries[positive]] = True
    has[relations.queries[positive & documents[relations.documents]]] = True
    return had & ~has


def _sources(
    relations: Relations, removed: Mapping[TextTable, Mapping[int, Removed]]
) -> dict[tuple[TextTable, int], list[str]]:
    """The sources of the relations of each removed text, in order."""
    sources: dict[tuple[TextTable, int], list[str]] = {}
    of_tables: Mapping[TextTable, Int64] = {"documents": relations.documents, "queries": relations.queries}
    for table, rows in of_tables.items():
        for place in np.flatnonzero(np.isin(rows, list(removed[table]))).tolist():
            name = relations.source_names[relations.sources[place]]
            if name not in (of_text := sources.setdefault((table, int(rows[place])), [])):
                of_text.append(name)
    return sources


def _hash(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path.parent).as_posix(): sha256(file) for file in files}
