"""Hard negatives: documents that a model ranks high for a query and that still do not answer it.

    search     the best `depth` documents of each query
    candidates without what is known to be right, equal in text or of the same title; a range of ranks; below margins
    check      a teacher who reads pairs together sets those that it takes for answers to `ignore`
    write      the dataset with the new relations

Much of what ranks beside a positive is an answer that nobody labelled. A limit below the positive's own score keeps it
out (NV-Retriever, arXiv 2407.15831: at most 95 % of the positive's score).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from me5.data.choosing import FIGURES, Miner, MiningSettings, Within
from me5.data.contract import Dataset, Relation
from me5.data.jobs import Job, Shard, Workplace, check_free
from me5.data.rows import POSITIVE, Int64, Relations
from me5.data.teachers import EmbeddingTeacher, Teacher
from me5.data.vectors import Embedded, Sharded, embed_dataset
from me5.data.writing import Item, write_dataset
from me5.errors import InputError

# Queries that are searched together, and those whose candidates a teacher reads before anything is kept.
SEARCH_QUERIES = 8192
CHECK_QUERIES = 1024
_FOUND = np.dtype([("row", "<i8"), ("score", "<f4")])


@dataclass(frozen=True)
class MiningCounts:
    """What was found for one source's queries (those with a positive).

    `candidates` are documents in the range of ranks; `above` those of them that the miner itself scores above the
    positive; `usable` those below all limits. The check has `read` pairs and `suspected` answers in them. `negatives`
    were added, `short` queries got fewer than asked for.
    """

    source: str
    queries: int
    candidates: int
    above: int
    usable: int
    read: int
    suspected: int
    negatives: int
    short: int

    @property
    def false_negative_rate(self) -> float | None:
        """The share of usable candidates that the check takes for answers; None without a check."""
        return self.suspected / self.read if self.read else None


def mine(
    dataset: Dataset,
    teacher: EmbeddingTeacher,
    settings: MiningSettings,
    *,
    out: Path,
    work: Workplace,
    check: Teacher | None = None,
    overwrite: bool = False,
) -> list[MiningCounts]:
    """Write a dataset with hard negatives added to a new one; report by source.

    What `check` takes for an answer is added as `ignore`, which training masks, and the next candidate is tried. A
    later run goes on where `work` was left; with other limits it finds vectors and search there.
    """
    check_free(out, overwrite=overwrite)
    embedded = embed_dataset(dataset, teacher, work)
    relations = embedded.relations
    asking = np.unique(relations.queries[relations.kinds == POSITIVE])
    if not len(asking):
        raise InputError(f"{dataset.folder} has no positives; negatives are mined beside them")
    told = {"model": teacher.version, "dtype": work.dtype}
    inputs = {"dataset": dataset.fingerprint}
    searching = work.job(
        "search", rows=len(asking), size=SEARCH_QUERIES, suffix=".npy", inputs=inputs,
        settings={"made": "search", **told, "depth": settings.depth, "within": settings.within},
    )  # fmt: skip
    found = _search(searching, embedded, asking, settings, work)
    choosing = work.job(
        "negatives", rows=len(asking), size=CHECK_QUERIES, suffix=".npz", inputs=inputs,
        settings={"made": "negatives", **told, **asdict(settings), "check": check.version if check else None},
    )  # fmt: skip
    miner = Miner(embedded, settings, check)
    with work.progress(choosing, "Choosing negatives") as advance:
        choosing.run(lambda shard, file: miner.choose(asking, found, shard, file, advance))
    counts = _count(choosing, relations, _sources(relations, asking))
    step = {
        "step": "mine", "model": teacher.name, "teacher": teacher.version, "settings": asdict(settings),
        "input": dataset.fingerprint,
        "check": {"model": check.name, "teacher": check.version} if check else None,
        "sources": [asdict(count) for count in counts],
    }  # fmt: skip
    items = _with_negatives(dataset, choosing, check.version if check else None, replace=settings.replace)
    write_dataset(out, items, step=step, before=dataset, overwrite=overwrite)
    return counts


def _search(job: Job, embedded: Embedded, asking: Int64, settings: MiningSettings, work: Workplace) -> Sharded:
    groups = _Groups(embedded, settings.within)
    with work.progress(job, "Searching") as advance:

        def write(shard: Shard, file: IO[bytes]) -> None:
            queries = asking[shard.start : shard.stop]
            found = np.empty((len(queries), settings.depth), _FOUND)
            for pool, places in groups.of(queries):
                vectors = embedded.query_vectors.vectors(queries[places])
                rows, scores = embedded.document_vectors.nearest(vectors, pool, settings.depth)
                found["row"][places], found["score"][places] = rows, scores
                advance(len(places), 0)
            np.save(file, found, allow_pickle=False)

        job.run(write)
    return Sharded(job)


class _Groups:
    """Which documents are searched for which queries."""

    def __init__(self, embedded: Embedded, within: Within | None) -> None:
        self._relations = embedded.relations
        self._within = within
        documents = len(embedded.documents)
        if within is None:
            self._pools: Mapping[Any, Int64] = {None: np.arange(documents)}
        elif within == "language":
            self._languages = embedded.documents.languages
            self._pools = {name: np.flatnonzero(self._languages == name) for name in np.unique(self._languages)}
        else:
            relations = embedded.relations
            free = np.setdiff1d(np.arange(documents), relations.documents)
            self._pools = {
                number: np.union1d(relations.documents[relations.sources == number], free)
                for number in range(len(relations.names))
            }

    def of(self, queries: Int64) -> Iterator[tuple[Int64, Int64]]:
        """(document rows, places in `queries`) of each group."""
        if self._within is None:
            yield self._pools[None], np.arange(len(queries))
            return
        firsts = _first_positives(self._relations, queries)
        if self._within == "language":
            groups: npt.NDArray[Any] = self._languages[self._relations.documents[firsts]]
        else:
            groups = self._relations.sources[firsts]
        for group in np.unique(groups):
            yield self._pools[group], np.flatnonzero(groups == group)


def _first_positives(relations: Relations, queries: Int64) -> Int64:
    """The place of each query's first positive among the relations."""
    places = np.flatnonzero(relations.kinds == POSITIVE)
    having, firsts = np.unique(relations.queries[places], return_index=True)
    first: Int64 = places[firsts[np.searchsorted(having, queries)]]
    return first


