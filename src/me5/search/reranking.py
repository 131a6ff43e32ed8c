"""Hits in the order that a cross-encoder gives them, which reads the question and each passage together."""

from collections.abc import Sequence
from dataclasses import replace

from me5.reranker import Reranker
from me5.search.hits import Hit

# Hits of the first search that are read, unless more are wanted. A cross-encoder takes as long for each as the model of
# the store took to embed it.
CANDIDATES = 50


def reranked(hits: Sequence[Hit], question: str, reranker: Reranker, k: int) -> list[Hit]:
    """The best `k` of the hits, best first, with the reranker's scores. A title stands before its text."""
    ranked = reranker.rank(question, [f"{hit.title} {hit.text}".strip() for hit in hits], top=k)
    return [replace(hits[one.index], score=one.score) for one in ranked]
