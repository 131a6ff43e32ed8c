"""How much of a figure is chance: bootstrap intervals, and paired tests between two runs on the same examples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap, rankdata
from sklearn.metrics import average_precision_score

from me5.errors import InputError
from me5.evaluation.task import Outcome

Floats = npt.NDArray[np.floating[Any]]
Columns = Mapping[str, Floats]
# Resamples of an interval, and of a test: the smallest p is 1 / 10,000, enough to tell apart some of 100 sets after
# correction. Figures that are no means are computed anew each time and get fewer.
RESAMPLES, PERMUTATIONS, FEW_PERMUTATIONS = 1000, 9999, 1999
_SEED = 0
_AT_ONCE = 2**22  # numbers drawn together: 32 MB


def _spearman(columns: Columns) -> float:
    left, right = rankdata(columns["cosine"]), rankdata(columns["gold"])
    if left.std() == 0 or right.std() == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def _average_precision(columns: Columns) -> float:
    if len(np.unique(columns["gold"])) < 2:
        return float("nan")  # a resample of one kind of pair only
    return max(float(average_precision_score(columns["gold"], columns[name])) for name in ("cosine", "manhattan"))


# Main figures that are no means of examples, from the columns of `Outcome.paired`.
STATISTICS: Mapping[str, Callable[[Columns], float]] = {
    "cosine_spearman": _spearman,
    "max_ap": _average_precision,
}


def interval_of(outcome: Outcome) -> tuple[float, float] | None:
    """95 % percentile bootstrap over the examples, or None where there are fewer than two."""
    if outcome.paired:
        return _interval_of_columns(outcome)
    values = np.array(list(outcome.samples.values()))
    if len(values) < 2:
        return None
    if (values == values[0]).all():
        return float(values[0]), float(values[0])
    rng = np.random.default_rng(_SEED)
    found = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=rng).confidence_interval
    return float(found.low), float(found.high)


def _interval_of_columns(outcome: Outcome) -> tuple[float, float] | None:
    columns = {name: np.asarray(column, float) for name, column in outcome.paired.items()}
    count, statistic = len(columns["gold"]), STATISTICS[outcome.main]
    if count < 2:
        return None
    rng = np.random.default_rng(_SEED)
    spread = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, count, count)
        spread.append(statistic({name: values[rows] for name, values in columns.items()}))
    low, high = np.nanpercentile(spread, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """B minus A in a main figure: its 95 % bootstrap interval, and p of a paired permutation test.

    `spread` and `null` are the resampled differences, kept so that means over several sets can be tested too.
    """

    value: float
    interval: tuple[float, float]
    p: float
    spread: Floats
    null: Floats


def difference(a: Outcome, b: Outcome, where: str) -> Difference:
    """Compare two outcomes on the same examples. Raises `InputError` naming `where` if they are not the same."""
    rng = np.random.default_rng(_SEED)
    if a.main != b.main:
        raise InputError(f"{where}: {a.main} cannot be compared with {b.main}")
    if a.paired:
        return _of_columns(a, b, where, rng)
    if not a.samples or set(a.samples) != set(b.samples):
        raise InputError(f"{where}: the two runs judged different examples, {len(a.samples)} and {len(b.samples)}")
    delta = np.array([b.samples[name] - a.samples[name] for name in a.samples])
    spread, null = np.empty(PERMUTATIONS), np.empty(PERMUTATIONS)
    step = max(1, _AT_ONCE // len(delta))
    for start in range(0, PERMUTATIONS, step):
        size = (min(step, PERMUTATIONS - start), len(delta))
        spread[start : start + size[0]] = delta[rng.integers(0, len(delta), size)].mean(axis=1)
        null[start : start + size[0]] = (delta * (2.0 * rng.integers(0, 2, size) - 1)).mean(axis=1)
    return _difference(b.score - a.score, spread, null)


def _of_columns(a: Outcome, b: Outcome, where: str, rng: np.random.Generator) -> Difference:
    """For figures that are no means: rows are drawn anew, and for the test the two runs' ranks change places."""
    statistic = STATISTICS[a.main]
    gold = np.asarray(a.paired["gold"], float)
    if list(a.paired["gold"]) != list(b.paired.get("gold", ())):
        raise InputError(f"{where}: the two runs judged different pairs")
    names = [name for name in a.paired if name != "gold"]
    count = FEW_PERMUTATIONS
    # Ranks, for two models' cosines have different ranges and could not change places.
    left, right = ({name: rankdata(run.paired[name]) for name in names} for run in (a, b))
    spread, null = np.empty(count), np.empty(count)
    for at in range(count):
        rows = rng.integers(0, len(gold), len(gold))
        spread[at] = statistic({**{name: right[name][rows] for name in names}, "gold": gold[rows]}) - statistic(
            {**{name: left[name][rows] for name in names}, "gold": gold[rows]}
        )
        swap = rng.integers(0, 2, len(gold)).astype(bool)
        first = {name: np.where(swap, right[name], left[name]) for name in names}
        second = {name: np.where(swap, left[name], right[name]) for name in names}
        null[at] = statistic({**second, "gold": gold}) - statistic({**first, "gold": gold})
    return _difference(b.score - a.score, spread, null)


def mean_difference(differences: Sequence[Difference]) -> Difference:
    """The difference of two runs' means over several sets, whose examples are drawn independently."""
    value = float(np.mean([one.value for one in differences]))
    fewest = min(len(one.null) for one in differences)
    spread = np.mean([one.spread[:fewest] for one in differences], axis=0)
    null = np.mean([one.null[:fewest] for one in differences], axis=0)
    return _difference(value, spread, null)


def _difference(value: float, spread: Floats, null: Floats) -> Difference:
    low, high = np.nanpercentile(spread, [2.5, 97.5])
    # The run itself is one of the permutations, so that p is never 0.
    p = (1 + int((np.abs(null) >= abs(value) - 1e-12).sum())) / (1 + len(null))
    return Difference(value, (float(low), float(high)), p, spread, null)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values of several tests, corrected so that all of them together err in 5 % of cases (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order.tolist()):
        highest = max(highest, (len(p_values) - place) * p_values[index])
        corrected[index] = min(1.0, highest)
    return corrected
