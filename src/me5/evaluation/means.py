"""Results of many sets in few figures: means by task and model, and tables of subsets by model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from me5.evaluation.results import Result


@dataclass(frozen=True)
class Mean:
    """The mean main figure of one model over the subsets of one task."""

    task: str
    type: str
    model: str
    main: str
    score: float
    sets: int


def means(results: Sequence[Result]) -> list[Mean]:
    """One mean per task, model and main figure, in the order of their coming."""
    grouped: dict[tuple[str, str, str, str], list[float]] = {}
    for result in results:
        key = (result.subset.task, result.type, result.model, result.outcome.main)
        grouped.setdefault(key, []).append(result.outcome.score)
    return [Mean(*key, float(np.mean(scores)), len(scores)) for key, scores in grouped.items()]


def by_subset(results: Sequence[Result]) -> Mapping[str, Mapping[str, Result]]:
    """Subset -> model -> result, of the results of one task."""
    table: dict[str, dict[str, Result]] = {}
    for result in results:
        table.setdefault(result.subset.name, {})[result.model] = result
    return table


def by_task(results: Sequence[Result]) -> Mapping[str, list[Result]]:
    """Task -> its results."""
    grouped: dict[str, list[Result]] = {}
    for result in results:
        grouped.setdefault(result.subset.task, []).append(result)
    return grouped
