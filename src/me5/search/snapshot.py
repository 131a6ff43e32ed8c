"""One version of a store, searched by vectors and by words: what writers commit meanwhile changes nothing in it."""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cached_property, lru_cache
from math import ceil
from typing import Any

from me5.calibration.applied import NEIGHBOURS, Calibration, neighbourhood_of
from me5.calibration.background import Background
from me5.errors import InputError
from me5.search.conditions import Column, Compare, Condition, all_of, any_of
from me5.search.connecting import wait
from me5.search.documents import SEVERAL
from me5.search.failures import reading
from me5.search.hits import COLUMNS
from me5.search.schema import BACKGROUND_KEY, CALIBRATION_KEY, TUNING_KEY, WORDS, K, Tuning
from me5.vectors import Float32
from me5.words import terms

# A passage's place in a snapshot.
RowId = int


class Snapshot:
    """A version of the passages. Rows have `_rowid`, which other versions may give to another passage.

    `passages` is LanceDB's asynchronous table: its other one changes threads five times in a query, 0.8 ms of one.
    """

    def __init__(self, uri: str, passages: Any, gone: Callable[[], str | None]) -> None:
        self.uri = uri
        self.gone = gone
        self._passages = passages

    @cached_property
    @reading
    def tuning(self) -> Tuning | None:
        """How the index over the vectors is searched; None where there is none."""
        kept = self._kept(TUNING_KEY)
        return None if kept is None else Tuning(**json.loads(kept))

    @cached_property
    @reading
    def calibration(self) -> Calibration | None:
        """What cosines mean here; None where nobody calibrated the store itself."""
        kept = self._kept(CALIBRATION_KEY)
        return None if kept is None else _calibration(kept, self.uri)

    @cached_property
    @reading
    def background(self) -> Background | None:
        """Where random pairs of the store's own texts lie; None where nobody measured it."""
        kept = self._kept(BACKGROUND_KEY)
        return None if kept is None else _background(kept, self.uri)

    @cached_property
    @reading
    def count(self) -> int:
        """The number of passages."""
        return int(wait(self._passages.count_rows()))

    @reading
    def neighbourhood(self, vector: Float32) -> float | None:
        """What the cosines of a question with this vector are measured against; None where passages are too few."""
        rows = wait(self._near(vector).limit(NEIGHBOURS).select(["id", "_distance"]).to_list())
        return neighbourhood_of([1 - row["_distance"] for row in rows], self.count)

    def _kept(self, key: bytes) -> str | None:
        """What stands in the metadata of the vectors, nothing counting as not there."""
        return (self._schema.field("vector").metadata or {}).get(key, b"").decode() or None

    @cached_property
    def _schema(self) -> Any:
        return wait(self._passages.schema())

    def _near(self, vector: Float32) -> Any:
        return self._passages.query().nearest_to(vector).column("vector").distance_type("cosine")

    @cached_property
    @reading
    def has_words(self) -> bool:
        """Whether the words can be searched."""
        return indexed(wait(self._passages.list_indices()), WORDS.name)

    @reading
    def nearest(
        self,
        vector: Float32,
        k: int,
        *,
        where: Condition | None = None,
        exact: bool = False,
        tuning: Tuning | None = None,
        columns: Sequence[str] = COLUMNS,
        seconds: float | None = None,
    ) -> list[dict[str, Any]]:
        """The `k` passages whose vectors are nearest to `vector` (dim,), as rows with `_distance`, 1 - cosine.

        `tuning` None is what the store keeps; `exact` compares with every vector. Raises `TimeoutError` after
        `seconds`, and `InputError` for a filter that meets metadata of another kind.
        """
        query = self._near(vector)
        tuning = tuning or self.tuning
        if exact:
            query = query.bypass_vector_index()
        elif tuning is not None:
            query = query.nprobes(tuning.probes).refine_factor(max(ceil(tuning.refine * K / k), 1))
        return self._rows(query.limit(k).select([*columns, "_distance"]), where, seconds)

    @reading
    def matching(
        self,
        text: str,
        k: int,
        *,
        where: Condition | None = None,
        columns: Sequence[str] = COLUMNS,
        seconds: float | None = None,
    ) -> list[dict[str, Any]]:
        """The `k` passages whose words match best, as rows with `_score`, BM25. Raises as `nearest`."""
        words = terms(text, question=True)
        if not words:
            return []
        query = self._passages.query().nearest_to_text(" ".join(words), columns=[WORDS.name])
        return self._rows(query.limit(k).select([*columns, "_score"]), where, seconds)

    @reading
    def rows(self, where: Condition | None = None, *, vectors: bool = False) -> list[dict[str, Any]]:
        """All passages that a filter lets through, by source and in their order; with their vectors where asked."""
        query = self._passages.query().select([*COLUMNS, "vector"] if vectors else [*COLUMNS])
        return sorted(self._rows(query, where, None), key=lambda row: (row["source"], row["at"] or 0, row["start"]))

    @reading
    def around(self, passage: str, before: int, after: int) -> list[dict[str, Any]]:
        """A passage by its id, with those before and after it in its document; rows of tables and messages are some."""
        query = self._passages.query().where(str(any_of("id", [passage]))).select(["source", "kind", "at", "version"])
        found = wait(query.to_list())
        if not found:
            raise InputError(f"there is no passage {passage!r}; its file may have changed, search again")
        (row,) = found
        where = all_of(
            any_of("source", [row["source"]]),
            Compare(Column("at"), "=", row["at"]) if row["kind"] in SEVERAL and row["at"] is not None else None,
        )
        query = self._passages.query().where(str(where)).select(["id", "at", "start"]).with_row_id()
        places = wait(query.to_list())
        places.sort(key=lambda place: (place["at"] or 0, place["start"]))
        here = next(number for number, place in enumerate(places) if place["id"] == passage)
        near = [place["_rowid"] for place in places[max(here - before, 0) : here + after + 1]]
        rows = self.take(near)
        return [rows[at] for at in near]

    @reading
    def ids(self) -> dict[str, RowId]:
        """Every passage's `_rowid` by its id."""
        rows = wait(self._passages.query().select(["id"]).with_row_id().to_arrow())
        return dict(zip(rows["id"].to_pylist(), rows["_rowid"].to_pylist(), strict=True))

    @reading
    def take(self, ids: Iterable[RowId], columns: Sequence[str] = COLUMNS) -> dict[RowId, dict[str, Any]]:
        """Rows by their `_rowid`."""
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return {}
        rows = wait(self._passages.take_row_ids(wanted).select(list(columns)).with_row_id().to_list())
        return {row["_rowid"]: row for row in rows}

    def _rows(self, query: Any, where: Condition | None, seconds: float | None) -> list[dict[str, Any]]:
        """What a query finds. The text of LanceDB's error is all there is to tell its kinds by."""
        # LanceDB looks at the clock between two batches of rows.
        timeout = None if seconds is None else timedelta(seconds=max(seconds, 0))
        try:
            query = query.with_row_id()
            rows: list[dict[str, Any]] = wait(
                (query if where is None else query.where(str(where))).to_list(timeout=timeout)
            )
        except (RuntimeError, ValueError, OSError) as error:
            if "Query timeout" in str(error):
                raise TimeoutError("the store did not answer in time") from error
            kind = str(error).partition("Failed to convert to ")[2].partition(":")[0]
            if where is None or not kind:
                raise
            raise InputError(
                f"the filter {where} cannot be used: some passage has something in that field of its metadata that is "
                f"no {kind}; json_get_string reads strings, numbers, true and false"
            ) from error
        return rows


@lru_cache(8)  # every search opens a snapshot of its own
def _calibration(kept: str, uri: str) -> Calibration:
    return Calibration.from_json(kept, f"the calibration of {uri}")


@lru_cache(8)
def _background(kept: str, uri: str) -> Background:
    return Background.from_json(kept, f"the background of {uri}")


def indexed(indices: Iterable[Any], column: str) -> bool:
    """Whether there is one over a column among LanceDB's indexes."""
    return any(index.columns == [column] for index in indices)