def _sources(relations: Relations, asking: Int64) -> npt.NDArray[np.int32]:
    """Of each query the source of its first positive, as a place in `names`."""
    return relations.sources[_first_positives(relations, asking)]


def _count(job: Job, relations: Relations, sources: npt.NDArray[np.int32]) -> list[MiningCounts]:
    totals = np.zeros((len(relations.names), len(FIGURES)), np.int64)
    for shard in job.shards:
        figures = _part(shard.path, "figures")
        table = np.stack([figures[name] for name in FIGURES], axis=1)
        np.add.at(totals, sources[shard.start : shard.stop], table)
    return [MiningCounts(name, *row) for name, row in zip(relations.names, totals.tolist(), strict=True) if row[0]]


def _with_negatives(dataset: Dataset, job: Job, teacher: str | None, *, replace: bool) -> Iterator[Item]:
    """The dataset's own rows, and the new relations by the ids of theirs."""
    yield from dataset.items("documents")
    yield from dataset.items("queries")
    licences: dict[str, tuple[str, str]] = {}
    for relation in dataset.items("relations"):
        assert isinstance(relation, Relation)
        if relation.kind == "positive":
            licences.setdefault(relation.query_id, (relation.source, relation.licence))
        if not (replace and relation.kind == "negative"):
            yield relation
    query_ids, document_ids = _ids(dataset, "queries"), _ids(dataset, "documents")
    for shard in job.shards:
        for query, document, ignore, score in _part(shard.path, "relations").tolist():
            query_id = query_ids[query].decode()
            source, licence = licences[query_id]
            yield Relation(
                query_id, document_ids[document].decode(), "ignore" if ignore else "negative", None,
                score if teacher else None, teacher, source, licence,
            )  # fmt: skip


def _ids(dataset: Dataset, table: Literal["documents", "queries"]) -> npt.NDArray[np.bytes_]:
    return np.concatenate([np.array(batch.column(0).to_pylist(), "S24") for batch in dataset.batches(table, ["id"])])


def _part(path: Path, name: str) -> npt.NDArray[Any]:
    with np.load(path, allow_pickle=False) as parts:
        part: npt.NDArray[Any] = parts[name]
    return part
