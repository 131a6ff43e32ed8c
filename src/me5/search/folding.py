"""Hits that say the same become one, which names the others; and, where asked, each document gives one hit.

A passage repeats a better one when all its letters stand there in one piece, from 40 letters on, or when
`me5 data deduplicate` would call it a copy: equal letters, or from 200 letters on the same numbers and a Jaccard
similarity of 5-letter pieces of at least 0.8. Shorter texts that differ in a word say different things.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from me5.data.letters import figures, letters
from me5.search.documents import SEVERAL
from me5.search.hits import Copy, Hit

Group = Literal["document"]
_PIECE, _SHORTEST, _NEAR = 5, 200, 0.8
_SHORTEST_PART = 40
# Hashes of pieces; of two texts that are near, the eight smallest have one in common (all but 0.2 ** 8 of the time).
_MULTIPLIERS = np.random.default_rng(0).integers(1 << 63, size=_PIECE, dtype=np.uint64) * 2 + 1
_SKETCH = 8
_NO_PIECES: npt.NDArray[np.uint64] = np.empty(0, np.uint64)


@dataclass(frozen=True)
class _Text:
    """What two passages are compared by: letters and, of a long text, its numbers and the hashes of its pieces."""

    letters: str
    figures: bytes
    pieces: npt.NDArray[np.uint64]
    sketch: frozenset[int]

    @classmethod
    def of(cls, text: str) -> "_Text":
        reduced = letters(text)
        if len(reduced) < _SHORTEST:
            return cls(reduced, b"", _NO_PIECES, frozenset())
        codes = np.frombuffer(reduced.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        pieces = np.unique(sliding_window_view(codes, _PIECE) @ _MULTIPLIERS)
        return cls(reduced, figures(text), pieces, frozenset(pieces[:_SKETCH].tolist()))

    def repeats(self, other: "_Text") -> bool:
        """Whether the other text says all that this one does."""
        if self.letters == other.letters or (len(self.letters) >= _SHORTEST_PART and self.letters in other.letters):
            return True
        if self.sketch.isdisjoint(other.sketch) or self.figures != other.figures:
            return False
        shared = len(np.intersect1d(self.pieces, other.pieces, assume_unique=True))
        return shared >= _NEAR * (len(self.pieces) + len(other.pieces) - shared)


def folded(hits: Iterable[Hit], k: int, *, fold: bool, group: Group | None) -> list[Hit]:
    """The first `k` hits without those that repeat a better one; of each document only the best where grouped.

    A document that a hit names as holding a copy has been shown: grouped, it gives no hit of its own.
    """
    kept: list[tuple[Hit, _Text | None]] = []
    shown: set[tuple[str, int | None]] = set()
    for hit in hits:
        document = (hit.source, hit.at if hit.kind in SEVERAL else None)
        if group == "document" and document in shown:
            continue
        shown.add(document)
        text = _Text.of(hit.text) if fold else None
        place = next((at for at, (_, other) in enumerate(kept) if text and other and text.repeats(other)), None)
        if place is None:
            if len(kept) < k:
                kept.append((hit, text))
        else:
            best, of_best = kept[place]
            copy = Copy(hit.source, hit.place)
            if copy not in (Copy(best.source, best.place), *best.also):
                kept[place] = (replace(best, also=(*best.also, copy)), of_best)
    return [hit for hit, _ in kept]
