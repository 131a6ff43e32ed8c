"""What belongs together among vectors: the nearest pairs, and groups around a central vector."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from me5.nearest import score_blocks, top_k
from me5.vectors import Float32

Int64 = npt.NDArray[np.int64]


def nearest_pairs(
    vectors: Float32, *, neighbours: int = 100, most: int | None = None, least: float = -np.inf
) -> tuple[Float32, Int64]:
    """The pairs of unit vectors (n, dim) with the highest cosines, best first: scores (pairs,), places (pairs, 2).

    Of each vector its nearest `neighbours` count. Each pair comes once, the lower place first; `most` and `least` are
    the number of pairs and the lowest score. Memory holds `neighbours` numbers for each vector.
    """
    count = len(vectors)
    names, scores = top_k(vectors, [(np.arange(count), vectors)], min(neighbours + 1, max(count, 1)))
    rows = np.repeat(np.arange(count), names.shape[1])
    others, found = names.ravel(), scores.ravel()
    kept = (rows != others) & (found >= least) & (found > -np.inf)
    pairs = np.sort(np.stack([rows[kept], others[kept]], axis=1), axis=1)
    _, firsts = np.unique(pairs[:, 0] * np.int64(count) + pairs[:, 1], return_index=True)
    order = firsts[np.argsort(-found[kept][firsts], kind="stable")][:most]
    return found[kept][order], pairs[order]


def communities(vectors: Float32, threshold: float, smallest: int = 1) -> list[list[int]]:
    """Groups of unit vectors (n, dim) whose cosine to a central one is at least `threshold`; the largest first.

    The central one comes first, then the others by falling cosine. Each vector is in one group at most, that of the
    largest neighbourhood; groups of less than `smallest` are left out. Memory holds all pairs above the threshold.
    """
    found = [(centre, members) for centre, members in _neighbourhoods(vectors, threshold) if len(members) >= smallest]
    found.sort(key=lambda one: -len(one[1]))
    taken = np.zeros(len(vectors), bool)
    groups = []
    for centre, members in found:
        free = members[~taken[members]]
        if taken[centre] or len(free) < smallest:
            continue
        taken[free] = True
        groups.append([centre, *free[free != centre].tolist()])
    return sorted(groups, key=len, reverse=True)


def _neighbourhoods(vectors: Float32, threshold: float) -> Iterator[tuple[int, Int64]]:
    """Each place with those of all vectors that are at least so near to it, itself too, by falling cosine."""
    for start, scores in score_blocks(vectors, vectors):
        rows = np.arange(len(scores))
        scores[rows, rows + start] = np.maximum(scores[rows, rows + start], 1)  # rounding must not part it from itself
        for row, line in enumerate(scores):
            near = np.flatnonzero(line >= threshold)
            yield start + row, near[np.argsort(-line[near], kind="stable")]
