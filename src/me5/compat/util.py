"""`sentence_transformers.util` as far as scripts need it beside a model; the rest comes from the real one."""

from collections.abc import Callable
from typing import Any

import numpy as np

from me5.compat.scores import (
    cos_sim,
    dot_score,
    euclidean_sim,
    manhattan_sim,
    pairwise_cos_sim,
    pairwise_dot_score,
    pairwise_euclidean_sim,
    pairwise_manhattan_sim,
    unit_rows,
)
from me5.compat.tensors import array, tensor
from me5.errors import InputError, MissingExtraError
from me5.grouping import communities, nearest_pairs
from me5.nearest import top_k
from me5.quantization import Form, Rows, quantized, ranges_of

__all__ = [
    "community_detection", "cos_sim", "dot_score", "euclidean_sim", "manhattan_sim", "normalize_embeddings",
    "pairwise_cos_sim", "pairwise_dot_score", "pairwise_euclidean_sim", "pairwise_manhattan_sim", "paraphrase_mining",
    "paraphrase_mining_embeddings", "pytorch_cos_sim", "quantize_embeddings", "semantic_search", "truncate_embeddings",
]  # fmt: skip

pytorch_cos_sim = cos_sim
Score = Callable[[Any, Any], Any]


def __getattr__(name: str) -> Any:
    """Everything else, such as `mine_hard_negatives`, from sentence-transformers itself where it is installed."""
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        from sentence_transformers import util
    except ImportError as error:
        raise MissingExtraError(
            f"me5.compat.util has no {name} of its own, and sentence-transformers, which may have one, is not "
            "installed: pip install sentence-transformers"
        ) from error
    return getattr(util, name)


def semantic_search(
    query_embeddings: Any,
    corpus_embeddings: Any,
    query_chunk_size: int = 100,  # noqa: ARG001 (blocks are chosen by memory)
    corpus_chunk_size: int = 500_000,  # noqa: ARG001
    top_k: int = 10,
    score_function: Score = cos_sim,
) -> list[list[dict[str, int | float]]]:
    """For each query its `top_k` best vectors of the corpus, best first: `corpus_id` and `score`."""
    names, scores = _best(query_embeddings, corpus_embeddings, top_k, score_function)
    return [
        [{"corpus_id": int(name), "score": float(score)} for name, score in zip(*row, strict=True) if score > -np.inf]
        for row in zip(names, scores, strict=True)
    ]


def paraphrase_mining(
    model: Any,
    sentences: list[str],
    show_progress_bar: bool = False,
    batch_size: int = 32,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100_000,
    max_pairs: int = 500_000,
    top_k: int = 100,
    score_function: Score = cos_sim,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
) -> list[list[float | int]]:
    """The pairs of sentences whose vectors are nearest, best first: score, place, place."""
    embeddings = model.encode(
        sentences, show_progress_bar=show_progress_bar, batch_size=batch_size, truncate_dim=truncate_dim,
        prompt_name=prompt_name, prompt=prompt,
    )  # fmt: skip
    return paraphrase_mining_embeddings(
        embeddings, query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function
    )


def paraphrase_mining_embeddings(
    embeddings: Any,
    query_chunk_size: int = 5000,  # noqa: ARG001 (blocks are chosen by memory)
    corpus_chunk_size: int = 100_000,  # noqa: ARG001
    max_pairs: int = 500_000,
    top_k: int = 100,
    score_function: Score = cos_sim,
) -> list[list[float | int]]:
    """The nearest pairs of vectors, best first: score, place, place."""
    if score_function not in (cos_sim, dot_score):
        raise InputError("pairs are compared by cos_sim or dot_score here; for another score use sentence_transformers")
    vectors = unit_rows(embeddings) if score_function is cos_sim else array(embeddings)
    scores, pairs = nearest_pairs(vectors, neighbours=top_k, most=max_pairs)
    return [[score, *pair] for score, pair in zip(scores.tolist(), pairs.tolist(), strict=True)]


def community_detection(
    embeddings: Any,
    threshold: float = 0.75,
    min_community_size: int = 10,
    batch_size: int = 1024,  # noqa: ARG001 (blocks are chosen by memory)
    show_progress_bar: bool = False,  # noqa: ARG001
) -> list[list[int]]:
    """Groups of vectors around a central one, which comes first; the largest group first."""
    return communities(unit_rows(embeddings), threshold, min_community_size) if len(embeddings) else []


def quantize_embeddings(
    embeddings: Any,
    precision: Form,
    ranges: Any = None,
    calibration_embeddings: Any = None,
) -> Rows:
    """Vectors in fewer bytes, with a range for each dimension: that of `calibration_embeddings`, else their own."""
    vectors = array(embeddings)
    if precision in ("int8", "uint8") and ranges is None and len(vectors):
        sample = vectors if calibration_embeddings is None else array(calibration_embeddings)
        if len(sample) < 2:
            raise InputError(f"{precision} needs the ranges of more than one vector: pass `ranges`, or more vectors")
        ranges = ranges_of(sample)
    return quantized(vectors, precision, ranges)


def normalize_embeddings(embeddings: Any) -> Any:
    """The same vectors at unit length."""
    return tensor(unit_rows(embeddings))


def truncate_embeddings(embeddings: Any, truncate_dim: int | None) -> Any:
    """The first numbers of every vector, as they are."""
    return embeddings[..., :truncate_dim]


def _best(queries: Any, corpus: Any, k: int, score: Score) -> tuple[Rows, Rows]:
    if score is cos_sim:
        left, right = unit_rows(queries), unit_rows(corpus)
    else:
        left, right = np.atleast_2d(array(queries)), np.atleast_2d(array(corpus))
    if k < 1:
        raise InputError(f"top_k must be at least 1, got {k}")
    k = min(k, len(right))
    if score in (cos_sim, dot_score):
        return top_k(left, [(np.arange(len(right)), right)], k)
    scores = array(score(left, right))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(scores, order, axis=1)
