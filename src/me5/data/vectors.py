"""The vectors of a dataset's texts by row: computed once, a shard at a time, then mapped from disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from me5.data.contract import Document, Query
from me5.data.dataset import Dataset, TextTable
from me5.data.jobs import Job, Shard, Workspace
from me5.data.relations import Int64, Relations, number_relations
from me5.data.teachers import EmbeddingTeacher
from me5.data.texts import Texts, lay_out
from me5.errors import InputError
from me5.nearest import top_k
from me5.progress import Advance
from me5.vectors import Float32

# Texts per shard: what a kill may cost. 34 MB of float16 at 1,024 dimensions, some minutes on a CPU.
SHARD_TEXTS = 16_384
# Documents whose vectors are in memory at once while all are searched: 64 MB at 1,024 dimensions.
BLOCK = 16_384
# No document: fewer than k are there.
NONE = -1


class Sharded:
    """The rows of a finished job's .npy shards as one array, mapped."""

    def __init__(self, job: Job) -> None:
        self._size = job.size
        # As plain arrays: np.memmap's own indexing takes far longer.
        self._shards = [np.asarray(np.load(shard.path, mmap_mode="r", allow_pickle=False)) for shard in job.shards]

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def take(self, rows: Int64) -> npt.NDArray[Any]:
        """Some rows, in the order asked for."""
        taken = np.empty((len(rows), *self._shards[0].shape[1:]), self._shards[0].dtype)
        for number, places in _by_shard(rows, self._size):
            taken[places] = self._shards[number][rows[places] % self._size]
        return taken


class Vectors(Sharded):
    """Unit vectors by row."""

    def vectors(self, rows: Int64) -> Float32:
        """Those of some rows, float32 (rows, dim)."""
        return self.take(rows).astype(np.float32, copy=False)

    def nearest(self, queries: Float32, pool: Int64, k: int) -> tuple[Int64, Float32]:
        """The rows and scores of each query's k best of the rows in `pool`, best first: two (queries, k).

        Of equal scores the lower row comes first. Where the pool is smaller than k the rest is `NONE` and -inf.
        """
        starts = range(0, len(pool), BLOCK)
        # Rows are negated, for of equal scores the greater name comes first.
        blocks = ((-rows, self.vectors(rows)) for rows in (pool[start : start + BLOCK] for start in starts))
        names, scores = top_k(queries, blocks, k)
        return np.where(np.isneginf(scores), NONE, -names), scores


@dataclass(frozen=True)
class Embedded:
    """A dataset with its texts by row, their vectors by one model, and its relations."""

    documents: Texts
    queries: Texts
    document_vectors: Vectors
    query_vectors: Vectors
    relations: Relations


def embed_dataset(dataset: Dataset, teacher: EmbeddingTeacher, workspace: Workspace) -> Embedded:
    """Embed all documents and queries of a dataset, except those that an earlier run has embedded."""
    relations = number_relations(dataset)
    if not len(relations):
        raise InputError(f"{dataset.folder} has no relations; there is nothing to do")
    documents = lay_out(dataset, "documents", workspace)
    document_vectors = embed_table(dataset, "documents", teacher.version, teacher.embed_documents, workspace)
    queries = lay_out(dataset, "queries", workspace)
    query_vectors = embed_table(dataset, "queries", teacher.version, teacher.embed_queries, workspace)
    return Embedded(documents, queries, document_vectors, query_vectors, relations)


def embed_table(
    dataset: Dataset,
    table: TextTable,
    version: str,
    embed: Callable[[list[Any], Advance], Float32],
    workspace: Workspace,
    *,
    advance: Advance | None = None,
) -> Vectors:
    """The vectors of a table by row, computed a shard at a time; shards that an earlier run finished are reused.

    `embed` turns documents or queries into unit vectors; `version` is a fingerprint of everything that decides them.
    `advance` takes the place of the workspace's progress bar.
    """
    job = workspace.job(
        f"vectors/{table}", rows=dataset.counts[table], size=SHARD_TEXTS, suffix=".npy",
        settings={"made": f"vectors of {table}", "model": version, "dtype": workspace.dtype},
        inputs={table: dataset.table_fingerprint(table)},
    )  # fmt: skip
    with workspace.progress(job, f"Embedding {table}") as bar:
        values: Iterator[Document | Query] = iter(())
        position = -1

        def write(shard: Shard, file: IO[bytes]) -> None:
            nonlocal values, position
            if shard.start != position:
                values = dataset.texts(table, start=shard.start)
            vectors = embed(list(islice(values, len(shard))), advance or bar)
            np.save(file, vectors.astype(workspace.dtype), allow_pickle=False)
            position = shard.stop

        job.run(write)
    return Vectors(job)


def _by_shard(rows: Int64, size: int) -> Iterator[tuple[int, Int64]]:
    """(shard, places in `rows` of its rows)."""
    numbers = rows // size
    for number in np.unique(numbers).tolist():
        yield number, np.flatnonzero(numbers == number)
