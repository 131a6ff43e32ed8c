"""Long runs of letters that a text shares with a known collection, found by rolling hashes a million letters at a time.

A run is measured in letters without spaces and punctuation, so that it needs no words. Chinese, Japanese and Korean
characters count twice. Of the known texts a window of `WINDOW` is kept at every `STRIDE`th letter, of a looked-up text
every window is tried: a shared run of WINDOW + 2 × STRIDE is always found, one shorter than WINDOW never.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from me5.data.splitmix import UInt64, mixed

# GPT-3 called 13 words that it shared with a benchmark a collision (Brown et al. 2020, appendix C). An English word has
# 4.7 letters on average, so 13 words are some 61 letters: always found is 64, possible from 50 on.
WINDOW, STRIDE = 50, 7
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_FILTER_BITS = 24
# First and last code points of what counts twice: kana, CJK ideographs (also beyond 16 bits), Hangul.
_WIDE = ((0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


@dataclass(frozen=True)
class Hit:
    """A window of looked-up text `row`, from letter `start` to `end`, that known text `known` has too."""

    row: int
    known: int
    start: int
    end: int


class Runs:
    """Windows of known texts, 12 bytes for each `STRIDE` letters, and a filter of 16 MB in front of them."""

    def __init__(self) -> None:
        self._hashes: list[UInt64] = []
        self._owners: list[npt.NDArray[np.int32]] = []
        self._sorted: tuple[UInt64, npt.NDArray[np.int32], npt.NDArray[np.bool_]] | None = None
        self._counts = np.zeros(0, np.int32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, texts: Sequence[str]) -> None:
        """Know some more texts (as `letters` gives them); they are numbered from 0 in order."""
        hashes, owners, starts, _ = _windows(texts)
        chosen = starts % STRIDE == 0
        self._hashes.append(hashes[chosen])
        self._owners.append((owners[chosen] + self._count).astype(np.int32))
        self._count += len(texts)
        self._sorted = None

    def count(self, texts: Sequence[str]) -> None:
        """Count in how many of all counted texts each known window stands, for `find` to tell common ones."""
        known, owners, _, _ = self._hits(texts)
        pairs = np.unique(np.stack([owners, known]), axis=1)
        self._counts += np.bincount(pairs[1], minlength=len(self._counts)).astype(np.int32)

    def find(self, texts: Sequence[str], common: int | None = None) -> list[Hit]:
        """The first hit of each text that has one, by text; windows in more than `common` counted texts are none."""
        known, owners, starts, ends = self._hits(texts)
        if common is not None:
            rare = self._counts[known] <= common
            known, owners, starts, ends = (column[rare] for column in (known, owners, starts, ends))
        rows, first = np.unique(owners, return_index=True)
        columns = zip(rows, self._table()[1][known[first]], starts[first], ends[first], strict=True)
        return [Hit(*map(int, hit)) for hit in columns]

    def _hits(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], ...]:
        """(place in the table, text, start, end) of every window that is known, by text and start."""
        hashes, owners, starts, ends = _windows(texts)
        known, _, seen = self._table()
        maybe = np.flatnonzero(seen[hashes >> np.uint64(64 - _FILTER_BITS)])
        at = np.searchsorted(known, hashes[maybe])
        found = known[np.minimum(at, max(0, len(known) - 1))] == hashes[maybe] if len(known) else np.zeros(0, np.bool_)
        chosen = maybe[found]
        return at[found], owners[chosen], starts[chosen], ends[chosen]

    def _table(self) -> tuple[UInt64, npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        if self._sorted is None:
            hashes = np.concatenate([np.zeros(0, np.uint64), *self._hashes])
            owners = np.concatenate([np.zeros(0, np.int32), *self._owners])
            # Stable, so that of equal windows the first text is named.
            order = np.argsort(hashes, kind="stable")
            seen = np.zeros(1 << _FILTER_BITS, np.bool_)
            seen[hashes >> np.uint64(64 - _FILTER_BITS)] = True
            self._sorted = hashes[order], owners[order], seen
            self._hashes, self._owners = [hashes], [owners]
            self._counts = np.zeros(len(hashes), np.int32)
        return self._sorted


def _windows(
    texts: Sequence[str],
) -> tuple[UInt64, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(hash, text, start, end) of every window of at least `WINDOW` within one of the texts, by text and start.

    The hash of letters i to j is the polynomial (P[j] - P[i]) / base^i modulo 2^64, from sums P over all texts.
    """
    lengths = np.array([len(text) for text in texts], np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    begins = np.cumsum(lengths) - lengths
    owners = np.repeat(np.arange(len(texts)), lengths)
    weights = np.ones(len(codes), np.int64)
    for low, high in _WIDE:
        weights[(codes >= low) & (codes <= high)] = 2
    reach = np.concatenate([[0], np.cumsum(weights)])
    ends = np.searchsorted(reach, reach[:-1] + WINDOW)
    places = np.flatnonzero(ends <= (begins + lengths)[owners])
    powers, inverses = _powers(len(codes))
    with np.errstate(over="ignore"):
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed(codes.astype(np.uint64)) * powers)])
        hashes = (sums[ends[places]] - sums[places]) * inverses[places]
        # Low bits of a polynomial modulo 2^64 know low bits of letters only: spread them.
        hashes = mixed(hashes)
    begin = begins[owners[places]]
    return hashes, owners[places], places - begin, ends[places] - begin


def _powers(count: int) -> tuple[UInt64, UInt64]:
    """base^i and base^-i for i below `count`, modulo 2^64."""
    with np.errstate(over="ignore"):
        both = [np.full(count, base, np.uint64) for base in (_BASE, _INVERSE)]
        for powers in both:
            powers[:1] = 1
            np.cumprod(powers, out=powers)
    return both[0], both[1]
