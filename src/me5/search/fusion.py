"""Two rankings, by vectors and by words, joined by their scores.

A convex combination of scores that were brought to 0 to 1 (Bruch, Gai, Ingber 2023). Cosines lie close together, so
their lowest becomes 0; words that do not match score 0 by nature. On 11 retrieval sets in one language an earlier
bundled model had nDCG@10 80.6 so, by reciprocal ranks 73.3, BM25 alone 78.0. Today's figures are in the model's card.
"""

from collections.abc import Mapping
from heapq import nlargest

WEIGHT = 0.4  # of the vectors; measured with the bundled model
CANDIDATES = 100  # of each side, at least; the cosine of the last of so many becomes 0, however many more there are


def fused(cosines: Mapping[str, float], words: Mapping[str, float], weight: float = WEIGHT) -> dict[str, float]:
    """Scores from 0 to 1 of everything that is in either ranking, best first; what a side lacks has 0 there."""
    by_vector = _spread(cosines, min(nlargest(CANDIDATES, cosines.values()), default=0.0))
    by_words = _spread(words, 0.0)
    scores = {
        name: weight * by_vector.get(name, 0.0) + (1 - weight) * by_words.get(name, 0.0)
        for name in {**by_vector, **by_words}
    }
    return dict(sorted(scores.items(), key=lambda item: item[1], reverse=True))


def _spread(scores: Mapping[str, float], lowest: float) -> dict[str, float]:
    highest = max(scores.values(), default=0.0)
    width = highest - lowest
    return {name: max(0.0, (score - lowest) / width) if width > 0 else 1.0 for name, score in scores.items()}
