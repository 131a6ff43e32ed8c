"""Queries, a corpus and judgements from any files -> a retrieval or reranking task whose parts fit together.

The corpus is checked in one pass and read again when it is embedded: its texts are never all in memory, of an id only
eight bytes are kept.
"""

import warnings
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from me5.errors import InputError, Me5Warning, counted
from me5.evaluation.task import Corpus, Reranking, Retrieval, Subset
from me5.files.place import FileError, Place
from me5.files.records import records
from me5.files.retrieval import Judgement, Query, passages


def documents(paths: Sequence[Path]) -> Iterator[tuple[Place, str, str]]:
    """(place, id, title and text as one) of every document in some files, in order."""
    for path in paths:
        for place, name, title, text, _ in passages(path):
            yield place, name, f"{title} {text}".strip()


def candidates(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Query id -> ids of the documents to rank, from records of query-id and corpus-ids."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for record in records(path):
            listed = record.values.get("corpus-ids")
            if not isinstance(listed, list) or not listed:
                raise FileError(record.place, f'expected a list "corpus-ids", got {listed!r:.200}')
            found[record.id("query-id")] = [str(name) for name in listed]
    return found


def assemble(
    subset: Subset,
    *,
    queries: Iterable[Query],
    corpus: Sequence[Path],
    judged: Iterable[Judgement],
    ranked: Mapping[str, Sequence[str]] | None = None,
    source: str,
) -> Retrieval | Reranking:
    """The task, after checking where every id leads. Raises `InputError` naming file and line.

    Queries without a judgement are left out and counted; one whose judgements are all 0 stays, and scores 0, as in
    mteb and trec_eval. As mteb does too, with a warning that counts them: judgements of queries that are not there are
    left out, judged documents that are not there count and cannot be found, and of a pair that is judged twice the
    last judgement counts. `source` names the judgements.
    """
    asked = _asked(queries)
    judgements = _Judgements(source)
    for judgement in judged:
        judgements.add(judgement, known=judgement.query in asked)
    relevant = judgements.relevant
    if not any(grade > 0 for of_query in relevant.values() for grade in of_query.values()):
        raise InputError(f"{source} judges no document relevant to any query")
    kept = {query: text for query, text in asked.items() if query in relevant}
    names = ", ".join(path.name for path in corpus)
    to_rank = {} if ranked is None else _to_rank(ranked, kept, source)
    size, missing = _check_corpus(corpus, {**judgements.documents, **to_rank})
    for document in missing.keys() & to_rank.keys():
        raise InputError(f"{to_rank[document]}: the document {document!r} is not in {names}")
    judgements.warn(missing, names)
    found = Corpus(lambda: ((name, text) for _, name, text in documents(corpus)), size)
    ordered = {query: relevant[query] for query in kept}
    unjudged = len(asked) - len(kept)
    if ranked is None:
        return Retrieval(subset, found, kept, ordered, unjudged)
    return Reranking(subset, found, kept, ordered, {query: ranked[query] for query in kept}, unjudged)


def _asked(queries: Iterable[Query]) -> dict[str, str]:
    """Id -> text of every query."""
    asked: dict[str, str] = {}
    for place, name, text, _ in queries:
        if name in asked:
            raise FileError(place, f"the id {name!r} stands there a second time")
        if not text.strip():
            raise FileError(place, f"the text of the query {name!r} is empty")
        asked[name] = text
    return asked


class _Judgements:
    """What was judged; and what about it is odd: how often, and where first."""

    def __init__(self, source: str) -> None:
        self.relevant: dict[str, dict[str, int]] = {}
        self.documents: dict[str, str] = {}  # id -> the first place that names it
        self._source = source
        self._odd: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, judgement: Judgement, *, known: bool) -> None:
        place, query, document, grade = judgement
        if grade != int(grade):
            raise FileError(place, f"expected a whole number as grade, got {grade:g}")
        if not known:
            self._note("of queries that are not among the queries, left out", f"{place}: the query {query!r}")
            return
        of_query = self.relevant.setdefault(query, {})
        if of_query.get(document, grade) != grade:
            self._note(
                "contradicting an earlier one of the same pair, of which the last counts",
                f"{place}: {query!r} and {document!r}, {of_query[document]} and then {grade:g}",
            )
        of_query[document] = int(grade)
        self.documents.setdefault(document, str(place))

    def warn(self, missing: Mapping[str, str], corpus: str) -> None:
        """Issue a warning for each kind of oddity. Raises `InputError` where no judged document is there."""
        if self.documents.keys() <= missing.keys():
            document, place = next(iter(self.documents.items()))
            raise InputError(
                f"{place}: the document {document!r} is not in {corpus}, nor is any other that {self._source} judges"
            )
        for document, place in missing.items():
            self._note(
                f"of documents that are not in {corpus}, counted although they cannot be found",
                f"{place}: the document {document!r}",
            )
        for what, times in self._odd.items():
            warnings.warn(
                f"{self._source}: {counted(times, 'judgement')} {what}, as in mteb (the first: "
                f"{self._first[what]})", Me5Warning, stacklevel=2,
            )  # fmt: skip

    def _note(self, what: str, where: str) -> None:
        self._odd[what] += 1
        self._first.setdefault(what, where)


def _to_rank(ranked: Mapping[str, Sequence[str]], kept: Mapping[str, str], source: str) -> dict[str, str]:
    """The documents of all lists, and what to say where one is not there."""
    wanted: dict[str, str] = {}
    for query in kept:
        if query not in ranked:
            raise InputError(f"the query {query!r} of {source} has no list of documents to rank")
        for document in ranked[query]:
            wanted.setdefault(document, f"the documents to rank for the query {query!r}")
    return wanted


def _check_corpus(paths: Sequence[Path], wanted: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    """The number of documents and the wanted ones that are not there, after finding that ids are unique."""
    missing, hashes = dict(wanted), array("q")
    for _, name, _ in documents(paths):
        hashes.append(hash(name))
        missing.pop(name, None)
    if not hashes:
        raise InputError(f"{', '.join(map(str, paths))} is empty: there is nothing to find")
    ordered = np.sort(np.frombuffer(hashes, np.int64))
    if len(twice := ordered[1:][ordered[1:] == ordered[:-1]]):
        _blame_second(paths, {int(value) for value in twice})
    return len(hashes), missing


def _blame_second(paths: Sequence[Path], suspicious: set[int]) -> None:
    """Raise where an id really stands twice; equal hashes of different ids are no fault."""
    seen: set[str] = set()
    for place, name, _ in documents(paths):
        if name in seen:
            raise FileError(place, f"the id {name!r} stands there a second time")
        if hash(name) in suspicious:
            seen.add(name)
