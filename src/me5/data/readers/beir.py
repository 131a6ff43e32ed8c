"""A folder in BEIR's form: corpus.jsonl, queries.jsonl (also .gz) and qrels/SPLIT.tsv.

Only queries with a judgement in the split are read; the whole corpus becomes documents. A judgement above 0 is a
positive, 0 or less a negative: somebody looked, and found it not relevant. Where a query is itself a document (ArguAna,
Quora: same id, same text), the pair is to be ignored, as BEIR's own evaluation does. Judgements whose query or document
is not there (published ArguAna has one) are left out and counted.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from me5.data.contract import Kind, Query, content_id
from me5.data.readers.reading import Corpus, Reading, name_of, relation
from me5.data.writing import Item
from me5.errors import InputError

NAME = "beir"
Judgement = tuple[str, str, float]


def recognises(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    return (folder / "qrels").is_dir() and _packed(folder, "corpus") is not None


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some folders."""
    for folder in paths:
        judged = list(_judgements(folder, reading))
        wanted = {query for _, (query, _, _) in judged}
        found = (_packed(folder, "queries"), _packed(folder, "corpus"))
        if None in found:
            raise InputError(f"{folder} needs corpus.jsonl and queries.jsonl beside qrels/")
        queries, corpus = (path for path in found if path is not None)
        yield from assemble(reading, reading.source_of(folder), judged, (_queries(reading, queries, wanted), [corpus]))


def assemble(
    reading: Reading,
    source: str,
    judged: Sequence[tuple[str, Judgement]],
    given: tuple[Iterator[tuple[str, tuple[str, Query]]], Sequence[Path]],
) -> Iterator[Item]:
    """Judgements with their places, queries with place and id, and files of a corpus -> items. Shared with `trec`."""
    asked, corpus = Corpus("query", reading), Corpus("document", reading)
    for place, (name, query) in given[0]:
        try:
            yield asked.add(name, query)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        corpus.watched[name] = content_id("", query.text)
    yield from corpus.documents(given[1])
    same: list[tuple[str, Judgement]] = [("", (name, name, 0)) for name in corpus.same]
    yield from reading.convert(same, partial(_relation, reading, source, asked, corpus, kind="ignore"))
    known = [(place, told) for place, told in judged if told[0] in asked.ids and told[1] in corpus.ids]
    reading.counts["unknown"] += len(judged) - len(known)
    # Where none leads anywhere, the files do not belong together: the first says so.
    yield from reading.convert(known or judged, partial(_relation, reading, source, asked, corpus, kind=None))


def _relation(
    reading: Reading, source: str, asked: Corpus, corpus: Corpus, judgement: Judgement, *, kind: Kind | None
) -> Sequence[Item]:
    query, document, grade = judgement
    told: Kind = kind or ("positive" if grade > 0 else "negative")
    return relation(
        reading, asked.id_of(query), corpus.id_of(document), kind=told, source=source, label=None if kind else grade
    )


def _queries(reading: Reading, path: Path, wanted: set[str]) -> Iterator[tuple[str, tuple[str, Query]]]:
    for place, row in reading.records(path):
        try:
            name = name_of(row, "_id", "id")
            if name in wanted:
                yield place, (name, reading.query(row.get("text"), instruction=row.get("instruction")))
        except InputError as error:
            raise InputError(f"{place}: {error}") from error


def _judgements(folder: Path, reading: Reading) -> Iterator[tuple[str, Judgement]]:
    path = folder / "qrels" / f"{reading.options.split}.tsv"
    if not path.exists():
        there = ", ".join(sorted(found.stem for found in (folder / "qrels").glob("*.tsv"))) or "none"
        raise InputError(f"{path} is missing; name a split with --split, there are: {there}")
    for number, line in reading.lines(path):
        fields = line.split("\t")
        if not line or (number == 1 and fields[0] == "query-id"):
            continue
        try:
            query, document, grade = fields
            yield f"{path}, line {number}", (query, document, float(grade))
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: expected query-id TAB corpus-id TAB number, got {line[:60]!r}"
            ) from error


def _packed(folder: Path, name: str) -> Path | None:
    return next((path for end in ("", ".gz", ".zst") if (path := folder / f"{name}.jsonl{end}").exists()), None)
