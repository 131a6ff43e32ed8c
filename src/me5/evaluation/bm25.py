"""BM25, the yardstick of every retrieval table: words, or pairs of characters in scripts without spaces."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

import bm25s

from me5.evaluation.exact import Ranking
from me5.evaluation.metrics import DEPTHS
from me5.evaluation.protocols.ranking import outcome
from me5.evaluation.task import Outcome, Reranking, Retrieval

NAME = "BM25"
FINGERPRINT = f"bm25s-{bm25s.__version__}"
# Scripts that are written without spaces between words (blocks of Unicode 17).
_SPACELESS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff\u19e0-\u19ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
    "\u3040-\u30ff\u31f0-\u31ff\U0001b000-\U0001b16f"  # kana
    "\u3100-\u312f\u31a0-\u31bf"  # bopomofo
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b"  # radicals, 々 〆 〇, numerals
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003347f"  # Chinese characters, with all extensions
)
# Soft hyphen, joiners and the like: they stand within words, and are not seen.
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u034f\u200d\u2060\ufeff"))


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""A run of a script without spaces, and a word of any other. `\w` leaves out the vowel signs of Indic scripts."""
    marks = "".join(chr(code) for code in range(0x110000) if unicodedata.category(chr(code))[0] == "M")
    word = rf"(?:(?![{_SPACELESS}])[^\W_]|[{marks}])+"
    return re.compile(rf"[{_SPACELESS}]+"), re.compile(rf"[{_SPACELESS}]+|{word}")


def tokenize(text: str) -> list[str]:
    """Case-folded words, and overlapping pairs of characters of scripts without spaces."""
    spaceless, token = _patterns()
    tokens: list[str] = []
    for piece in token.findall(unicodedata.normalize("NFKC", text).translate(_UNSEEN).casefold()):
        if spaceless.fullmatch(piece) and len(piece) > 1:
            tokens += [piece[at : at + 2] for at in range(len(piece) - 1)]
        else:
            tokens.append(piece)
    return tokens


def evaluate(task: Retrieval | Reranking) -> Outcome:
    """Judge BM25."""
    return outcome(task, rank(task))


def rank(task: Retrieval | Reranking) -> list[Ranking]:
    """One ranking per query by Lucene's formula, k1 1.5, b 0.75. What shares no token with a query is not found.

    The index is in memory: about 8 bytes for every different word of every document.
    """
    ids: list[str] = []
    vocabulary: dict[str, int] = {}
    # Numbers from the start: a list of all words as strings would take some ten times the memory of the texts.
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    documents = list(_numbered(task, ids, vocabulary))
    if not vocabulary:  # nothing but punctuation
        return [{}] * len(task.queries)
    index.index((documents, vocabulary), show_progress=False)
    del documents
    if isinstance(task, Reranking):
        return _of_candidates(index, task, ids)
    rankings: list[Ranking] = []
    for query in task.queries.values():
        places, scores = index.retrieve([tokenize(query)], k=min(max(DEPTHS), len(ids)), show_progress=False)
        found = zip(places[0].tolist(), scores[0].tolist(), strict=True)
        rankings.append({ids[at]: score for at, score in found if score > 0})
    return rankings


def _numbered(task: Retrieval | Reranking, ids: list[str], vocabulary: dict[str, int]) -> Iterator[list[int]]:
    """The token numbers of each document, filling ids and vocabulary on the way."""
    for name, text in task.documents:
        ids.append(name)
        yield [vocabulary.setdefault(token, len(vocabulary)) for token in tokenize(text)]


def _of_candidates(index: bm25s.BM25, task: Reranking, ids: list[str]) -> list[Ranking]:
    places = {name: at for at, name in enumerate(ids)}
    rankings = []
    for query, text in task.queries.items():
        scores = index.get_scores(tokenize(text))
        rankings.append({name: float(scores[places[name]]) for name in task.candidates[query]})
    return rankings
