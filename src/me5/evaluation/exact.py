"""Rankings by dot product, exact: of all documents, of each query's own candidates, of two languages' sentences."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from me5.nearest import check_dimensions, score_blocks, top_k
from me5.vectors import Float32

Ranking = dict[str, float]
Block = tuple[Sequence[str], Float32]


def search(queries: Float32, blocks: Iterable[Block], k: int) -> list[Ranking]:
    """For each query (n, dim) its k best documents and their scores, best first, from blocks of (ids, vectors).

    Equal scores rank by descending id, as trec_eval does, also where the cut at k falls between them. Memory: `top_k`.
    """
    names, scores = top_k(queries, ((np.array(ids, object), vectors) for ids, vectors in blocks), k)
    found = (scores > -np.inf).sum(axis=1).tolist()
    return [
        dict(zip(names[at, :count].tolist(), scores[at, :count].tolist(), strict=True))
        for at, count in enumerate(found)
    ]


def rerank(queries: Float32, candidates: Sequence[Sequence[str]], blocks: Iterable[Block]) -> list[Ranking]:
    """For each query (n, dim) the scores of its own candidates, from blocks of (ids, vectors) that hold them all."""
    asking: dict[str, list[int]] = {}
    for at, listed in enumerate(candidates):
        for name in listed:
            asking.setdefault(name, []).append(at)
    found: list[Ranking] = [{} for _ in queries]
    for ids, vectors in blocks:
        check_dimensions(queries, vectors)
        for name, vector in zip(ids, vectors, strict=True):
            places = asking.get(name, [])
            for at, score in zip(places, (queries[places] @ vector).tolist(), strict=True):
                found[at][name] = score
    return found


def nearest(left: Float32, right: Float32) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each row of `left` the place of its best in `right`, and the other way round; the first of equal ones."""
    forth = np.zeros(len(left), np.int64)
    back, highest = np.zeros(len(right), np.int64), np.full(len(right), -np.inf, np.float32)
    for start, scores in score_blocks(left, right):
        forth[start : start + len(scores)] = scores.argmax(axis=1)
        rows, tops = scores.argmax(axis=0), scores.max(axis=0)
        better = tops > highest
        back[better], highest[better] = rows[better] + start, tops[better]
    return forth, back


def best_other(left: Float32, right: Float32, gold: npt.NDArray[np.int64]) -> tuple[Float32, npt.NDArray[np.int64]]:
    """For each row of `left` the score and place of its best in `right` that is not its gold one."""
    score, place = np.full(len(left), -np.inf, np.float32), np.zeros(len(left), np.int64)
    for start, scores in score_blocks(left, right):
        rows = np.arange(len(scores))
        scores[rows, gold[start : start + len(scores)]] = -np.inf
        place[start : start + len(scores)] = scores.argmax(axis=1)
        score[start : start + len(scores)] = scores.max(axis=1)
    return score, place


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
