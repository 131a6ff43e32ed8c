"""batch = f(seed, step): which examples a step takes, worked out anew for any step, with nothing to remember or skip.

A run's schedule says which group (a source and a pair of languages) fills each part of each step, drawn by weight. The
n-th part that a group fills takes the n-th window of a random order of its examples, so that each is seen once before
any is seen twice. The random orders are permutations that can be computed at any place.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from me5.data.splitmix import mixed

Int = npt.NDArray[np.int64]
_ROUNDS = 4


@dataclass(frozen=True)
class Part:
    """Examples of one group within a batch: their places in the group, (examples,) int64."""

    group: int
    places: Int


class Sampler:
    """The examples of every step of a run."""

    def __init__(
        self, sizes: Sequence[int], shares: Sequence[float], *, seed: int, steps: int, batch: int, parts: int
    ) -> None:
        """`sizes` and `shares` by group; a batch of `batch` examples has `parts` parts, 1 for batches of one group."""
        if batch % parts:
            raise ValueError(f"a batch of {batch} examples cannot have {parts} equal parts")
        self._sizes, self._seed, self._parts, self._each = sizes, seed, parts, batch // parts
        probabilities = np.asarray(shares, np.float64) / np.sum(shares)
        schedule = np.random.default_rng(seed).choice(len(sizes), size=steps * parts, p=probabilities)
        self._schedule: Int = schedule.astype(np.int64)
        # How often each part's group was drawn before it: its place within the group's own draws.
        order = np.argsort(self._schedule, kind="stable")
        firsts = np.searchsorted(self._schedule[order], np.arange(len(sizes)))
        self._turns = np.empty_like(self._schedule)
        self._turns[order] = np.arange(len(order)) - firsts[self._schedule[order]]

    def draw(self, step: int) -> list[Part]:
        """The parts of a step. A group with fewer examples than a part needs gives each of them once."""
        return [self._part(slot) for slot in range(step * self._parts, (step + 1) * self._parts)]

    def _part(self, slot: int) -> Part:
        group = int(self._schedule[slot])
        size = self._sizes[group]
        each = min(self._each, size)
        counted = int(self._turns[slot]) * each + np.arange(each)
        epochs, places = np.divmod(counted, size)
        found = np.empty(each, np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            found[here] = permuted(places[here], size, (self._seed, group, int(epoch)))
        return Part(group, found)


def permuted(places: Int, size: int, key: Sequence[int]) -> Int:
    """Where a random permutation of `size` places, chosen by `key`, takes each of some places.

    A Feistel network over the next power of four, walked until it lands inside (Black and Rogaway 2002): no memory, and
    the same on every machine.
    """
    half = np.uint64(max(((size - 1).bit_length() + 1) // 2, 1))
    mask = np.uint64((1 << int(half)) - 1)
    keys = np.random.SeedSequence([number & 0xFFFFFFFF for number in key]).generate_state(_ROUNDS, np.uint64)
    result = places.astype(np.uint64)
    outside = np.ones(len(result), bool)
    while outside.any():
        left, right = result[outside] >> half, result[outside] & mask
        for round_key in keys:
            left, right = right, left ^ (mixed(right ^ round_key) & mask)
        result[outside] = left << half | right
        outside = result >= size
    return result.astype(np.int64)
