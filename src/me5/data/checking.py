"""Every row of a dataset against the rules of the contract."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from me5.data.contract import KINDS, TABLES, Document, Query, Relation
from me5.data.dataset import Dataset
from me5.data.writing import sha256
from me5.errors import InputError
from me5.progress import Advance, track


@dataclass(frozen=True)
class Checked:
    """What is not an error in a dataset, but its owner may not know."""

    unrelated: int
    """documents that no relation points to"""
    unanswered: int
    """queries without a positive"""
    sources: Mapping[str, int]
    """relations by source"""
    licences: Mapping[str, int]
    """relations by licence, "" where it is unknown"""


def check(dataset: Dataset, *, show_progress_bar: bool = False) -> Checked:
    """Read everything once: hashes of files, texts, ids, kinds, scores, and whether every relation leads somewhere.

    Memory grows with ids. Raises `InputError` at the first fault, naming file and row.
    """
    rows = sum(dataset.counts[table] for table in TABLES)
    with track(rows, show=show_progress_bar, description="Checking", unit="rows") as advance:
        return _check(dataset, advance)


def _check(dataset: Dataset, advance: Advance) -> Checked:
    for path in (path for table in TABLES for path in dataset.files[table]):
        expected = dataset.manifest["files"][path.relative_to(dataset.folder).as_posix()]["sha256"]
        if sha256(path) != expected:
            raise InputError(f"{path} has changed since it was written: its sha256 is not that of dataset.json")
    documents = _rows(dataset.located("documents", Document, advance=advance))
    queries = _rows(dataset.located("queries", Query, advance=advance))
    kinds = dict.fromkeys(KINDS, 0)
    sources, licences = Counter[str](), Counter[str]()
    asked, answered, ended = set[int](), set[int](), set[int]()
    last, of_last = -1, set[int]()
    for path, number, relation in dataset.located("relations", Relation, advance=advance):
        place = f"{path}, row {number}"
        query = _row(queries, relation.query_id, "query", place)
        document = _row(documents, relation.document_id, "document", place)
        if query != last:
            ended.add(last)
            last, of_last = query, set()
        if query in ended:
            raise InputError(
                f"{place}: the query {relation.query_id} had relations before; those of one stand together"
            )
        if document in of_last:
            raise InputError(f"{place}: the document {relation.document_id} is related to its query a second time")
        of_last.add(document)
        asked.add(document)
        kinds[relation.kind] += 1
        sources[relation.source] += 1
        licences[relation.licence] += 1
        if relation.kind == "positive":
            answered.add(query)
    counts = {"documents": len(documents), "queries": len(queries), "relations": sum(kinds.values()), **kinds}
    if counts != dict(dataset.counts):
        raise InputError(f"{dataset.folder / 'dataset.json'} counts {dict(dataset.counts)}; there are {counts}")
    return Checked(len(documents) - len(asked), len(queries) - len(answered), sources, licences)


def _rows(values: Iterable[tuple[Path, int, Document | Query]]) -> dict[bytes, int]:
    """Id -> row."""
    rows: dict[bytes, int] = {}
    for path, number, value in values:
        key = bytes.fromhex(value.id)
        if key in rows:
            raise InputError(f"{path}, row {number}: the id {value.id} appears a second time")
        rows[key] = len(rows)
    return rows


def _row(rows: dict[bytes, int], name: str, what: str, place: str) -> int:
    try:
        return rows[bytes.fromhex(name)]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{place}: points to the {what} {name!r}, which is not in {_TABLE_OF[what]}") from error


_TABLE_OF = {"query": "queries", "document": "documents"}
