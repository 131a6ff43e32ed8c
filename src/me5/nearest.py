"""Exact search over unit vectors by dot product: the k best documents of each query, a block of documents at a time."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from me5.errors import InputError
from me5.vectors import Float32

Names = npt.NDArray[Any]
# Scores in memory at once: 64 MB.
_SCORES = 2**24


def top_k(queries: Float32, blocks: Iterable[tuple[Names, Float32]], k: int) -> tuple[Names, Float32]:
    """The names and scores of each query's k best documents, best first: two arrays (queries, k).

    `queries` is (queries, dim); a block is the names (documents,), integers or objects that can be ordered, and the
    vectors (documents, dim) of some documents. Of equal scores the greater name comes first, also where the cut at k
    falls between them. Where there are fewer than k documents the remaining scores are -inf and their names mean
    nothing. Memory holds one block, `_SCORES` scores, and the result.
    """
    names: Names | None = None
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for block, vectors in blocks:
        if names is None:
            names = np.zeros((len(queries), k), block.dtype)
        for start, computed in score_blocks(queries, vectors):
            part = slice(start, start + len(computed))
            _merge(names[part], scores[part], block, computed)
    return np.zeros((len(queries), k), np.int64) if names is None else names, scores


def score_blocks(queries: Float32, vectors: Float32) -> Iterator[tuple[int, Float32]]:
    """(first query, its and the following queries' scores (some, documents)), as many at a time as memory is meant for.

    Raises `InputError` where the dimensions differ.
    """
    check_dimensions(queries, vectors)
    step = max(1, _SCORES // max(1, len(vectors)))
    for start in range(0, len(queries), step):
        yield start, queries[start : start + step] @ vectors.T


def check_dimensions(queries: Float32, vectors: Float32) -> None:
    """Raise `InputError` where queries and documents have vectors of different dimensions."""
    if queries.shape[1] != vectors.shape[1]:
        raise InputError(
            f"queries have vectors of {queries.shape[1]} dimensions and documents of {vectors.shape[1]}: they come "
            "from different models"
        )


def _merge(names: Names, scores: Float32, block: Names, computed: Float32) -> None:
    """Merge the scores (queries, documents) of a block of documents into the k best so far, in place."""
    k = scores.shape[1]
    lowest = scores[:, -1]
    if k < computed.shape[1]:  # what cannot be among the block's own k best is not among those of all
        own = np.partition(computed, -k, axis=1)[:, -k] if np.isneginf(lowest).any() else lowest
        lowest = np.maximum(lowest, own)
    queries, places = np.nonzero(computed >= lowest[:, None])
    if not len(queries):
        return
    rows, columns, counts = np.unique(queries, return_index=True, return_counts=True)
    column = k + np.arange(len(queries)) - np.repeat(columns, counts)
    row = np.repeat(np.arange(len(rows)), counts)
    width = k + int(counts.max())
    all_names = np.zeros((len(rows), width), names.dtype)
    all_scores = np.full((len(rows), width), -np.inf, np.float32)
    all_names[:, :k], all_scores[:, :k] = names[rows], scores[rows]
    all_names[row, column], all_scores[row, column] = block[places], computed[queries, places]
    order = np.argsort(-all_scores, axis=1, kind="stable")
    all_names = np.take_along_axis(all_names, order, axis=1)
    all_scores = np.take_along_axis(all_scores, order, axis=1)
    _order_ties(all_names, all_scores, k)
    names[rows], scores[rows] = all_names[:, :k], all_scores[:, :k]


def _order_ties(names: Names, scores: Float32, k: int) -> None:
    """Order names of equal scores by name, the greater first, in place; scores are sorted, best first."""
    equal = (scores[:, 1:] == scores[:, :-1]) & ~np.isneginf(scores[:, 1:])
    equal[:, k:] = False  # behind the cut only what equals the last of the k matters
    for row in np.flatnonzero(equal.any(axis=1)).tolist():
        of_row = scores[row]
        for score in np.unique(of_row[:-1][equal[row]]):
            tied = of_row == score
            names[row, tied] = np.sort(names[row, tied])[::-1]
