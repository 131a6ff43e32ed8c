"""batch = f(seed, step): every example once before any twice, in any order of asking."""

import numpy as np
import pytest

from me5.training.sampler import Sampler, permuted

SIZES, SHARES = [37, 8, 100], [0.5, 0.2, 0.3]


def sampler(seed: int = 1, steps: int = 200, **more: int) -> Sampler:
    return Sampler(SIZES, SHARES, seed=seed, steps=steps, **{"batch": 12, "parts": 3, **more})


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 1000])
def test_a_permutation_takes_every_place_once(size: int) -> None:
    found = permuted(np.arange(size), size, (7, 0, 1))
    assert sorted(found.tolist()) == list(range(size))
    assert [int(permuted(np.array([place]), size, (7, 0, 1))[0]) for place in range(min(size, 20))] == found[
        :20
    ].tolist()


def test_permutations_differ_by_key_and_look_random() -> None:
    size = 1000
    first, second = (permuted(np.arange(size), size, key) for key in ((1, 0, 0), (1, 0, 1)))
    assert (first == second).mean() < 0.02
    assert abs(np.corrcoef(np.arange(size), first)[0, 1]) < 0.1
    assert (np.diff(first) == 1).mean() < 0.02


def test_every_example_once_before_any_twice() -> None:
    seen: dict[int, list[int]] = {group: [] for group in range(len(SIZES))}
    drawing = sampler()
    for step in range(200):
        for part in drawing.draw(step):
            seen[part.group] += part.places.tolist()
    for group, size in enumerate(SIZES):
        for start in range(0, len(seen[group]) - size + 1, size):
            assert sorted(seen[group][start : start + size]) == list(range(size))
        assert len(seen[group]) > size


def test_groups_come_by_their_shares() -> None:
    drawing = sampler(steps=2000)
    drawn = [part.group for step in range(2000) for part in drawing.draw(step)]
    assert np.bincount(drawn) / len(drawn) == pytest.approx(SHARES, abs=0.03)


def test_a_step_needs_no_history() -> None:
    told = [sampler().draw(step) for step in range(50)]
    for step in (49, 0, 23):
        for one, again in zip(told[step], sampler().draw(step), strict=True):
            assert one.group == again.group
            assert one.places.tolist() == again.places.tolist()
    other = [part.places.tolist() for part in sampler(seed=2).draw(23)]
    assert other != [part.places.tolist() for part in told[23]]


def test_a_group_smaller_than_its_part_gives_each_example_once() -> None:
    drawing = sampler(batch=60)
    parts = [part for step in range(50) for part in drawing.draw(step)]
    assert {len(part.places) for part in parts if part.group == 1} == {8}
    assert all(sorted(part.places.tolist()) == list(range(8)) for part in parts if part.group == 1)
    with pytest.raises(ValueError, match="cannot have 5 equal parts"):
        sampler(parts=5)
