"""What belongs together among vectors: the nearest pairs, and groups around a central vector."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from me5.nearest import score_blocks, top_k
from me5.vectors import Float32, normalized

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


def parts(vectors: Float32, count: int, *, rounds: int = 100, seed: int = 0) -> list[list[int]]:
    """Unit vectors (n, dim) parted into `count` groups by k-means, none of them empty; the largest group first.

    Within a group the one nearest to its middle comes first, then the others by falling cosine to it. The same every
    time for a seed; ends when nothing moves, or after so many rounds.
    """
    middles = _spread(vectors, count, np.random.default_rng(seed))
    labels = np.full(len(vectors), -1)
    for _ in range(rounds):
        scores = vectors @ middles.T
        nearest = scores.argmax(axis=1)
        for empty in np.setdiff1d(np.arange(count), nearest):  # takes what lies furthest from its own middle
            sizes = np.bincount(nearest, minlength=count)
            far = np.where(sizes[nearest] > 1, scores[np.arange(len(vectors)), nearest], np.inf)
            nearest[far.argmin()] = empty
        if (nearest == labels).all():
            break
        labels = nearest
        sums = np.zeros_like(middles)
        np.add.at(sums, labels, vectors)
        middles = normalized(sums)
    near = np.einsum("nd,nd->n", vectors, middles[labels])
    groups = [np.flatnonzero(labels == label) for label in range(count)]
    return sorted((group[np.argsort(-near[group], kind="stable")].tolist() for group in groups), key=len, reverse=True)


def _spread(vectors: Float32, count: int, draw: np.random.Generator) -> Float32:
    """The first middles: vectors that are drawn the likelier the further they lie from those before (k-means++)."""
    chosen = [int(draw.integers(len(vectors)))]
    distance = 1 - vectors @ vectors[chosen[0]]
    for _ in range(count - 1):
        weights = np.maximum(distance, 0).astype(np.float64)
        weights[chosen] = 0
        total = weights.sum()
        left = np.setdiff1d(np.arange(len(vectors)), chosen)
        place = int(draw.choice(len(vectors), p=weights / total)) if total > 0 else int(left[0])
        chosen.append(place)
        distance = np.minimum(distance, 1 - vectors @ vectors[place])
    return vectors[chosen].copy()


def _neighbourhoods(vectors: Float32, threshold: float) -> Iterator[tuple[int, Int64]]:
    """Each place with those of all vectors that are at least so near to it, itself too, by falling cosine."""
    for start, scores in score_blocks(vectors, vectors):
        rows = np.arange(len(scores))
        scores[rows, rows + start] = np.maximum(scores[rows, rows + start], 1)  # rounding must not part it from itself
        for row, line in enumerate(scores):
            near = np.flatnonzero(line >= threshold)
            yield start + row, near[np.argsort(-line[near], kind="stable")]
