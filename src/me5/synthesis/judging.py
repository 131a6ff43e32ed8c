"""A model's verdict: a query must find its positive, and a hard negative must not answer better than the positive.

E5's consistency filter (`me5.data.consistency`), but among all positives of the query's language: of synthetic data,
those are what was written for other queries.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from me5.data.consistency import SHARD_PAIRS, count_better
from me5.data.contract import Document, Query, Relation
from me5.data.dataset import Dataset, Mask, id_digits
from me5.data.jobs import Workspace
from me5.data.relations import NEGATIVE, POSITIVE, Int64, Relations, number_relations
from me5.data.teachers import EmbeddingTeacher
from me5.data.vectors import Embedded, embed_dataset
from me5.errors import InputError
from me5.progress import track
from me5.vectors import Float32


@dataclass(frozen=True)
class Judging:
    """`top`: the positive is among so many of what its query finds. `margin`: a negative scores so much below it.

    `whole_corpus` ranks it among all documents, not only the positives of the query's language.
    """

    top: int = 10
    margin: float = 0.0
    whole_corpus: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.top <= 100:
            raise InputError(f"top must lie between 1 and 100, got {self.top}")


@dataclass(frozen=True)
class Verdict:
    """Of each relation whether it stays, and whether it is a negative that the model takes for an answer."""

    dataset: Dataset
    relations: Relations
    kept: Mask
    suspected: Mask

    @classmethod
    def none(cls, dataset: Dataset) -> "Verdict":
        """Everything stays."""
        relations = number_relations(dataset)
        rows = len(relations)
        return cls(dataset, relations, np.ones(rows, bool), np.zeros(rows, bool))

    def by_query(self, kind: int, *, suspected: bool = False) -> Counter[str]:
        """How many relations of a kind stay, by the id of their query."""
        ids = self.dataset.ids("queries")
        chosen = (self.relations.kinds == kind) & (self.suspected if suspected else self.kept)
        rows, counts = np.unique(self.relations.queries[chosen], return_counts=True)
        return Counter({id_digits(ids[row]): count for row, count in zip(rows, counts.tolist(), strict=True)})

    def items(self) -> Iterator[Document | Query | Relation]:
        """What stays; suspected negatives as `ignore`. Documents that never had a relation stay too."""
        relations, counts = self.relations, self.dataset.counts
        queries, documents = np.zeros(counts["queries"], bool), np.ones(counts["documents"], bool)
        queries[relations.queries[self.kept]] = True
        documents[relations.documents] = False
        documents[relations.documents[self.kept]] = True
        return self.dataset.items(documents=documents, queries=queries, relations=self._relations())

    def _relations(self) -> Iterator[Relation]:
        for relation, kept, suspected in zip(self.dataset.relations(), self.kept, self.suspected, strict=True):
            if kept:
                yield replace(relation, kind="ignore") if suspected else relation


def judge(dataset: Dataset, teacher: EmbeddingTeacher, settings: Judging, workspace: Workspace) -> Verdict:
    """Let a model read all texts of a dataset. A query that loses its positive loses its negatives with it."""
    embedded = embed_dataset(dataset, teacher, workspace)
    relations = embedded.relations
    kept = np.ones(len(relations), bool)
    pairs = np.flatnonzero(relations.kinds == POSITIVE)
    languages = dataset.languages("queries")[relations.queries[pairs]]
    with track(len(pairs), show=workspace.show_progress_bar, description="Judging", unit="rows") as advance:
        for language in np.unique(languages):
            places = pairs[languages == language]
            rows = np.arange(len(embedded.documents)) if settings.whole_corpus else relations.documents[places]
            pool = _of_different_texts(embedded, np.unique(rows))
            for start in range(0, len(places), SHARD_PAIRS):
                block = places[start : start + SHARD_PAIRS]
                kept[block] = count_better(embedded, block, pool) < settings.top
                advance(len(block), 0)
    queries = np.zeros(len(embedded.queries), bool)
    queries[relations.queries[pairs[kept[pairs]]]] = True
    kept &= queries[relations.queries]
    return Verdict(dataset, relations, kept, _suspected(embedded, kept, settings.margin))


def _of_different_texts(embedded: Embedded, rows: Int64) -> Int64:
    """Of rows with equal texts the first, as `count_better` needs them."""
    firsts = np.unique(embedded.documents.keys[rows], return_index=True)[1]
    return rows[np.sort(firsts)]


def _suspected(embedded: Embedded, kept: Mask, margin: float) -> Mask:
    """The negatives that score above the lowest positive of their query less a margin."""
    relations = embedded.relations
    scores = _scores(embedded)
    lowest = np.full(len(embedded.queries), np.inf, np.float32)
    right = kept & (relations.kinds == POSITIVE)
    np.minimum.at(lowest, relations.queries[right], scores[right])
    suspected: Mask = kept & (relations.kinds == NEGATIVE) & (scores > lowest[relations.queries] - margin)
    return suspected


def _scores(embedded: Embedded) -> Float32:
    """The cosine of each relation, float32 (relations,)."""
    relations = embedded.relations
    scores = np.empty(len(relations), np.float32)
    for start in range(0, len(relations), SHARD_PAIRS):
        rows = slice(start, start + SHARD_PAIRS)
        left = embedded.query_vectors.vectors(relations.queries[rows])
        right = embedded.document_vectors.vectors(relations.documents[rows])
        scores[rows] = np.einsum("rd,rd->r", left, right)
    return scores
