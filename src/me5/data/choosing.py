"""Negatives: which of the documents found for a query are taken."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from me5.data.jobs import Shard
from me5.data.relations import IGNORE, NEGATIVE, POSITIVE, Int64
from me5.data.teachers import Pair, Teacher
from me5.data.vectors import NONE, Embedded, Sharded
from me5.errors import InputError
from me5.progress import Advance

# A query whose positive is wrong suspects every candidate: at most this many times `number` are read for it.
PATIENCE = 3
Within = Literal["language", "source"]
# What a shard of the job holds: the new relations, and for each query its figures, which `MiningCounts` explains.
ADDED = np.dtype([("query", "<i8"), ("document", "<i8"), ("ignore", "?"), ("teacher_score", "<f4")])
FIGURES = ("queries", "candidates", "above", "usable", "read", "suspected", "negatives", "short")
FIGURED = np.dtype([("query", "<i8"), *((name, "<i4") for name in FIGURES)])


@dataclass(frozen=True)
class MiningSettings:
    """Which candidates become negatives.

    Of each query's best `depth` documents the first `skip` are skipped, counted after known answers are removed.
    A candidate must score at most `percent_of_positive` % of the positive's score, and `margin` below it, and at most
    `max_score`; each None for no such limit. Of several positives the one with the lowest score counts. `number` are
    taken: the `top` ones or `random` ones by `seed`. `within` looks only among documents of the language of the query's
    first positive, or of the query's source (documents without any relation belong to every source). `same_title` lets
    documents under a positive's own title in. `replace` drops the negatives that are there.
    `check_margin`: the check takes what it scores above the positive's score less this for an answer.
    """

    depth: int = 200
    skip: int = 0
    number: int = 7
    percent_of_positive: float | None = 95.0
    margin: float | None = None
    max_score: float | None = None
    choice: Literal["top", "random"] = "top"
    seed: int = 0
    within: Within | None = None
    same_title: bool = False
    replace: bool = False
    check_margin: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.skip < self.depth:
            raise InputError(f"skip must lie between 0 and depth ({self.depth}), got {self.skip}")
        if not 1 <= self.number <= self.depth:
            raise InputError(f"number must lie between 1 and depth ({self.depth}), got {self.number}")
        if self.percent_of_positive is not None and not 0 < self.percent_of_positive <= 100:
            raise InputError(f"percent_of_positive must lie between 0 and 100, got {self.percent_of_positive}")
        if self.margin is not None and not self.margin >= 0:
            raise InputError(f"the margin must not be negative, got {self.margin}")
        for name, value in (("max_score", self.max_score), ("check_margin", self.check_margin)):
            if value is not None and isnan(value):
                raise InputError(f"{name} must be a number, got nan, with which no score compares")

    def limit(self, positive: float) -> float:
        """The highest score that a negative may have beside a positive's."""
        limits = [np.inf if self.max_score is None else self.max_score]
        if self.percent_of_positive is not None:
            # As a distance, for a share of a score below zero would lie above it.
            limits.append(positive - (1 - self.percent_of_positive / 100) * abs(positive))
        if self.margin is not None:
            limits.append(positive - self.margin)
        return float(min(limits))


