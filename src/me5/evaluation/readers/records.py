"""Records whose columns tell the task, under mteb's names, from JSONL or Parquet files.

sentence1, sentence2, score        similarity
sentence1, sentence2, labels       pair classification (also one row of three lists)
sentence1, sentence2               parallel sentences
text, label (train and test)       classification
sentences, labels                  clustering (also one row per set, of two lists)
query, positive, negative          reranking
"""

from collections.abc import Sequence
from pathlib import Path
from sys import float_info
from typing import Any

from me5.errors import InputError
from me5.evaluation.readers.columns import check_labels
from me5.evaluation.task import (
    Bitext,
    Classification,
    Clustering,
    Corpus,
    Label,
    PairClassification,
    Reranking,
    Similarity,
    Subset,
    Task,
)
from me5.files.place import FileError
from me5.files.records import Record, records

COLUMNS = (
    "sentence1, sentence2 and score, labels or neither; text and label, with train beside test; sentences and labels; "
    "query, positive and negative"
)


def rows_of(paths: Sequence[Path]) -> list[Record]:
    """All records of some files. A row that holds whole columns as lists, as mteb 1 wrote them, becomes many."""
    found = []
    for path in paths:
        for place, values in records(path):
            found += [Record(place, one) for one in _unrolled(values)]
    if not found:
        raise InputError(f"{', '.join(map(str, paths))} is empty")
    return found


def _unrolled(record: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [key for key in ("sentence1", "sentence2", "sentences", "labels") if isinstance(record.get(key), list)]
    if "sentence1" not in lists and "sentences" not in lists:
        return [record]
    columns = {key: record[key] for key in lists}
    if len({len(column) for column in columns.values()}) != 1:
        return [record]  # refused where its fields are read
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def read(subset: Subset, test: Sequence[Path], train: Sequence[Path] = ()) -> Task:
    """The task of some test files, and train files where it has any. Raises `InputError` naming file and line."""
    rows = rows_of(test)
    keys = set(rows[0].values)
    label = next((key for key in ("label", "labels") if key in keys), None)
    if {"sentence1", "sentence2"} <= keys:
        return _pairs(subset, rows, label, scored="score" in keys)
    if {"query", "positive", "negative"} <= keys:
        return _reranking(subset, rows)
    column = next((key for key in ("text", "sentences") if key in keys), None)
    if column is not None and label is not None:
        if not train:
            return Clustering(subset, [row.text(column) for row in rows], [_levels(row, label) for row in rows])
        return _classification(subset, rows, rows_of(train), column=column, label=label)
    raise FileError(rows[0].place, f"the columns {', '.join(sorted(keys))} are of no task; expected {COLUMNS}")


def _pairs(subset: Subset, rows: Sequence[Record], label: str | None, *, scored: bool) -> Task:
    left, right = ([row.text(key) for row in rows] for key in ("sentence1", "sentence2"))
    if scored:
        return Similarity(subset, left, right, [_number(row, "score") for row in rows])
    if label is None:
        return Bitext(subset, left, right)
    given = [_number(row, label) for row in rows]
    for row, value in zip(rows, given, strict=True):
        if value not in (0, 1):
            raise FileError(row.place, f"the label of a pair is 0 or 1, got {value:g}")
    labels = [int(value) for value in given]
    if len(set(labels)) < 2:
        raise InputError(
            f"{rows[0].place.name}: all pairs have the label {labels[0]}, so that there is nothing to tell apart"
        )
    return PairClassification(subset, left, right, labels)


def _classification(
    subset: Subset, test: Sequence[Record], train: Sequence[Record], *, column: str, label: str
) -> Classification:
    learned, tested = (
        ([row.text(column) for row in rows], [_label(row, label) for row in rows]) for rows in (train, test)
    )
    check_labels(set(learned[1]), set(tested[1]), Path(test[0].place.name), Path(train[0].place.name))
    return Classification(subset, *learned, *tested)


def _reranking(subset: Subset, rows: Sequence[Record]) -> Reranking:
    """Ids are made so that, of equal scores, positives come first, as mteb does. Rows that lack either are left out."""
    documents: dict[str, str] = {}
    queries: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    for index, row in enumerate(rows):
        lists = [_texts(row, key) for key in ("positive", "negative")]
        if not all(lists):
            continue
        query = f"{subset.split}_query{index}"
        queries[query] = row.text("query")
        relevant[query] = {}
        for kind, grade, texts in (("apositive", 1, lists[0]), ("negative", 0, lists[1])):
            for place, text in enumerate(texts):
                name = f"{kind}_{query}_{place:05}"
                documents[name], relevant[query][name] = text, grade
    if not queries:
        raise InputError(f"{rows[0].place.name} has no row with both positive and negative texts")
    candidates = {query: list(of_query) for query, of_query in relevant.items()}
    return Reranking(subset, Corpus.of(documents), queries, relevant, candidates, len(rows) - len(queries))


def _texts(row: Record, key: str) -> list[str]:
    value = row.values[key]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise FileError(row.place, f'expected a list of strings "{key}", got {value!r:.200}')
    return value


def _label(row: Record, key: str) -> Label:
    value = row.values.get(key)
    if not isinstance(value, str | int):
        raise FileError(row.place, f'expected a label under "{key}", got {value!r:.200}')
    return value


def _levels(row: Record, key: str) -> list[Label]:
    value = row.values.get(key)
    return value if isinstance(value, list) else [_label(row, key)]


def _number(row: Record, key: str) -> float:
    value = row.values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= float_info.max:
        raise FileError(row.place, f'expected a number "{key}", got {value!r:.200}')
    return float(value)
