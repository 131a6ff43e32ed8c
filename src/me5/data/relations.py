"""The relations of a dataset as numbers: rows of queries and documents, kinds, sources, scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from me5.data.contract import KINDS
from me5.data.dataset import Dataset, TextTable, packed_ids
from me5.errors import InputError

Int64 = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
POSITIVE, NEGATIVE, IGNORE = (KINDS.index(kind) for kind in ("positive", "negative", "ignore"))


@dataclass(frozen=True)
class Relations:
    """The relations of a dataset in order, as arrays (relations,).

    `queries` and `documents` are rows, `kinds` places in `KINDS`, `sources` and `teachers` places in their names (the
    teacher None is none), `scores` the teacher's scores, NaN for none.
    """

    queries: Int64
    documents: Int64
    kinds: npt.NDArray[np.int8]
    sources: Int32
    scores: npt.NDArray[np.float32]
    teachers: Int32
    source_names: tuple[str, ...]
    teacher_names: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.queries)

    @cached_property
    def _by_query(self) -> tuple[Int64, Int64]:
        order = np.argsort(self.queries, kind="stable")
        return order, self.queries[order]

    def of(self, query: int) -> Int64:
        """The places of a query's relations."""
        order, queries = self._by_query
        first, last = np.searchsorted(queries, [query, query + 1])
        return order[first:last]

    def of_kind(self, query: int, *kinds: int) -> Int64:
        """The document rows of a query's relations of some kinds."""
        places = self.of(query)
        return self.documents[places[np.isin(self.kinds[places], kinds)]]


def number_relations(dataset: Dataset) -> Relations:
    """Read all relations into arrays: 29 bytes each, and 20 for every id while they are read.

    Raises `InputError` where one points to a query or document that is not there.
    """
    documents, queries = _Rows(dataset, "documents"), _Rows(dataset, "queries")
    sources: dict[str, int] = {}
    teachers: dict[str | None, int] = {}
    parts: list[tuple[npt.NDArray[Any], ...]] = [
        (
            queries.of(query_ids),
            documents.of(document_ids),
            np.array([KINDS.index(kind) for kind in kinds], np.int8),
            np.array([sources.setdefault(name, len(sources)) for name in names], np.int32),
            np.array(scores, np.float32),  # None becomes NaN
            np.array([teachers.setdefault(name, len(teachers)) for name in judges], np.int32),
        )
        for query_ids, document_ids, kinds, names, scores, judges in dataset.columns(
            "relations", "query_id", "document_id", "kind", "source", "teacher_score", "teacher"
        )
    ]
    columns = [
        np.concatenate([np.empty(0, kind), *(part[at] for part in parts)])
        for at, kind in enumerate((np.int64, np.int64, np.int8, np.int32, np.float32, np.int32))
    ]
    return Relations(
        columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], tuple(sources), tuple(teachers)
    )


class _Rows:
    """The rows of a table by id."""

    def __init__(self, dataset: Dataset, table: TextTable) -> None:
        self._name = f"{table} of {dataset.folder}"
        ids = dataset.ids(table)
        self._order = np.argsort(ids)
        self._ids = ids[self._order]

    def of(self, ids: Sequence[str]) -> Int64:
        wanted = packed_ids(ids)
        places = np.searchsorted(self._ids, wanted)
        found = np.zeros(len(wanted), bool)
        inside = places < len(self._ids)
        found[inside] = self._ids[places[inside]] == wanted[inside]
        if not found.all():
            lost = ids[int(found.argmin())]
            raise InputError(
                f"a relation points to {lost!r}, which is not among the {self._name}; look at it with `me5 data check`"
            )
        return self._order[places]
