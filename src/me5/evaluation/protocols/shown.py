"""What a report draws of a task: how scores spread, and the worst failures to read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# Failures kept of a subset, and characters of a text.
FAILURES, CHARACTERS = 8, 400
_BIN = 0.01


def histogram(right: Iterable[float], wrong: Iterable[float]) -> dict[str, Any]:
    """Counts of cosines in bins of 0.01 from `start`: of what belongs together, and of what does not."""
    columns = [np.floor(np.fromiter(values, float) / _BIN + 1e-9).astype(int) for values in (right, wrong)]
    if not all(len(column) for column in columns):
        return {}
    low = min(int(column.min()) for column in columns)
    high = max(int(column.max()) for column in columns)
    counts = [np.bincount(column - low, minlength=high - low + 1).tolist() for column in columns]
    return {"start": round(low * _BIN, 4), "width": _BIN, "right": counts[0], "wrong": counts[1]}


def worst(samples: Mapping[str, float]) -> list[str]:
    """The names of the lowest samples below 1, lowest first."""
    below = sorted((value, name) for name, value in samples.items() if value < 1)
    return [name for _, name in below[:FAILURES]]


def lowest(values: npt.NDArray[np.floating[Any]], among: Sequence[int] | npt.NDArray[np.int64]) -> list[int]:
    """The places of the lowest values among some."""
    places = np.asarray(among, np.int64)
    return [int(at) for at in places[np.argsort(values[places], kind="stable")][:FAILURES]]


def text(text: str, score: float | None = None, rank: int | None = None) -> dict[str, Any]:
    """A text as a failure shows it: cut, with score and rank where it has any."""
    cut = text if len(text) <= CHARACTERS else text[: CHARACTERS - 1] + "…"
    entry: dict[str, Any] = {"text": cut}
    if score is not None:
        entry["score"] = round(float(score), 4)
    if rank is not None:
        entry["rank"] = rank
    return entry


def failure(asked: str, found: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was asked, what was found, and what should have been."""
    return {"asked": text(asked)["text"], "found": list(found), "wanted": list(wanted)}
