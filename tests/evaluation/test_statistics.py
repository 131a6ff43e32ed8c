"""Intervals and tests against scipy's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test, spearmanr

from me5 import InputError
from me5.evaluation.statistics import STATISTICS, difference, holm, interval_of, mean_difference
from me5.evaluation.task import Outcome

RNG = np.random.default_rng(3)


def of_means(values: np.ndarray) -> Outcome:
    return Outcome({"m": float(values.mean())}, "m", {str(at): float(value) for at, value in enumerate(values)})


def of_pairs(cosines: np.ndarray, gold: np.ndarray) -> Outcome:
    score = float(spearmanr(cosines, gold)[0])
    return Outcome(
        {"cosine_spearman": score}, "cosine_spearman", paired={"cosine": cosines.tolist(), "gold": gold.tolist()}
    )


def test_interval_holds_the_mean_and_narrows_with_examples() -> None:
    values = RNG.random(400)

    def width(count: int) -> float:
        low, high = interval_of(of_means(values[:count])) or (0, 0)
        assert low < values[:count].mean() < high
        return high - low

    assert width(400) < width(20)
    expected = 2 * 1.96 * values.std() / np.sqrt(400)
    assert width(400) == pytest.approx(expected, rel=0.15)
    assert interval_of(Outcome({"m": 1.0}, "m")) is None
    assert interval_of(of_means(np.ones(5))) == (1.0, 1.0)


def test_interval_of_a_correlation() -> None:
    """For normal pairs the standard error of a correlation is about (1 − r²) / √n."""
    gold = RNG.standard_normal(500)
    cosines = gold + RNG.standard_normal(500)
    outcome = of_pairs(cosines, gold)
    low, high = interval_of(outcome) or (0, 0)
    assert low < outcome.score < high
    assert high - low == pytest.approx(2 * 1.96 * (1 - outcome.score**2) / np.sqrt(500), rel=0.35)


def test_spearman_is_scipys_with_ties() -> None:
    cosines, gold = RNG.integers(0, 5, 60).astype(float), RNG.integers(0, 5, 60).astype(float)
    columns = {"cosine": cosines, "gold": gold}
    assert STATISTICS["cosine_spearman"](columns) == pytest.approx(spearmanr(cosines, gold)[0])
    assert STATISTICS["cosine_spearman"]({"cosine": np.ones(60), "gold": gold}) == 0.0


def test_p_is_that_of_scipys_permutation_test() -> None:
    a = RNG.random(80)
    b = a + 0.03 + 0.15 * RNG.standard_normal(80)
    found = difference(of_means(a), of_means(b), "here")
    theirs = permutation_test(
        (b - a,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(1)
    )
    assert found.value == pytest.approx((b - a).mean())
    assert found.p == pytest.approx(theirs.pvalue, abs=0.03)
    assert found.interval[0] < found.value < found.interval[1]


def test_equal_runs_do_not_differ_and_clear_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("me5.evaluation.statistics.FEW_PERMUTATIONS", 199)
    gold = RNG.standard_normal(60)
    good, poor = of_pairs(gold + 0.1 * RNG.standard_normal(60), gold), of_pairs(RNG.standard_normal(60), gold)
    assert difference(good, good, "here").p == 1.0
    assert difference(poor, good, "here").p == pytest.approx(1 / 200)
    assert difference(of_means(gold), of_means(gold), "here").p == 1.0
    several = mean_difference([difference(poor, good, "here"), difference(good, good, "here")])
    assert several.value == pytest.approx((good.score - poor.score) / 2)
    assert several.p < 0.02


def test_only_the_same_examples_can_be_compared() -> None:
    with pytest.raises(InputError, match="here: the two runs judged different examples, 5 and 6"):
        difference(of_means(np.ones(5)), of_means(np.ones(6)), "here")
    gold = RNG.standard_normal(9)
    with pytest.raises(InputError, match="here: the two runs judged different pairs"):
        difference(of_pairs(gold, gold), of_pairs(gold, gold + 1), "here")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_by_its_definition(p_values: list[float]) -> None:
    """Step down: reject the smallest p's while each is at most alpha / (number left)."""
    corrected = holm(p_values)
    for alpha in (0.01, 0.05, 0.2):
        rejected = set()
        for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if p_values[index] > alpha / (len(p_values) - place):
                break
            rejected.add(index)
        for index, value in enumerate(corrected):
            if abs(value - alpha) > 1e-9:
                assert (value < alpha) == (index in rejected)