class Miner:
    """From what was found for queries to their negatives."""

    def __init__(self, embedded: Embedded, settings: MiningSettings, check: Teacher | None) -> None:
        self._embedded = embedded
        self._settings = settings
        self._check = check

    def choose(self, asking: Int64, found: Sharded, shard: Shard, file: IO[bytes], advance: Advance) -> None:
        """Write the new relations of a shard's queries, and each query's figures."""
        rows = np.arange(shard.start, shard.stop)
        figures = np.zeros(len(rows), FIGURED)
        figures["query"], figures["queries"] = asking[rows], 1
        candidates = [
            self._candidates(query, hits, figures[at : at + 1])
            for at, (query, hits) in enumerate(zip(asking[rows].tolist(), found.take(rows), strict=True))
        ]
        if self._check is None:
            added = [
                (query, document, False, np.nan)
                for query, documents in zip(asking[rows].tolist(), candidates, strict=True)
                for document in documents[: self._settings.number].tolist()
            ]
            advance(len(rows), 0)
        else:
            added = self._checked(self._check, candidates, figures, advance)
        relations = np.array(added, ADDED)
        negatives = np.bincount(
            np.searchsorted(asking[rows], relations["query"][~relations["ignore"]]), minlength=len(rows)
        )
        figures["negatives"], figures["short"] = negatives, negatives < self._settings.number
        np.savez(file, relations=relations, figures=figures)

    def _candidates(self, query: int, hits: npt.NDArray[Any], figures: npt.NDArray[Any]) -> Int64:
        """The document rows that may become negatives of a query, in the order in which they are taken."""
        settings, embedded = self._settings, self._embedded
        relations, documents = embedded.relations, embedded.documents
        positives = relations.of_kind(query, POSITIVE)
        known = (POSITIVE, IGNORE) if settings.replace else (POSITIVE, IGNORE, NEGATIVE)
        barred = np.isin(hits["row"], [NONE, *relations.of_kind(query, *known)])
        same = [*documents.keys[positives].tolist(), int(embedded.queries.keys[query])]
        barred |= np.isin(documents.keys[hits["row"]], same)
        if not settings.same_title:
            titles = documents.head_keys[positives]
            barred |= np.isin(documents.head_keys[hits["row"]], titles[titles != 0])
        hits = hits[~barred]
        # Of candidates that say the same, the first.
        firsts = np.sort(np.unique(documents.keys[hits["row"]], return_index=True)[1])
        hits = hits[firsts][settings.skip :]
        vector = embedded.query_vectors.vectors(np.array([query]))[0]
        positive = float((embedded.document_vectors.vectors(positives) @ vector).min())
        usable: Int64 = hits["row"][hits["score"] <= settings.limit(positive)]
        figures["candidates"], figures["usable"] = len(hits), len(usable)
        figures["above"] = int((hits["score"] > positive).sum())
        if settings.choice == "random":
            # By the query, so that the draw is the same in any shard.
            usable = np.random.default_rng((settings.seed, query)).permutation(usable)
        return usable

    def _checked(
        self, check: Teacher, candidates: Sequence[Int64], figures: npt.NDArray[Any], advance: Advance
    ) -> list[tuple[int, int, bool, float]]:
        """Let a teacher read candidates until each query has its number, or none is left."""
        settings, queries = self._settings, figures["query"].tolist()
        waiting = [deque(rows[: PATIENCE * settings.number].tolist()) for rows in candidates]
        bars = self._bars(check, [query for query, rows in zip(queries, waiting, strict=True) if rows])
        found = np.zeros(len(queries), np.int64)
        added: list[tuple[int, int, bool, float]] = []
        while batch := [
            (at, rows.popleft())
            for at, rows in enumerate(waiting)
            for _ in range(min(len(rows), settings.number - int(found[at])))
        ]:
            scores = check.score(self._pairs([(queries[at], document) for at, document in batch]))
            for (at, document), score in zip(batch, scores.tolist(), strict=True):
                suspected = score > bars[queries[at]]
                added.append((queries[at], document, suspected, score))
                figures["read"][at] += 1
                figures["suspected"][at] += suspected
                found[at] += not suspected
        advance(len(queries), 0)
        return sorted(added, key=lambda row: row[0])

    def _bars(self, check: Teacher, queries: Sequence[int]) -> dict[int, float]:
        """The score above which the check takes a candidate of a query for an answer."""
        pairs = [
            (query, document)
            for query in queries
            for document in self._embedded.relations.of_kind(query, POSITIVE).tolist()
        ]
        bars: dict[int, float] = {}
        for (query, _), score in zip(pairs, check.score(self._pairs(pairs)).tolist(), strict=True):
            bars[query] = min(bars.get(query, np.inf), score - self._settings.check_margin)
        return bars

    def _pairs(self, rows: Sequence[tuple[int, int]]) -> list[Pair]:
        """Texts of pairs of rows, each read once."""
        queries = sorted({query for query, _ in rows})
        documents = sorted({document for _, document in rows})
        query_of = dict(zip(queries, self._embedded.queries.queries(queries), strict=True))
        document_of = dict(zip(documents, self._embedded.documents.documents(documents), strict=True))
        return [(query_of[query], document_of[document]) for query, document in rows]
