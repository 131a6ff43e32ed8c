"""A retrieval set in BEIR's form: corpus.jsonl, queries.jsonl and qrels/test.tsv."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from me5.errors import InputError
from me5.evaluation.readers.columns import lines
from me5.evaluation.task import Retrieval, Subset

_HEADER = ("query-id", "corpus-id", "score")


def read(folder: Path) -> Retrieval:
    """The set of a folder; queries to which nothing is relevant are left out and counted, as mteb does.

    Raises `InputError` naming file and line.
    """
    documents = {
        row_id: f"{row.get('title') or ''} {row['text']}".strip() for row_id, row in _records(folder / "corpus.jsonl")
    }
    queries = {row_id: row["text"] for row_id, row in _records(folder / "queries.jsonl")}
    if not documents:
        raise InputError(f"{folder / 'corpus.jsonl'} is empty: there is nothing to find")
    relevant = _judgements(folder / "qrels" / "test.tsv", queries, documents)
    kept = {query: text for query, text in queries.items() if any(relevant.get(query, {}).values())}
    if not kept:
        raise InputError(f"{folder / 'qrels' / 'test.tsv'} judges no document relevant to any query")
    return Retrieval(
        Subset(folder.parent.name, folder.name),
        documents,
        kept,
        {query: relevant[query] for query in kept},
        len(queries) - len(kept),
    )


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(id, record) of every line. Ids are unique, and every record has a text."""
    seen: set[str] = set()
    for number, line in lines(path):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from error
        if not isinstance(record, dict) or not isinstance(record.get("_id"), str):
            raise InputError(f'{path}, line {number}: expected an object with a string "_id", got {line[:60]}')
        if not isinstance(record.get("text"), str):
            raise InputError(f'{path}, line {number}: the record {record["_id"]!r} has no string "text"')
        if record["_id"] in seen:
            raise InputError(f"{path}, line {number}: the id {record['_id']!r} stands there a second time")
        seen.add(record["_id"])
        yield record["_id"], record


def _judgements(path: Path, queries: dict[str, str], documents: dict[str, str]) -> dict[str, dict[str, int]]:
    relevant: dict[str, dict[str, int]] = {}
    for number, line in lines(path):
        fields = tuple(line.split("\t"))
        if number == 1 and fields == _HEADER:
            continue
        if len(fields) != 3 or not fields[2].lstrip("-").isdigit():
            raise InputError(
                f"{path}, line {number}: expected query-id TAB corpus-id TAB whole number, got {line[:60]!r}"
            )
        query, document, grade = fields
        if query not in queries:
            raise InputError(f"{path}, line {number}: the query {query!r} is not in queries.jsonl")
        if document not in documents:
            raise InputError(f"{path}, line {number}: the document {document!r} is not in corpus.jsonl")
        relevant.setdefault(query, {})[document] = int(grade)
    return relevant
