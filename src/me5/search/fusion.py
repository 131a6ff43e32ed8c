"""Two rankings, by vectors and by words, joined by their scores.

A convex combination of scores that were brought to 0 to 1 (Bruch, Gai, Ingber 2023). Cosines lie close together, so
their lowest becomes 0; words that do not match score 0 by nature. On 11 retrieval sets in one language an earlier
bundled model had nDCG@10 80.6 so, by reciprocal ranks 73.3, BM25 alone 78.0. Today's figures are in the model's card.

The best match by words becomes 1 however poor it is, and pieces of words match by chance in any language. So words
count in full only where one passage holds half of the question; and where the nearest passages are in other languages
than the question, those of a passage count as far as the vectors put it among the nearest, from half on. nDCG@10 of an
earlier bundled model by vectors, by words, by this rule: questions in German, Russian, Japanese to 1,000 English
sentences 91.1, 25.6, 90.9; 90.3, 0.3, 90.3; 90.8, 1.2, 90.8; in Swahili and Yoruba to passages in these (AfriQA) 53.0,
54.2, 62.2; 62.5, 71.6, 72.4.
"""

from collections.abc import Iterable, Mapping
from heapq import nlargest
from typing import TypeVar

from me5.data.letters import letters

Name = TypeVar("Name", str, int)  # of a passage

# Of the vectors. nDCG@10 of me5-small and words on 14 sets in one language, and on 9 whose questions are in African
# languages: 87.8 and 74.2 at 0.4, 87.6 and 75.0 at 0.5, 87.1 and 75.2 at 0.6 (recipes/small/hybrid.py).
WEIGHT = 0.5
CANDIDATES = 100  # of each side, at least; the cosine of the last of so many becomes 0, however many more there are
ENOUGH = 0.5  # of a question's pieces in one passage: its words count in full
_PIECE = 3


def covered(question: str, passages: Iterable[str]) -> float:
    """The largest share of a question that one of the passages holds, 0 to 1: in triples of letters within words."""
    words = [letters(word) for word in question.split()]
    pieces = {word[at : at + _PIECE] for word in words for at in range(len(word) - _PIECE + 1)} or set(words)
    texts = map(letters, passages)
    return max((sum(piece in text for piece in pieces) / len(pieces) for text in texts), default=0.0) if pieces else 0.0


def fused(
    cosines: Mapping[Name, float],
    words: Mapping[Name, float],
    weight: float = WEIGHT,
    *,
    coverage: float = 1.0,
    foreign: bool = False,
) -> dict[Name, float]:
    """Scores from 0 to 1 of everything that is in either ranking, best first; what a side lacks has 0 there.

    `coverage` is how much of the question the best passages by words hold (`covered`), `foreign` whether the nearest
    passages are in other languages than the question.
    """
    by_vector = _spread(cosines, min(nlargest(CANDIDATES, cosines.values()), default=0.0))
    by_words = _spread(words, 0.0)
    trust = min(1.0, coverage / ENOUGH)
    scores = {}
    for name in {**by_vector, **by_words}:
        near = by_vector.get(name, 0.0)
        heard = trust * min(1.0, 0.5 + near) if foreign else trust
        scores[name] = weight * near + (1 - weight) * heard * by_words.get(name, 0.0)
    return dict(sorted(scores.items(), key=lambda item: item[1], reverse=True))


def _spread(scores: Mapping[Name, float], lowest: float) -> dict[Name, float]:
    highest = max(scores.values(), default=0.0)
    width = highest - lowest
    return {name: max(0.0, (score - lowest) / width) if width > 0 else 1.0 for name, score in scores.items()}
