"""Two rankings, by vectors and by words, joined by their scores.

A convex combination of scores that were brought to 0 to 1 (Bruch, Gai, Ingber 2023). Cosines lie close together, so
their lowest becomes 0; words that do not match score 0 by nature. On 11 retrieval sets in one language an earlier
bundled model had nDCG@10 80.6 so, by reciprocal ranks 73.3, BM25 alone 78.0. Today's figures are in the model's card.

The best match by words becomes 1 however poor it is, and triples of letters match by chance in any language. So words
count in full only where one passage holds half of the question; and where the nearest passages are in other languages
than the question, as far as the vectors put the best matches by words among the nearest. nDCG@10 of the bundled model,
fixed weight → this rule, vectors alone in brackets: questions in German, Spanish, Russian, Japanese to 1,000 English
sentences 64.2 → 89.7 (90.5), in seven languages to 442 passages of fifteen such sentences 20.7 → 23.6 (20.6), in
German, French, Turkish to a store that holds passages in these too 5.1 → 22.9 (31.5); three AfriQA sets 61.7 → 62.3
(52.8); six sets in one language 87.7 → 87.7 (79.7), three of them in that mixed store 81.5 → 81.1 (72.7).
"""

from collections.abc import Iterable, Mapping
from heapq import nlargest

from me5.data.letters import letters

WEIGHT = 0.4  # of the vectors; measured with the bundled model
CANDIDATES = 100  # of each side, at least; the cosine of the last of so many becomes 0, however many more there are
ENOUGH = 0.5  # of a question's pieces in one passage: its words count in full
_PIECE, _BEST = 3, 3


def covered(question: str, passages: Iterable[str]) -> float:
    """The largest share of a question that one of the passages holds, 0 to 1: in triples of letters within words."""
    words = [letters(word) for word in question.split()]
    pieces = {word[at : at + _PIECE] for word in words for at in range(len(word) - _PIECE + 1)} or set(words)
    texts = map(letters, passages)
    return max((sum(piece in text for piece in pieces) / len(pieces) for text in texts), default=0.0) if pieces else 0.0


def fused(
    cosines: Mapping[str, float],
    words: Mapping[str, float],
    weight: float = WEIGHT,
    *,
    coverage: float = 1.0,
    foreign: bool = False,
) -> dict[str, float]:
    """Scores from 0 to 1 of everything that is in either ranking, best first; what a side lacks has 0 there.

    `coverage` is how much of the question the best passages by words hold (`covered`), `foreign` whether the nearest
    passages are in other languages than the question.
    """
    by_vector = _spread(cosines, min(nlargest(CANDIDATES, cosines.values()), default=0.0))
    by_words = _spread(words, 0.0)
    trust = min(1.0, coverage / ENOUGH)
    if foreign:
        best = nlargest(_BEST, words, key=words.__getitem__)
        trust *= min(1.0, 0.5 + max((by_vector.get(name, 0.0) for name in best), default=0.0))
    scores = {
        name: weight * by_vector.get(name, 0.0) + (1 - weight) * trust * by_words.get(name, 0.0)
        for name in {**by_vector, **by_words}
    }
    return dict(sorted(scores.items(), key=lambda item: item[1], reverse=True))


def _spread(scores: Mapping[str, float], lowest: float) -> dict[str, float]:
    highest = max(scores.values(), default=0.0)
    width = highest - lowest
    return {name: max(0.0, (score - lowest) / width) if width > 0 else 1.0 for name, score in scores.items()}
