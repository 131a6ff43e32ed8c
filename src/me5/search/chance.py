"""What chance brings about: where random pairs of a store's own texts lie, by the languages of both."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from me5._version import __version__
from me5.calibration.background import LEAST_PAIRS, Background, measured, pair
from me5.calibration.bound import Sides, Vectors
from me5.embedder import Embedder
from me5.errors import InputError, counted
from me5.search.splitting import sentences
from me5.search.store import Store
from me5.vectors import cosines

# Some 600,000 pairs, of which the highest ones matter.
QUESTIONS, PASSAGES = 300, 2000
_COLUMNS = ("source", "at", "text", "language", "vector")


def measure(store: Store, embedder: Embedder, seed: int = 0) -> Background:
    """Sentences of random passages, embedded as questions, beside random passages of other documents.

    Raises `InputError` for a store whose passages are of too few documents.
    """
    rows = store.sample(PASSAGES, seed, columns=_COLUMNS)
    if not rows:
        raise InputError(f"{store.uri} holds no passages; index documents first")
    drawn = np.random.default_rng(seed)
    asked = [rows[at] for at in drawn.permutation(len(rows))[:QUESTIONS]]
    texts = [_sentence(row["text"], drawn) for row in asked]
    scores = cosines(embedder.encode_query(texts), np.array([row["vector"] for row in rows], np.float32))
    (question, documents), languages = _numbers([asked, rows], ("source", "at")), _names(asked, rows)
    others = question[:, None] != documents[None, :]
    if others.sum() < LEAST_PAIRS:
        raise InputError(
            f"{store.uri} has {counted(int(others.sum()), 'pair')} of passages of different documents among those "
            f"drawn, expected {LEAST_PAIRS:,}: index more documents"
        )
    made = {"me5": __version__, "questions": len(asked), "passages": len(rows), "pairs": int(others.sum())}
    vectors = Vectors.of(embedder.checkpoint, embedder.precision, embedder.dim)
    table = measured(scores[others].astype(float), languages[others])
    return Background(vectors, Sides.of(embedder.prompts), table, made)


def _sentence(text: str, drawn: np.random.Generator) -> str:
    start, end = drawn.choice(sentences(text) or [(0, len(text))])
    return text[start:end]


def _numbers(groups: Sequence[Sequence[Mapping[str, Any]]], columns: Sequence[str]) -> list[Any]:
    """A number for every row, equal where the columns are."""
    seen: dict[tuple[Any, ...], int] = {}
    return [
        np.array([seen.setdefault(tuple(row[name] for name in columns), len(seen)) for row in rows]) for rows in groups
    ]


def _names(asked: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> Any:
    """The name of both languages of each pair (asked, rows)."""
    codes = sorted({row["language"] for row in (*asked, *rows)})
    table = np.array([[pair(one, other) for other in codes] for one in codes])
    left, right = (np.array([codes.index(row["language"]) for row in some]) for some in (asked, rows))
    return table[left[:, None], right[None, :]]
