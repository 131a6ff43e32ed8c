"""Keep a pair if a model finds its positive among the best k of M random documents (E5's consistency filter).

Noisy pairs from the web teach less than they cost. A model trained on all of them, or any other, ranks each positive
against a pool of random documents; E5 kept 270 of 1,300 million pairs so, at k = 2 and M = 1,000,000 (Wang et al. 2022,
arXiv 2212.03533).
"""

from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from me5.data.dataset import Dataset
from me5.data.jobs import Job, Shard, Workspace
from me5.data.relations import IGNORE, POSITIVE, Int64
from me5.data.teachers import EmbeddingTeacher
from me5.data.texts import Texts
from me5.data.vectors import NONE, Embedded, Sharded, embed_dataset
from me5.data.writing import write_dataset
from me5.errors import InputError
from me5.files.atomic import check_free

# Pairs that are ranked together.
SHARD_PAIRS = 8192
# Ranks are counted up to here, whatever k is: another k then costs no search, and the report tells what it would keep.
DEEPEST = 100
RANKS = (1, 2, 5, 10, 100)
# A float16 vector's own noise: a score must lie this far above the positive's to beat it.
_NOISE = 1e-6


@dataclass(frozen=True)
class FilterSettings:
    """`top` is k, `pool` M (all documents where there are fewer), `seed` draws them."""

    top: int = 2
    pool: int = 1_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.top <= DEEPEST:
            raise InputError(f"top must lie between 1 and {DEEPEST}, got {self.top}")
        if self.pool < 1:
            raise InputError(f"the pool must hold at least one document, got {self.pool}")


@dataclass(frozen=True)
class FilterCounts:
    """What became of one source's pairs. `within` has, for each of `RANKS`, how many positives rank so high."""

    source: str
    pairs: int
    kept: int
    within: tuple[int, ...]

    @property
    def removed(self) -> int:
        """Pairs that are not in the result."""
        return self.pairs - self.kept


def filter_pairs(
    dataset: Dataset,
    teacher: EmbeddingTeacher,
    settings: FilterSettings,
    *,
    out: Path,
    workspace: Workspace,
    overwrite: bool = False,
) -> list[FilterCounts]:
    """Write the pairs of a dataset that are consistent, with all else, to a new one; report by source.

    A query that loses all its positives is removed with its other relations, and so is a document that loses all its
    relations. Negatives and ignored pairs of other queries stay, as do documents that had no relation. A later run
    resumes from the workspace.
    """
    check_free(out, overwrite=overwrite)
    embedded = embed_dataset(dataset, teacher, workspace)
    relations = embedded.relations
    pairs = np.flatnonzero(relations.kinds == POSITIVE)
    if not len(pairs):
        raise InputError(f"{dataset.folder} has no positives to filter")
    pool = draw_pool(embedded.documents, settings.pool, settings.seed)
    ranking = workspace.job(
        "ranks", rows=len(pairs), size=SHARD_PAIRS, suffix=".npy",
        settings={"made": "ranks", "model": teacher.version, "dtype": workspace.dtype, "pool": settings.pool,
                  "seed": settings.seed},
        inputs={"dataset": dataset.fingerprint},
    )  # fmt: skip
    better = _rank(ranking, embedded, pairs, pool, workspace)
    counts = _count(relations.source_names, relations.sources[pairs], better, settings.top)
    kept = np.ones(len(relations.kinds), bool)
    kept[pairs] = better < settings.top
    queries = np.ones(len(embedded.queries), bool)
    queries[relations.queries[pairs]] = False
    queries[relations.queries[pairs[kept[pairs]]]] = True
    kept &= queries[relations.queries]
    step = {
        "step": "filter", "model": teacher.name, "teacher": teacher.version, "settings": asdict(settings),
        "drawn": len(pool), "input": dataset.fingerprint, "sources": [asdict(count) for count in counts],
    }  # fmt: skip
    documents = np.ones(len(embedded.documents), bool)
    documents[relations.documents] = False
    documents[relations.documents[kept]] = True
    items = dataset.items(documents=documents, queries=queries, relations=compress(dataset.relations(), kept))
    write_dataset(out, items, step=step, before=dataset, overwrite=overwrite)
    return counts


def draw_pool(documents: Texts, size: int, seed: int) -> Int64:
    """Rows of `size` random documents, ascending; of equal texts among them only the first."""
    rows = np.arange(len(documents))
    if size < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), size, replace=False))
    firsts = np.unique(documents.keys[rows], return_index=True)[1]
    drawn: Int64 = rows[np.sort(firsts)]
    return drawn


def _rank(job: Job, embedded: Embedded, pairs: Int64, pool: Int64, workspace: Workspace) -> npt.NDArray[np.int32]:
    """For each pair how many documents of the pool beat its positive, counted up to `DEEPEST`."""
    with workspace.progress(job, "Ranking pairs") as advance:

        def write(shard: Shard, file: IO[bytes]) -> None:
            np.save(file, count_better(embedded, pairs[shard.start : shard.stop], pool), allow_pickle=False)
            advance(len(shard), 0)

        job.run(write)
    ranks: npt.NDArray[np.int32] = Sharded(job).take(np.arange(len(pairs)))
    return ranks


def count_better(embedded: Embedded, pairs: Int64, pool: Int64) -> npt.NDArray[np.int32]:
    """For each pair how many documents of the pool score higher than its positive, counted up to `DEEPEST`.

    Those that say the same as the query or one of its positives, and its other positives and ignored documents, never
    count.
    """
    relations, keys = embedded.relations, embedded.documents.keys
    queries, positives = relations.queries[pairs], relations.documents[pairs]
    spared = [relations.of_kind(query, POSITIVE, IGNORE) for query in queries.tolist()]
    # The pool has each text once, so that no more than these can stand in the way.
    depth = min(len(pool), DEEPEST + 1 + max(map(len, spared)))
    vectors = embedded.query_vectors.vectors(queries)
    own = np.einsum("pd,pd->p", vectors, embedded.document_vectors.vectors(positives))
    rows, scores = embedded.document_vectors.nearest(vectors, pool, depth)
    beaten = (scores > own[:, None] + _NOISE) & (rows != NONE)
    for at in np.flatnonzero(beaten.any(axis=1)).tolist():
        same = [*keys[spared[at]].tolist(), int(embedded.queries.keys[queries[at]])]
        beaten[at] &= ~np.isin(keys[rows[at]], same)
    better: npt.NDArray[np.int32] = np.minimum(beaten.sum(axis=1), DEEPEST).astype(np.int32)
    return better


def _count(
    names: tuple[str, ...], sources: npt.NDArray[np.int32], better: npt.NDArray[np.int32], top: int
) -> list[FilterCounts]:
    counts = []
    for number, name in enumerate(names):
        ranks = better[sources == number] + 1
        if len(ranks):
            within = tuple(int((ranks <= rank).sum()) for rank in RANKS)
            counts.append(FilterCounts(name, len(ranks), int((ranks <= top).sum()), within))
    return counts
