"""Exact search by dot product, a block of documents and some queries at a time."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from me5.errors import InputError

Float32 = npt.NDArray[np.float32]
Ranking = dict[str, float]
Block = tuple[Sequence[str], Float32]
# Scores that are computed together: 64 MB.
_SCORES = 2**24


def search(queries: Float32, blocks: Iterable[Block], k: int) -> list[Ranking]:
    """For each query (n, dim) its k best documents and their scores, best first, from blocks of (ids, vectors).

    Equal scores rank by descending id, as trec_eval does, also where the cut at k falls between them. Memory holds one
    block, `_SCORES` scores, and k documents a query.
    """
    best: list[list[tuple[float, str]]] = [[] for _ in queries]
    for ids, vectors in blocks:
        for at, row in _rows(queries, vectors):
            held = best[at]
            # Once k are held, only what reaches the last of them matters: after some blocks, hardly any document.
            places = np.flatnonzero(row >= held[-1][0]) if len(held) == k else np.arange(len(row))
            if len(places) > k:
                chosen = row[places]
                places = places[chosen >= np.partition(chosen, -k)[-k]]
            if len(places):
                found = [(float(row[place]), ids[place]) for place in places.tolist()]
                best[at] = sorted(held + found, reverse=True)[:k]
    return [{name: score for score, name in ranking} for ranking in best]


def rerank(queries: Float32, candidates: Sequence[Sequence[str]], blocks: Iterable[Block]) -> list[Ranking]:
    """For each query (n, dim) the scores of its own candidates, from blocks of (ids, vectors) that hold them all."""
    asking: dict[str, list[int]] = {}
    for at, listed in enumerate(candidates):
        for name in listed:
            asking.setdefault(name, []).append(at)
    found: list[Ranking] = [{} for _ in queries]
    for ids, vectors in blocks:
        _check(queries, vectors)
        for name, vector in zip(ids, vectors, strict=True):
            places = asking.get(name, [])
            for at, score in zip(places, (queries[places] @ vector).tolist(), strict=True):
                found[at][name] = score
    return found


def nearest(left: Float32, right: Float32) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each row of `left` the place of its best in `right`, and the other way round; the first of equal ones."""
    forth = np.zeros(len(left), np.int64)
    back, highest = np.zeros(len(right), np.int64), np.full(len(right), -np.inf, np.float32)
    for start, scores in _chunks(left, right):
        forth[start : start + len(scores)] = scores.argmax(axis=1)
        rows, tops = scores.argmax(axis=0), scores.max(axis=0)
        better = tops > highest
        back[better], highest[better] = rows[better] + start, tops[better]
    return forth, back


def best_other(left: Float32, right: Float32, gold: npt.NDArray[np.int64]) -> tuple[Float32, npt.NDArray[np.int64]]:
    """For each row of `left` the score and place of its best in `right` that is not its gold one."""
    score, place = np.full(len(left), -np.inf, np.float32), np.zeros(len(left), np.int64)
    for start, scores in _chunks(left, right):
        rows = np.arange(len(scores))
        scores[rows, gold[start : start + len(scores)]] = -np.inf
        place[start : start + len(scores)] = scores.argmax(axis=1)
        score[start : start + len(scores)] = scores.max(axis=1)
    return score, place


def _rows(queries: Float32, vectors: Float32) -> Iterator[tuple[int, Float32]]:
    for start, scores in _chunks(queries, vectors):
        yield from enumerate(scores, start)


def _chunks(queries: Float32, vectors: Float32) -> Iterator[tuple[int, Float32]]:
    """(first query, scores) of as many queries at a time as memory is meant for."""
    _check(queries, vectors)
    step = max(1, _SCORES // max(1, len(vectors)))
    for start in range(0, len(queries), step):
        yield start, queries[start : start + step] @ vectors.T


def _check(queries: Float32, vectors: Float32) -> None:
    if queries.shape[1] != vectors.shape[1]:
        raise InputError(
            f"queries have vectors of {queries.shape[1]} dimensions and documents of {vectors.shape[1]}: they come "
            "from different models"
        )


def groups(ids_and_texts: Iterable[tuple[str, str]], size: int) -> Iterator[tuple[list[str], list[str]]]:
    """Ids and texts of `size` documents at a time."""
    ids: list[str] = []
    texts: list[str] = []
    for name, text in ids_and_texts:
        ids.append(name)
        texts.append(text)
        if len(ids) == size:
            yield ids, texts
            ids, texts = [], []
    if ids:
        yield ids, texts
