"""Hard negatives: documents that a model ranks high for a query and that still do not answer it.

    search      the best `depth` documents of each query
    candidates  without known answers, equal texts and documents of the same title; a range of ranks; below margins
    check       a teacher that reads pairs together marks those that it takes for answers as `ignore`
    write       the dataset with the new relations

Much of what ranks beside a positive is an answer that nobody labelled. A limit below the positive's own score keeps it
out (NV-Retriever, arXiv 2407.15831: at most 95 % of the positive's score).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from me5.data.choosing import FIGURES, Miner, MiningSettings, Within
from me5.data.contract import Relation
from me5.data.dataset import Dataset, id_digits
from me5.data.jobs import Job, Shard, Workspace
from me5.data.relations import POSITIVE, Int64, Relations
from me5.data.teachers import EmbeddingTeacher, Teacher
from me5.data.vectors import Embedded, Sharded, embed_dataset
from me5.data.writing import write_dataset
from me5.errors import InputError
from me5.files.atomic import check_free

# Queries that are searched together, and those whose candidates a teacher reads before results are saved.
SEARCH_QUERIES = 8192
CHECK_QUERIES = 1024
_FOUND = np.dtype([("row", "<i8"), ("score", "<f4")])


@dataclass(frozen=True)
class MiningCounts:
    """What was found for one source's queries (those with a positive).

    `candidates` are documents in the range of ranks; `above` those of them that the miner itself scores above the
    positive; `usable` those below all limits. The check has `read` pairs and `suspected` answers in them. `negatives`
    were added, `short` queries got fewer than requested.
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


def mine(
    dataset: Dataset,
    teacher: EmbeddingTeacher,
    settings: MiningSettings,
    *,
    out: Path,
    workspace: Workspace,
    check: Teacher | None = None,
    overwrite: bool = False,
) -> list[MiningCounts]:
    """Write a dataset with hard negatives added to a new one; report by source.

    What `check` takes for an answer is added as `ignore`, which training masks, and the next candidate is tried. A
    later run resumes from the workspace; one with other limits reuses its vectors and its search.
    """
    check_free(out, overwrite=overwrite)
    embedded = embed_dataset(dataset, teacher, workspace)
    relations = embedded.relations
    asking = np.unique(relations.queries[relations.kinds == POSITIVE])
    if not len(asking):
        raise InputError(f"{dataset.folder} has no positives; negatives are mined beside them")
    vectors = {"model": teacher.version, "dtype": workspace.dtype}
    inputs = {"dataset": dataset.fingerprint}
    searching = workspace.job(
        "search", rows=len(asking), size=SEARCH_QUERIES, suffix=".npy", inputs=inputs,
        settings={"made": "search", **vectors, "depth": settings.depth, "within": settings.within},
    )  # fmt: skip
    found = _search(searching, dataset, embedded, asking, settings, workspace)
    choosing = workspace.job(
        "negatives", rows=len(asking), size=CHECK_QUERIES, suffix=".npz", inputs=inputs,
        settings={"made": "negatives", **vectors, **asdict(settings), "check": check.version if check else None},
    )  # fmt: skip
    miner = Miner(embedded, settings, check)
    with workspace.progress(choosing, "Choosing negatives") as advance:
        choosing.run(lambda shard, file: miner.choose(asking, found, shard, file, advance))
    counts = _count(choosing, relations, _sources(relations, asking))
    step = {
        "step": "mine", "model": teacher.name, "teacher": teacher.version, "settings": asdict(settings),
        "input": dataset.fingerprint,
        "check": {"model": check.name, "teacher": check.version} if check else None,
        "sources": [asdict(count) for count in counts],
    }  # fmt: skip
    mined = _with_negatives(dataset, choosing, check.version if check else None, replace=settings.replace)
    write_dataset(out, dataset.items(relations=mined), step=step, before=dataset, overwrite=overwrite)
    return counts


def _search(
    job: Job, dataset: Dataset, embedded: Embedded, asking: Int64, settings: MiningSettings, workspace: Workspace
) -> Sharded:
    groups = _Groups(dataset, embedded, settings.within)
    with workspace.progress(job, "Searching") as advance:

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

    def __init__(self, dataset: Dataset, embedded: Embedded, within: Within | None) -> None:
        self._relations = embedded.relations
        self._within = within
        documents = len(embedded.documents)
        if within is None:
            self._pools: Mapping[Any, Int64] = {None: np.arange(documents)}
        elif within == "language":
            self._languages = dataset.languages("documents")
            self._pools = {name: np.flatnonzero(self._languages == name) for name in np.unique(self._languages)}
        else:
            relations = embedded.relations
            free = np.setdiff1d(np.arange(documents), relations.documents)
            self._pools = {
                number: np.union1d(relations.documents[relations.sources == number], free)
                for number in range(len(relations.source_names))
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
    """Of each query the source of its first positive, as a place in `source_names`."""
    return relations.sources[_first_positives(relations, asking)]


def _count(job: Job, relations: Relations, sources: npt.NDArray[np.int32]) -> list[MiningCounts]:
    totals = np.zeros((len(relations.source_names), len(FIGURES)), np.int64)
    for shard in job.shards:
        figures = _part(shard.path, "figures")
        table = np.stack([figures[name] for name in FIGURES], axis=1)
        np.add.at(totals, sources[shard.start : shard.stop], table)
    rows = zip(relations.source_names, totals.tolist(), strict=True)
    return [MiningCounts(name, *row) for name, row in rows if row[0]]


def _with_negatives(dataset: Dataset, job: Job, teacher: str | None, *, replace: bool) -> Iterator[Relation]:
    """The dataset's own relations, and the new ones by the ids of their rows."""
    licences: dict[str, tuple[str, str]] = {}
    for relation in dataset.relations():
        if relation.kind == "positive":
            licences.setdefault(relation.query_id, (relation.source, relation.licence))
        if not (replace and relation.kind == "negative"):
            yield relation
    query_ids, document_ids = dataset.ids("queries"), dataset.ids("documents")
    for shard in job.shards:
        for query, document, ignore, score in _part(shard.path, "relations").tolist():
            query_id = id_digits(query_ids[query])
            source, licence = licences[query_id]
            yield Relation(
                query_id, id_digits(document_ids[document]), "ignore" if ignore else "negative", None,
                score if teacher else None, teacher, source, licence,
            )  # fmt: skip


def _part(path: Path, name: str) -> npt.NDArray[Any]:
    with np.load(path, allow_pickle=False) as parts:
        part: npt.NDArray[Any] = parts[name]
    return part
