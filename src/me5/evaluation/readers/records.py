"""Records whose columns tell the task, under mteb's names, from JSONL or Parquet files.

sentence1, sentence2, score        similarity
sentence1, sentence2, labels       pair classification (also one row of three lists)
sentence1, sentence2               parallel sentences
text, label (train and test)       classification
sentences, labels                  clustering (also one row per set, of two lists)
query, positive, negative          reranking
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from me5.errors import InputError
from me5.evaluation.readers.columns import check_labels
from me5.evaluation.readers.tables import at, records, text_of
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

Row = tuple[Path, int, dict[str, Any]]
COLUMNS = (
    "sentence1, sentence2 and score, labels or neither; text and label, with train beside test; sentences and labels; "
    "query, positive and negative"
)


def rows_of(paths: Sequence[Path]) -> list[Row]:
    """All records of some files. A row that holds whole columns as lists, as mteb 1 wrote them, becomes many."""
    found = []
    for path in paths:
        for number, record in records(path):
            found += [(path, number, one) for one in _unrolled(record)]
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
    keys = set(rows[0][2])
    label = next((key for key in ("label", "labels") if key in keys), None)
    if {"sentence1", "sentence2"} <= keys:
        return _pairs(subset, rows, label, scored="score" in keys)
    if {"query", "positive", "negative"} <= keys:
        return _reranking(subset, rows)
    column = next((key for key in ("text", "sentences") if key in keys), None)
    if column is not None and label is not None:
        if not train:
            texts = [text_of(row, column, path, number) for path, number, row in rows]
            return Clustering(subset, texts, [_levels(row, label, path, number) for path, number, row in rows])
        return _classification(subset, rows, rows_of(train), column=column, label=label)
    path, number, _ = rows[0]
    raise InputError(f"{at(path, number)}: the columns {', '.join(sorted(keys))} are of no task; expected {COLUMNS}")


def _pairs(subset: Subset, rows: Sequence[Row], label: str | None, *, scored: bool) -> Task:
    left, right = (
        [text_of(row, key, path, number) for path, number, row in rows] for key in ("sentence1", "sentence2")
    )
    if scored:
        return Similarity(subset, left, right, [_number(row, "score", path, number) for path, number, row in rows])
    if label is None:
        return Bitext(subset, left, right)
    labels = [int(_number(row, label, path, number)) for path, number, row in rows]
    for (path, number, _), value in zip(rows, labels, strict=True):
        if value not in (0, 1):
            raise InputError(f"{at(path, number)}: the label of a pair is 0 or 1, got {value}")
    if len(set(labels)) < 2:
        raise InputError(f"{rows[0][0]}: all pairs have the label {labels[0]}, so that there is nothing to tell apart")
    return PairClassification(subset, left, right, labels)


def _classification(
    subset: Subset, test: Sequence[Row], train: Sequence[Row], *, column: str, label: str
) -> Classification:
    learned, tested = (
        (
            [text_of(row, column, path, at) for path, at, row in rows],
            [_label(row, label, path, at) for path, at, row in rows],
        )
        for rows in (train, test)
    )
    check_labels(set(learned[1]), set(tested[1]), test[0][0], train[0][0])
    return Classification(subset, *learned, *tested)


def _reranking(subset: Subset, rows: Sequence[Row]) -> Reranking:
    """Ids are made so that, of equal scores, positives come first, as mteb does. Rows that lack either are left out."""
    documents: dict[str, str] = {}
    queries: dict[str, str] = {}
    relevant: dict[str, dict[str, int]] = {}
    for index, (path, number, row) in enumerate(rows):
        lists = [_texts(row, key, path, number) for key in ("positive", "negative")]
        if not all(lists):
            continue
        query = f"{subset.split}_query{index}"
        queries[query] = text_of(row, "query", path, number)
        relevant[query] = {}
        for kind, grade, texts in (("apositive", 1, lists[0]), ("negative", 0, lists[1])):
            for place, text in enumerate(texts):
                name = f"{kind}_{query}_{place:05}"
                documents[name], relevant[query][name] = text, grade
    if not queries:
        raise InputError(f"{rows[0][0]} has no row with both positive and negative texts")
    candidates = {query: list(of_query) for query, of_query in relevant.items()}
    return Reranking(subset, Corpus.of(documents), queries, relevant, candidates, len(rows) - len(queries))


def _texts(row: Mapping[str, Any], key: str, path: Path, number: int) -> list[str]:
    value = row[key]
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InputError(f'{at(path, number)}: expected a list of strings "{key}", got {value!r}'[:300])
    return value


def _label(row: Mapping[str, Any], key: str, path: Path, number: int) -> Label:
    value = row.get(key)
    if not isinstance(value, str | int):
        raise InputError(f'{at(path, number)}: expected a label under "{key}", got {value!r}'[:300])
    return value


def _levels(row: Mapping[str, Any], key: str, path: Path, number: int) -> list[Label]:
    value = row.get(key)
    return value if isinstance(value, list) else [_label(row, key, path, number)]


def _number(row: Mapping[str, Any], key: str, path: Path, number: int) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f'{at(path, number)}: expected a number "{key}", got {value!r}'[:300])
    return float(value)
