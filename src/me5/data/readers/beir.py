"""BEIR's collections, as training data.

Only queries with a judgement in the split are read; the whole corpus becomes documents. A judgement above 0 is a
positive, 0 or less a negative: somebody looked, and found it not relevant. Where a query is itself a document (ArguAna,
Quora: same id, same text), the pair is to be ignored, as BEIR's own evaluation does. Judgements whose query or document
is not there (published ArguAna has one) are left out and counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from me5.data.contract import Kind, content_id
from me5.data.readers.reading import Corpus, Reading, relation
from me5.data.writing import Item
from me5.errors import InputError
from me5.files import beir, retrieval
from me5.files.retrieval import Judgement, Query

NAME = "beir"


def recognises(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    return (folder / "qrels").is_dir() and beir.is_one(folder)


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some folders."""
    for folder in paths:
        path = beir.qrels(folder, reading.options.split)
        if not path.exists():
            there = ", ".join(beir.splits(folder)) or "none"
            raise InputError(f"{path} is missing; name a split with --split, there are: {there}")
        judged = list(beir.judgements(reading.note(path), reading.advance))
        queries = retrieval.queries(reading.note(beir.part(folder, "queries")), reading.advance)
        yield from assemble(reading, reading.source_of(folder), judged, queries, [beir.part(folder, "corpus")])


def assemble(
    reading: Reading, source: str, judged: Sequence[Judgement], queries: Iterable[Query], corpus: Sequence[Path]
) -> Iterator[Item]:
    """A collection -> items, of any layout."""
    wanted = {judgement.query for judgement in judged}
    asked, documents = Corpus("query", reading), Corpus("document", reading)

    def convert(query: Query) -> list[Item]:
        made = reading.query(query.text, instruction=query.values.get("instruction"))
        documents.watched[query.id] = content_id("", made.text)
        return [asked.add(query.id, made)]

    yield from reading.convert(((query.place, query) for query in queries if query.id in wanted), convert)
    yield from documents.documents(corpus)
    for name in documents.same:
        yield from relation(reading, asked.id_of(name), documents.id_of(name), kind="ignore", source=source)
    known = [one for one in judged if one.query in asked.ids and one.document in documents.ids]
    reading.counts["unknown"] += len(judged) - len(known)
    # Where none leads anywhere, the files do not belong together: the first says so.
    rows = ((judgement.place, judgement) for judgement in known or judged)
    yield from reading.convert(rows, partial(_relation, reading, source, asked, documents))


def _relation(reading: Reading, source: str, asked: Corpus, documents: Corpus, judgement: Judgement) -> Sequence[Item]:
    query, document = asked.id_of(judgement.query), documents.id_of(judgement.document)
    kind: Kind = "positive" if judgement.grade > 0 else "negative"
    return relation(reading, query, document, kind=kind, source=source, label=judgement.grade)
