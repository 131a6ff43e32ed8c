"""Activations and weights as bytes: what moves between them, and the levels that they get."""

import numpy as np
import pytest

from me5.engine.smoothing import Reach, factors, levels, quantized

RANDOM = np.random.default_rng(0)
ACTIVATIONS = RANDOM.normal(size=(200, 32)).astype(np.float32) * np.geomspace(0.01, 40, 32, dtype=np.float32)
MATRIX = RANDOM.normal(size=(48, 32)).astype(np.float32)
REACH = Reach(ACTIVATIONS.min(axis=0), ACTIVATIONS.max(axis=0))


def test_channels_become_alike_and_products_stay() -> None:
    factor = factors(REACH, MATRIX)
    assert np.ptp(np.log(np.abs(ACTIVATIONS / factor).max(axis=0))) < 0.6 * np.ptp(np.log(REACH.high))
    np.testing.assert_allclose((ACTIVATIONS / factor) @ (MATRIX * factor).T, ACTIVATIONS @ MATRIX.T, rtol=0, atol=1e-3)


def test_a_factor_is_the_root_of_a_channels_size_over_its_weights() -> None:
    reach = Reach(np.array([-1, -4], np.float32), np.array([4, 1], np.float32))
    factor = factors(reach, np.array([[1, -9], [-0.5, 3]], np.float32))
    # 4 / 1 and 4 / 9, divided by their geometric mean, 4 / 3: their roots have the mean 1.
    np.testing.assert_allclose(factor, np.sqrt([3, 1 / 3]), rtol=1e-6)


def test_a_channel_that_hardly_moved_counts_as_a_hundredth_of_the_middle_one() -> None:
    still = Reach(np.array([-1, 0, -1], np.float32), np.array([1, 0, 1], np.float32))
    slow = Reach(np.array([-1, -0.01, -1], np.float32), np.array([1, 0.01, 1], np.float32))
    ones = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(factors(still, ones), factors(slow, ones))


def test_levels_leave_a_sixth_at_each_end() -> None:
    """They span 1.5 times the reach: the widest channel lies in the middle two thirds of 0 to 255."""
    factor = factors(REACH, MATRIX)
    offset, step = levels(REACH, factor)
    steps = (ACTIVATIONS / factor - offset) / step
    assert steps.min() == pytest.approx(255 / 6, abs=0.01)
    assert steps.max() == pytest.approx(255 * 5 / 6, abs=0.01)


def test_reaches_join() -> None:
    both = Reach(REACH.low, REACH.high) | Reach(REACH.low - 1, REACH.high - 1)
    np.testing.assert_array_equal(both.low, REACH.low - 1)
    np.testing.assert_array_equal(both.high, REACH.high)


@pytest.mark.parametrize("largest", [127, 64])
def test_weights_are_within_half_a_step(largest: int) -> None:
    whole, scale = quantized(MATRIX, largest)
    assert whole.dtype == np.int8
    np.testing.assert_array_equal(np.abs(whole).max(axis=1), largest)
    assert (np.abs(whole * scale - MATRIX) <= scale * 0.501).all()


def test_pairs_of_products_with_smaller_weights_fit_16_bits() -> None:
    """What processors without VNNI add up: of 0 to 255 times ±64."""
    assert np.iinfo(np.int16).max >= 2 * 255 * 64


def test_damaged_figures_have_a_finite_factor() -> None:
    damaged = Reach(np.array([np.nan, -1, -np.inf], np.float32), np.array([np.nan, 1, np.inf], np.float32))
    factor = factors(damaged, np.array([[1, np.nan, 1]], np.float32))
    offset, step = levels(damaged, factor)
    assert np.isfinite(factor).all()
    assert np.isfinite(offset).all()
    assert np.isfinite(step)
