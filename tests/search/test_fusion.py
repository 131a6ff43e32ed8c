"""Two rankings joined by their scores."""

import inspect

import pytest

from me5.cli.search import search as command
from me5.search.fusion import WEIGHT, fused
from me5.service.wire.search import SearchRequest


def test_a_mean_of_scores_from_zero_to_one():
    cosines, words = {"a": 0.9, "b": 0.8, "c": 0.7}, {"c": 8.0, "d": 2.0}
    assert fused(cosines, words, 0.25) == pytest.approx({"c": 0.75, "a": 0.25, "d": 0.1875, "b": 0.125})
    assert list(fused(cosines, words, 0.25)) == ["c", "a", "d", "b"]


def test_the_weight_decides_between_the_two():
    cosines, words = {"a": 0.9, "b": 0.1}, {"b": 3.0, "a": 1.0}
    assert next(iter(fused(cosines, words, 1.0))) == "a"
    assert next(iter(fused(cosines, words, 0.0))) == "b"


def test_a_single_match_counts_in_full():
    """Scores that have no spread say nothing of which is better, and all were found."""
    assert fused({"a": 0.8, "b": 0.8}, {"b": 1.5}, 0.5) == pytest.approx({"b": 1.0, "a": 0.5})
    assert fused({"a": 0.8}, {}, 0.5) == {"a": 0.5}
    assert fused({}, {}, 0.5) == {}


def test_everyone_starts_from_the_same_weight():
    assert inspect.signature(command).parameters["weight"].default == WEIGHT
    assert SearchRequest(query="?").weight == WEIGHT
