"""What a calibration is worth on a retrieval set: how right its probabilities are, what abstaining by them gains."""

from collections.abc import Mapping, Sequence

import numpy as np

from me5.calibration.applied import SHOWN, Calibration
from me5.calibration.curve import Floats
from me5.calibration.judging import error_of
from me5.evaluation.abstention import gain
from me5.evaluation.exact import Ranking


def figures(
    relevant: Mapping[str, Mapping[str, int]],
    rankings: Mapping[str, Ranking],
    neighbourhood: Floats | None,
    samples: Mapping[str, float],
    main: str,
    calibration: Calibration,
) -> dict[str, float]:
    """Figures of the first documents of every query, what nobody judged counting as irrelevant.

    `calibration_error` of the probabilities and `cosine_error` of the cosines, taken for probabilities; `brier`, the
    mean square of probability minus label; `nauc_MAIN_probability`, what abstaining by the best probability gains. The
    rankings are best first, the neighbourhood in their order.
    """
    cosines, labels, places, sure = [], [], [], []
    for place, (query, ranking) in enumerate(rankings.items()):
        first = list(ranking.items())[:SHOWN]
        cosines += [score for _, score in first]
        labels += [relevant[query].get(name, 0) > 0 for name, _ in first]
        places += [place] * len(first)
        best = first[0][1] if first else -1.0
        sure.append(float(calibration.probability(best, None if neighbourhood is None else neighbourhood[place])))
    if not cosines:
        return {}
    found, right = np.array(cosines), np.array(labels, float)
    predicted = calibration.probability(found, None if neighbourhood is None else neighbourhood[np.array(places)])
    scores = {
        "calibration_error": error_of(predicted, right),
        "cosine_error": error_of(found.clip(0, 1), right),
        "brier": float(((predicted - right) ** 2).mean()),
    }
    gained = gain(np.array(sure), _ordered(samples, list(rankings)))
    return scores if gained is None else {**scores, f"nauc_{main}_probability": gained}


def _ordered(samples: Mapping[str, float], queries: Sequence[str]) -> Floats:
    return np.array([samples[query] for query in queries])
