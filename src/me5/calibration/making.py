"""Labelled pairs → a calibration with its figures; or the figures of one that is there, on other pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from me5._version import __version__
from me5.calibration import fitting, risk
from me5.calibration.applied import Calibration, Cut, check_share
from me5.calibration.bound import Sides, Vectors
from me5.calibration.curve import Floats
from me5.calibration.judging import Judged, error_of, judge, shown_from
from me5.calibration.pairs import Set, neighbourhoods_of, together
from me5.calibration.scored import Scored
from me5.errors import CalibrationError
from me5.evaluation.protocols.shown import histogram

NOTHING = (
    "the cosines do not tell relevant pairs from irrelevant ones (AUC {auc.value:.3f}, 95 % interval {auc.low:.3f} to "
    "{auc.high:.3f}): there is no calibration, and no threshold"
)


@dataclass(frozen=True)
class Made:
    """What came out; `calibration` is None, and `verdict` says why, where cosines tell nothing about these pairs."""

    calibration: Calibration | None
    verdict: str
    figures: Mapping[str, Any]


def calibrate(
    sets: Sequence[Set],
    vectors: Vectors,
    sides: Sides,
    *,
    prior: float | None = None,
    risks: Sequence[float] = risk.RISKS,
    confidence: float = risk.CONFIDENCE,
    about: Mapping[str, Any] | None = None,
) -> Made:
    """A calibration of the pairs of all sets together; of retrieval sets alone, by cosines above the neighbourhood.

    `prior` is the share of the pairs that are relevant in use, None the labelled one; cuts hold for that one alone.
    Raises `InputError` for too few pairs.
    """
    for name, value in (("prior", prior), ("confidence", confidence), *(("risk", one) for one in risks)):
        if value is not None:
            check_share(name, value)
    pairs, neighbourhood = together(sets), neighbourhoods_of(sets)
    if neighbourhood is not None:
        pairs = replace(pairs, cosine=pairs.cosine - neighbourhood + neighbourhood.mean())
    method = fitting.method_for(pairs.relevant)
    predicted = fitting.held_out(pairs, method)
    judged = judge(pairs, predicted, prior or pairs.share)
    if judged.auc.low <= 0.5:
        return Made(None, NOTHING.format(auc=judged.auc), _figures(pairs, judged, sets, predicted))
    try:
        curve = fitting.fit(pairs.cosine, pairs.relevant, method)
    except CalibrationError as error:
        return Made(None, str(error), _figures(pairs, judged, sets, predicted))
    cuts = () if prior is not None else tuple(risk.cut(pairs, one, confidence) for one in sorted(risks, reverse=True))
    figures = _figures(pairs, judged, sets, predicted) | _cuts(pairs, cuts)
    made = {"me5": __version__, "method": method, **(about or {}), **_counts(pairs)}
    middle = None if neighbourhood is None else round(float(neighbourhood.mean()), 6)
    found = Calibration(vectors, sides, curve, pairs.share, prior or pairs.share, cuts, middle, figures, made)
    return Made(found, verdict_of(found), figures)


def judge_on(calibration: Calibration, sets: Sequence[Set]) -> Mapping[str, Any]:
    """The figures of a calibration on pairs that it was not made of, at the share of relevant pairs that it is for."""
    raw = together(sets)
    pairs = replace(raw, cosine=calibration.placed(raw.cosine, neighbourhoods_of(sets)))
    predicted = calibration.of_placed(pairs.cosine)
    figures = _figures(pairs, judge(pairs, predicted, pairs.share), sets, predicted) | _cuts(pairs, calibration.cuts)
    if calibration.neighbourhood is not None:
        unplaced = _by_set(sets, calibration.of_placed(raw.cosine))
        for one, other in zip(figures["sets"], unplaced, strict=True):
            one["unplaced"] = round(other["error"], 4)
    return figures


def verdict_of(calibration: Calibration) -> str:
    """Where to cut, in a sentence; that there is nowhere, where there is nowhere."""
    kept = [cut for cut in calibration.cuts if cut.cosine is not None]
    lost = [cut for cut in calibration.cuts if cut.cosine is None]
    if not calibration.cuts:
        return "no cuts were made: they hold for the share of relevant pairs among the labelled ones alone"
    parts = [
        f"from cosine {cut.cosine:.4f} on at most {100 * cut.risk:g} % of what a question is shown is irrelevant, in "
        "the mean over questions"
        for cut in kept
    ]
    if lost:
        risks = ", ".join(f"{100 * cut.risk:g} %" for cut in lost)
        parts.append(
            f"no threshold keeps that at {risks}" if kept else
            f"no threshold works: none keeps irrelevant passages at {risks} or below"
        )  # fmt: skip
    return "; ".join(parts)


def _counts(pairs: Scored) -> dict[str, Any]:
    return {"pairs": len(pairs), "questions": pairs.questions, "relevant": int(pairs.relevant.sum())}


def _figures(pairs: Scored, judged: Judged, sets: Sequence[Set], predicted: Floats) -> dict[str, Any]:
    """As JSON, figures with four digits."""
    content = {
        **_counts(pairs),
        **asdict(judged),
        "histogram": histogram(pairs.cosine[pairs.relevant].tolist(), pairs.cosine[~pairs.relevant].tolist()),
        "sets": _by_set(sets, predicted),
    }
    rounded: dict[str, Any] = _rounded(content)
    return rounded


def _cuts(pairs: Scored, cuts: Sequence[Cut]) -> dict[str, Any]:
    """What each cut means for these pairs."""
    rows = [{"risk": cut.risk, **asdict(shown_from(pairs, cut.cosine))} for cut in cuts if cut.cosine is not None]
    return {"cuts": _rounded(rows)}


def _by_set(sets: Sequence[Set], predicted: Floats) -> list[dict[str, Any]]:
    """Of each set the share of relevant pairs, their mean probability, and the calibration error."""
    rows, start = [], 0
    for one in sets:
        mine = predicted[start : start + len(one.cosine)]
        start += len(one.cosine)
        rows.append({
            "name": one.name, "languages": list(one.languages), "questions": len(np.unique(one.question)),
            "pairs": len(mine), "predicted": float(mine.mean()), "observed": float(one.relevant.mean()),
            "error": error_of(mine, one.relevant.astype(float)),
        })  # fmt: skip
    return rows


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value
