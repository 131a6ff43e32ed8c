"""Exact search: the k best documents of every query by dot product, a block of documents at a time."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Ranking = dict[str, float]


def search(queries: Float32, blocks: Iterable[tuple[Sequence[str], Float32]], k: int) -> list[Ranking]:
    """For each query (n, dim) its k best documents and their scores, best first, from blocks of (ids, vectors).

    Equal scores rank by descending id, as trec_eval does, also where the cut at k falls between them. Memory holds one
    block and k documents a query.
    """
    scores = np.empty((len(queries), 0), np.float32)
    names = np.empty((len(queries), 0), object)
    for ids, vectors in blocks:
        scores = np.hstack([scores, queries @ vectors.T])
        names = np.hstack([names, np.broadcast_to(np.array(ids, object), (len(queries), len(ids)))])
        kept = [_best(row, ids_of_row, k) for row, ids_of_row in zip(scores, names, strict=True)]
        scores = np.stack([row[best] for row, best in zip(scores, kept, strict=True)])
        names = np.stack([row[best] for row, best in zip(names, kept, strict=True)])
    return [dict(zip(ids, row.tolist(), strict=True)) for ids, row in zip(names, scores, strict=True)]


def _best(scores: Float32, ids: npt.NDArray[np.object_], k: int) -> npt.NDArray[np.intp]:
    """The places of the k highest scores, best first, ties by descending id."""
    at = np.arange(len(scores))
    if len(scores) > k:
        threshold = np.partition(scores, -k)[-k]
        at = np.flatnonzero(scores >= threshold)
    order = sorted(at, key=lambda place: (scores[place], ids[place]), reverse=True)
    return np.array(order[:k], np.intp)
