"""Exact search over vectors on disk: for each query its best documents among given rows, a block at a time."""

import numpy as np
import numpy.typing as npt

from me5.data.rows import Int64
from me5.data.vectors import Vectors

Float32 = npt.NDArray[np.float32]
# Documents whose vectors are in memory at once (64 MB at 1,024 dimensions), and scores (64 MB).
_BLOCK = 16_384
_SCORES = 2**24
# No document: fewer than k are there.
NONE = -1


def nearest(queries: Float32, vectors: Vectors, pool: Int64, k: int) -> tuple[Int64, Float32]:
    """The rows and scores of each query's k best of the rows in `pool` (ascending), best first: two (queries, k).

    Of equal scores the lower row comes first; which of them are left out at the cut is not said. Where the pool is
    smaller than k the rest is `NONE` and -inf. Memory holds a block of vectors, `_SCORES` scores, and the result.
    """
    rows = np.full((len(queries), k), NONE, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    step = max(1, _SCORES // _BLOCK)
    for start in range(0, len(pool), _BLOCK):
        block = pool[start : start + _BLOCK]
        documents = vectors.vectors(block)
        for first in range(0, len(queries), step):
            part = slice(first, first + step)
            _take_in(rows[part], scores[part], block, queries[part] @ documents.T)
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _take_in(rows: Int64, scores: Float32, block: Int64, found: Float32) -> None:
    """Let the scores of a block (queries, block) into the k best so far, in place."""
    k = rows.shape[1]
    worst = scores.min(axis=1)
    if np.isneginf(worst).any():  # the first blocks: everything may enter
        entering = np.argpartition(found, max(found.shape[1] - k, 0), axis=1)[:, -k:]
        new_rows, new_scores = block[entering], np.take_along_axis(found, entering, axis=1)
    else:  # later hardly anything does: only what beats a query's worst is looked at
        queries, places = np.nonzero(found > worst[:, None])
        if not len(queries):
            return
        counts = np.bincount(queries, minlength=len(rows))
        column = np.arange(len(queries)) - np.repeat(np.cumsum(counts) - counts, counts)
        new_rows = np.full((len(rows), counts.max()), NONE, np.int64)
        new_scores = np.full(new_rows.shape, -np.inf, np.float32)
        new_rows[queries, column], new_scores[queries, column] = block[places], found[queries, places]
    all_rows, all_scores = np.hstack([rows, new_rows]), np.hstack([scores, new_scores])
    kept = np.argpartition(all_scores, all_scores.shape[1] - k, axis=1)[:, -k:]
    rows[:] = np.take_along_axis(all_rows, kept, axis=1)
    scores[:] = np.take_along_axis(all_scores, kept, axis=1)
