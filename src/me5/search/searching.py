"""A question's vector → hits from the store, and the best sentence of each."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from me5.embedder import Float32
from me5.errors import InputError
from me5.search.hits import Hit
from me5.search.splitting import sentences
from me5.search.store import Store


@dataclass(frozen=True)
class Question:
    """What is asked of a store: see `Index.search`."""

    text: str
    k: int = 10
    where: str | None = None
    hybrid: bool = False
    exact: bool = False


def find(store: Store, question: Question, vector: Float32) -> list[Hit]:
    """The hits for a question with this vector (dim,), best first. Raises `InputError`."""
    if question.k < 1:
        raise InputError(f"k must be at least 1, got {question.k}")
    if not (question.hybrid and question.text.strip()):
        rows = store.nearest(vector, question.k, where=question.where, exact=question.exact)
    elif store.has_text_index():
        rows = store.hybrid(vector, question.text, question.k, where=question.where, exact=question.exact)
    else:
        raise InputError(f"{store.uri} has no full-text index yet; finish indexing first (Index.finish, me5 index)")
    return [_hit(row) for row in rows]


def sentences_of(hits: Sequence[Hit]) -> list[str]:
    """Every sentence of every hit, in order: what `highlighted` wants the scores of."""
    return [hit.text[start:end] for hit in hits for start, end in sentences(hit.text)]


def highlighted(hits: Sequence[Hit], scores: Sequence[float]) -> list[Hit]:
    """The hits with their best sentences, by a score for every sentence of `sentences_of`."""
    left: Iterator[float] = iter(scores)
    best = [max(((next(left), span) for span in sentences(hit.text)), default=(0.0, None))[1] for hit in hits]
    return [replace(hit, best=span) for hit, span in zip(hits, best, strict=True)]


def _hit(row: Mapping[str, Any]) -> Hit:
    metadata = row["metadata"]
    return Hit(
        score=float(row["_relevance_score"]) if "_relevance_score" in row else 1 - float(row["_distance"]),
        source=row["source"],
        title=row["title"],
        text=row["text"],
        start=row["start"],
        end=row["end"],
        at=row["at"],
        language=row["language"],
        kind=row["kind"],
        metadata=json.loads(metadata) if metadata else {},
        id=row["id"],
    )
