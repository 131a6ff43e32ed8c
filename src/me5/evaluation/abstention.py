"""Abstention as mteb has it: what leaving the queries unanswered gains it is least sure of (arXiv 2402.12997).

A model is as sure of a query as its best score is high, as its scores spread, or as the best one leads.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from me5.calibration.curve import Floats
from me5.evaluation.exact import Ranking

# Shares of the queries that are left unanswered.
_RATES = np.arange(10) / 10


def confidences(rankings: Sequence[Ranking]) -> dict[str, Floats]:
    """How sure each ranking is, by mteb's names: `max`, `std`, `diff1`. One that found nothing is not sure at all."""
    scores = [np.sort(np.fromiter(ranking.values(), float)) for ranking in rankings]
    return {
        "max": np.array([one[-1] if len(one) else 0.0 for one in scores]),
        "std": np.array([one.std() if len(one) else 0.0 for one in scores]),
        "diff1": np.array([one[-1] - one[-2] if len(one) > 1 else 0.0 for one in scores]),
    }


def gain(confidence: Floats, figure: Floats) -> float | None:
    """What abstaining by a confidence gains of a figure, each one per query.

    1: as much as by the figure itself; 0: nothing; below: it costs. None where nothing could be gained: all are equal.
    """
    flat = float(figure.mean())
    reached, possible = (_area(by, figure) - flat * _RATES[-1] for by in (confidence, figure))
    return None if np.isclose(possible, 0.0, atol=1e-12) else float(reached / possible)


def gains(figures: Mapping[str, Mapping[str, float]], confidence: Mapping[str, Floats]) -> dict[str, float]:
    """`nauc_FIGURE_CONFIDENCE` of every figure, which has a value per query in the order of the confidences."""
    found = {}
    for name, of_query in figures.items():
        values = np.fromiter(of_query.values(), float)
        for kind, by in confidence.items():
            if (value := gain(by, values)) is not None:
                found[f"nauc_{name}_{kind}"] = value
    return found


def _area(confidence: Floats, figure: Floats) -> float:
    """The area under the means of the figure over the queries that are left, by the share that was left out."""
    _, group = np.unique(confidence, return_inverse=True)
    # Of queries that are equally sure any may be left out: each stands for their mean.
    means = np.bincount(group, figure) / np.bincount(group)
    values = means[np.sort(group)]
    left = [values[min(round(rate * len(values)), len(values) - 1) :].mean() for rate in _RATES]
    return float(np.trapezoid(left, _RATES))
