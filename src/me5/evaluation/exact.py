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
    best: list[list[tuple[float, str]]] = [[] for _ in queries]
    for ids, vectors in blocks:
        for at, row in enumerate(queries @ vectors.T):
            threshold = np.partition(row, -k)[-k] if len(row) > k else -np.inf
            found = [(float(row[place]), ids[place]) for place in np.flatnonzero(row >= threshold).tolist()]
            best[at] = sorted(best[at] + found, reverse=True)[:k]
    return [{name: score for score, name in ranking} for ranking in best]
