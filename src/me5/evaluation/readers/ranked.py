"""Queries, a corpus and judgements from any files -> a retrieval or reranking task whose parts fit together.

The corpus is checked in one pass and read again when it is embedded: its texts are never all in memory, of an id only
eight bytes are kept.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from me5.errors import InputError
from me5.evaluation.readers.tables import at, name_of, records, text_of
from me5.evaluation.task import Corpus, Reranking, Retrieval, Subset

IDS = ("_id", "id", "docid", "query-id")
# A judgement: where it stands, query id, document id, grade.
Judgement = tuple[str, str, str, int]


def documents(paths: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    """(place, id, title and text as one) of every document in some files, in order."""
    for path in paths:
        for number, record in records(path):
            name = name_of(record, IDS, path, number)
            if "contents" in record and "text" not in record:  # Mr.TyDi: title, blank line, text
                text = text_of(record, "contents", path, number).replace("\n\n", " ", 1).strip()
            else:
                text = f"{record.get('title') or ''} {text_of(record, 'text', path, number)}".strip()
            yield at(path, number), name, text


def queries(paths: Sequence[Path]) -> dict[str, str]:
    """Id -> text of every query in some files."""
    found: dict[str, str] = {}
    for path in paths:
        for number, record in records(path):
            name = name_of(record, IDS, path, number)
            if name in found:
                raise InputError(f"{at(path, number)}: the id {name!r} stands there a second time")
            found[name] = text_of(record, "text", path, number)
    return found


def candidates(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Query id -> ids of the documents to rank, from records of query-id and corpus-ids."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for number, record in records(path):
            listed = record.get("corpus-ids")
            if not isinstance(listed, list) or not listed:
                raise InputError(f'{at(path, number)}: expected a list "corpus-ids", got {listed!r}'[:300])
            found[name_of(record, ("query-id",), path, number)] = [str(name) for name in listed]
    return found


def assemble(
    subset: Subset,
    *,
    asked: Mapping[str, str],
    corpus: Sequence[Path],
    judged: Iterable[Judgement],
    ranked: Mapping[str, Sequence[str]] | None = None,
    source: str,
) -> Retrieval | Reranking:
    """The task, after checking that every id leads somewhere. Raises `InputError` naming file and line.

    Queries without a judgement are left out and counted; one whose judgements are all 0 stays, and scores 0, as in
    mteb and trec_eval. `source` names the judgements in errors.
    """
    relevant: dict[str, dict[str, int]] = {}
    wanted: dict[str, str] = {}  # document id -> the first place that names it
    for place, query, document, grade in judged:
        if query not in asked:
            raise InputError(f"{place}: the query {query!r} is not among the queries")
        relevant.setdefault(query, {})[document] = grade
        wanted.setdefault(document, place)
    if not any(grade > 0 for of_query in relevant.values() for grade in of_query.values()):
        raise InputError(f"{source} judges no document relevant to any query")
    kept = {query: text for query, text in asked.items() if query in relevant}
    if ranked is not None:
        _check_candidates(ranked, kept, wanted, source)
    size = _check_corpus(corpus, wanted)
    found = Corpus(lambda: ((name, text) for _, name, text in documents(corpus)), size)
    ordered = {query: relevant[query] for query in kept}
    unjudged = len(asked) - len(kept)
    if ranked is None:
        return Retrieval(subset, found, kept, ordered, unjudged)
    return Reranking(subset, found, kept, ordered, {query: ranked[query] for query in kept}, unjudged)


def _check_candidates(
    ranked: Mapping[str, Sequence[str]], kept: Mapping[str, str], wanted: dict[str, str], source: str
) -> None:
    for query in kept:
        if query not in ranked:
            raise InputError(f"the query {query!r} of {source} has no list of documents to rank")
        for document in ranked[query]:
            wanted.setdefault(document, f"the documents to rank for the query {query!r}")


def _check_corpus(paths: Sequence[Path], wanted: Mapping[str, str]) -> int:
    """The number of documents, after finding that ids are unique and that all wanted ones are there."""
    missing, hashes = dict(wanted), array("q")
    for _, name, _ in documents(paths):
        hashes.append(hash(name))
        missing.pop(name, None)
    if not hashes:
        raise InputError(f"{', '.join(map(str, paths))} is empty: there is nothing to find")
    ordered = np.sort(np.frombuffer(hashes, np.int64))
    if len(twice := ordered[1:][ordered[1:] == ordered[:-1]]):
        _blame_second(paths, {int(value) for value in twice})
    for document, place in missing.items():
        raise InputError(f"{place}: the document {document!r} is not in {', '.join(path.name for path in paths)}")
    return len(hashes)


def _blame_second(paths: Sequence[Path], suspicious: set[int]) -> None:
    """Raise where an id really stands twice; equal hashes of different ids are no fault."""
    seen: set[str] = set()
    for place, name, _ in documents(paths):
        if name in seen:
            raise InputError(f"{place}: the id {name!r} stands there a second time")
        if hash(name) in suspicious:
            seen.add(name)
