"""How good probabilities are: AUC, calibration error, precision and recall by threshold; intervals over questions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from me5.calibration.curve import Floats, moved
from me5.calibration.scored import Ints, Scored

RESAMPLES, CHANCES = 1000, 200
BINS = 10
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
_SEED = 0


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % percentile bootstrap interval over questions."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Pairs of similar probability: their mean probability, the share of relevant ones, their number."""

    predicted: float
    observed: float
    pairs: int


@dataclass(frozen=True)
class Threshold:
    """What showing pairs from a probability on means.

    `precision` is the share of relevant pairs among those that are shown (None where none is), `recall` the share of
    relevant pairs that are shown, `answered` the share of questions that are shown something.
    """

    probability: float
    precision: Figure | None
    recall: Figure
    answered: float


@dataclass(frozen=True)
class Judged:
    """The figures of held-out probabilities.

    `error` is the expected calibration error over ten bins from 0 to 1; `chance` is what it would be for probabilities
    that are right, as labels fall by chance (mean, and the value that 95 % stay below). `brier` is the mean square of
    probability minus label.
    """

    auc: Figure
    error: Figure
    chance: tuple[float, float]
    brier: Figure
    bins: tuple[Bin, ...]
    thresholds: tuple[Threshold, ...]


@dataclass(frozen=True)
class Shown:
    """What showing pairs from a cosine on means: the share of relevant ones among all that are shown, and the others.

    None where nothing is shown. `recall` and `answered` as in `Threshold`.
    """

    cosine: float
    precision: float | None
    recall: float
    answered: float


def judge(pairs: Scored, held_out: Floats, prior: float) -> Judged:
    """Judge probabilities at the labelled share; precision is that at `prior`, the share of relevant pairs in use."""
    draws, bins = _draws(pairs.questions), _bins(held_out)
    relevant = pairs.relevant.astype(float)
    auc = auc_of(pairs)
    counts = _by_question(pairs, np.ones((1, len(pairs))))
    gaps = _by_question(pairs, np.where(bins == np.arange(BINS)[:, None], held_out - relevant, 0.0))
    squares = _by_question(pairs, ((held_out - relevant) ** 2)[None])
    total = (draws @ counts)[:, 0]
    return Judged(
        auc=_figure(np.array([auc(draw[pairs.question]) for draw in draws])),
        error=_figure(np.abs(draws @ gaps).sum(axis=1) / total),
        chance=_chance(held_out, bins),
        brier=_figure((draws @ squares)[:, 0] / total),
        bins=_binned(held_out, relevant, bins),
        thresholds=tuple(_threshold(pairs, held_out, at, prior, draws) for at in THRESHOLDS),
    )


def shown_from(pairs: Scored, cosine: float) -> Shown:
    """What a cut means for these pairs."""
    shown = pairs.cosine >= cosine
    found = int(shown.sum())
    hits = int((shown & pairs.relevant).sum())
    answered = len(np.unique(pairs.question[shown])) / pairs.questions
    return Shown(cosine, hits / found if found else None, hits / int(pairs.relevant.sum()), answered)


def error_of(predicted: Floats, relevant: Floats) -> float:
    """The expected calibration error of probabilities: how far they lie from what was found, in the mean over bins."""
    return float(np.abs(np.bincount(_bins(predicted), predicted - relevant, BINS)).sum() / len(predicted))


def auc_of(pairs: Scored) -> Callable[[Floats], float]:
    """The AUC of cosines under any weights: how often a relevant pair lies above an irrelevant one, ties by half."""
    order = np.argsort(pairs.cosine, kind="stable")
    scores, relevant = pairs.cosine[order], pairs.relevant[order]
    starts = np.flatnonzero(np.r_[True, np.diff(scores) > 0])

    def auc(weights: Floats) -> float:
        ordered = weights[order]
        right, wrong = (np.add.reduceat(np.where(kind, ordered, 0.0), starts) for kind in (relevant, ~relevant))
        total = right.sum() * wrong.sum()
        return float((right * (np.cumsum(wrong) - wrong / 2)).sum() / total) if total else float("nan")

    return auc


def _draws(questions: int) -> Floats:
    """How often each question was drawn (resamples + 1, questions); the first row has all of them once."""
    rng = np.random.default_rng(_SEED)
    drawn = [np.bincount(rng.integers(0, questions, questions), minlength=questions) for _ in range(RESAMPLES)]
    return np.array([np.ones(questions), *drawn])


def _by_question(pairs: Scored, columns: Floats) -> Floats:
    """Columns (n, pairs), summed over the pairs of each question: (questions, n)."""
    return np.array([np.bincount(pairs.question, column, pairs.questions) for column in columns]).T


def _figure(values: Floats) -> Figure:
    """The first value, with the spread of the others."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return Figure(float(values[0]), float(low), float(high))


def _bins(probabilities: Floats) -> Ints:
    """The bin of each pair."""
    return np.minimum(probabilities * BINS, BINS - 1).astype(np.int64)


def _chance(predicted: Floats, bins: Ints) -> tuple[float, float]:
    rng = np.random.default_rng(_SEED)
    gaps = (predicted - (rng.random(len(predicted)) < predicted) for _ in range(CHANCES))
    errors = [float(np.abs(np.bincount(bins, gap, BINS)).sum() / len(predicted)) for gap in gaps]
    return float(np.mean(errors)), float(np.percentile(errors, 95))


def _binned(predicted: Floats, observed: Floats, bins: Ints) -> tuple[Bin, ...]:
    counts = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, values, BINS) for values in (predicted, observed)]
    return tuple(
        Bin(float(sums[0][at] / count), float(sums[1][at] / count), int(count))
        for at, count in enumerate(counts.tolist()) if count
    )  # fmt: skip


def _threshold(pairs: Scored, predicted: Floats, at: float, prior: float, draws: Floats) -> Threshold:
    shown = moved(predicted, pairs.share, prior) >= at
    weights = pairs.weights(prior)
    kinds = (shown & pairs.relevant, shown & ~pairs.relevant, pairs.relevant)
    right, wrong, there = (draws @ _by_question(pairs, np.array([np.where(kind, weights, 0.0) for kind in kinds]))).T
    with np.errstate(invalid="ignore"):  # a draw without anything shown, or without relevant pairs
        precision, recall = right / (right + wrong), right / there
    answered = len(np.unique(pairs.question[shown])) / pairs.questions
    return Threshold(at, _figure(precision) if shown.any() else None, _figure(recall), answered)
