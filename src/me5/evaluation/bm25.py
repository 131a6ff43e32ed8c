"""BM25, the yardstick of every retrieval table: words, or pairs of characters in scripts without spaces."""

import re
import unicodedata
from functools import cache

import bm25s

from me5.evaluation.metrics import DEPTHS
from me5.evaluation.protocols import retrieval_outcome
from me5.evaluation.task import Outcome, Retrieval

# Thai and Lao, Burmese, Khmer, kana, Chinese characters: written without spaces between words.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""A run of a script without spaces, and a word of any other. `\w` leaves out the vowel signs of Indic scripts."""
    marks = "".join(chr(code) for code in range(0x10000) if unicodedata.category(chr(code))[0] == "M")
    word = rf"(?:(?![{_SPACELESS}])[^\W_]|[{marks}])+"
    return re.compile(rf"[{_SPACELESS}]+"), re.compile(rf"[{_SPACELESS}]+|{word}")


def tokenize(text: str) -> list[str]:
    """Case-folded words, and overlapping pairs of characters of scripts without spaces."""
    spaceless, token = _patterns()
    tokens: list[str] = []
    for piece in token.findall(unicodedata.normalize("NFKC", text).casefold()):
        if spaceless.fullmatch(piece) and len(piece) > 1:
            tokens += [piece[at : at + 2] for at in range(len(piece) - 1)]
        else:
            tokens.append(piece)
    return tokens


def evaluate(task: Retrieval) -> Outcome:
    """Judge BM25 (Lucene's formula, k1 1.5, b 0.75). A document that shares no token with a query is not found."""
    ids = list(task.documents)
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    documents = [tokenize(text) for text in task.documents.values()]
    if not any(documents):  # nothing but punctuation
        return retrieval_outcome(task, [{}] * len(task.queries))
    index.index(documents, show_progress=False)
    asked = [tokenize(text) for text in task.queries.values()]
    places, scores = index.retrieve(asked, k=min(max(DEPTHS), len(ids)), show_progress=False)
    rankings = [
        {ids[at]: float(score) for at, score in zip(row, of_row, strict=True) if score > 0}
        for row, of_row in zip(places, scores, strict=True)
    ]
    return retrieval_outcome(task, rankings)
