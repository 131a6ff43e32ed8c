"""BM25, the yardstick of every retrieval table: words, or pairs of characters in scripts without spaces."""

from collections.abc import Callable, Iterator

import bm25s

from me5.evaluation.exact import Ranking
from me5.evaluation.metrics import DEPTHS
from me5.evaluation.protocols.ranking import outcome
from me5.evaluation.task import Outcome, Reranking, Retrieval
from me5.words import words

NAME = "BM25"
FINGERPRINT = f"bm25s-{bm25s.__version__}"
Cut = Callable[[str], list[str]]


def evaluate(task: Retrieval | Reranking) -> Outcome:
    """Judge BM25."""
    return outcome(task, rank(task))


def rank(task: Retrieval | Reranking, document: Cut = words, question: Cut = words) -> list[Ranking]:
    """One ranking per query by Lucene's formula, k1 1.5, b 0.75. What shares no token with a query is not found.

    `document` and `question` cut texts into tokens.

    The index is in memory: about 8 bytes for every different word of every document.
    """
    ids: list[str] = []
    vocabulary: dict[str, int] = {}
    # Numbers from the start: a list of all words as strings would take some ten times the memory of the texts.
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    documents = list(_numbered(task, document, ids, vocabulary))
    if not vocabulary:  # nothing but punctuation
        return [{}] * len(task.queries)
    index.index((documents, vocabulary), show_progress=False)
    del documents
    if isinstance(task, Reranking):
        return _of_candidates(index, task, question, ids)
    rankings: list[Ranking] = []
    for query in task.queries.values():
        places, scores = index.retrieve([question(query)], k=min(max(DEPTHS), len(ids)), show_progress=False)
        found = zip(places[0].tolist(), scores[0].tolist(), strict=True)
        rankings.append({ids[at]: score for at, score in found if score > 0})
    return rankings


def _numbered(
    task: Retrieval | Reranking, document: Cut, ids: list[str], vocabulary: dict[str, int]
) -> Iterator[list[int]]:
    """The token numbers of each document, filling ids and vocabulary on the way."""
    for name, text in task.documents:
        ids.append(name)
        yield [vocabulary.setdefault(token, len(vocabulary)) for token in document(text)]


def _of_candidates(index: bm25s.BM25, task: Reranking, question: Cut, ids: list[str]) -> list[Ranking]:
    places = {name: at for at, name in enumerate(ids)}
    rankings = []
    for query, text in task.queries.items():
        scores = index.get_scores(question(text))
        rankings.append({name: float(scores[places[name]]) for name in task.candidates[query]})
    return rankings
