"""The vectors of a dataset's texts, made once, a shard at a time, and mapped from disk thereafter."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from me5.data.contract import Dataset
from me5.data.jobs import Job, Shard, Workplace
from me5.data.rows import Int64, Relations, Texts, lay_out, number_relations, table_hash
from me5.data.teachers import EmbeddingTeacher
from me5.nearest import Float32, top_k
from me5.progress import Advance

_TABLES: tuple[Literal["documents", "queries"], ...] = ("documents", "queries")
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
        self._shards = [np.load(shard.path, mmap_mode="r", allow_pickle=False) for shard in job.shards]

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
    """A dataset with the vectors of its texts by one model."""

    documents: Texts
    queries: Texts
    document_vectors: Vectors
    query_vectors: Vectors
    relations: Relations


def embed_dataset(dataset: Dataset, teacher: EmbeddingTeacher, work: Workplace) -> Embedded:
    """Embed all documents and queries of a dataset, as far as an earlier run has not."""
    relations = number_relations(dataset)
    texts, vectors = {}, {}
    for table in _TABLES:
        texts[table] = lay_out(dataset, table, work)
        job = work.job(
            f"vectors/{table}", rows=len(texts[table]), size=SHARD_TEXTS, suffix=".npy",
            settings={"made": f"vectors of {table}", "model": teacher.version, "dtype": work.dtype},
            inputs={table: table_hash(dataset, table)},
        )  # fmt: skip
        with work.progress(job, f"Embedding {table}") as advance:
            _embed(job, texts[table], teacher, work.dtype, advance)
        vectors[table] = Vectors(job)
    return Embedded(texts["documents"], texts["queries"], vectors["documents"], vectors["queries"], relations)


def _embed(job: Job, texts: Texts, teacher: EmbeddingTeacher, dtype: str, advance: Advance) -> None:
    def write(shard: Shard, file: IO[bytes]) -> None:
        rows = np.arange(shard.start, shard.stop)
        if texts.table == "documents":
            vectors = teacher.embed_documents(texts.documents(rows), advance)
        else:
            vectors = teacher.embed_queries(texts.queries(rows), advance)
        np.save(file, vectors.astype(dtype), allow_pickle=False)

    job.run(write)


def _by_shard(rows: Int64, size: int) -> Iterator[tuple[int, Int64]]:
    """(shard, places in `rows` of its rows)."""
    numbers = rows // size
    for number in np.unique(numbers).tolist():
        yield number, np.flatnonzero(numbers == number)
