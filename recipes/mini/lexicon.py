"""Frequent words of each language with the English word that the static vectors have nearest, as a dataset.

The static model saw some sixty times as many pairs a minute as the encoder. Its words, put to the encoder as pairs of
five tokens, are the cheapest way to hand over what it knows.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load_file
from tokenizer import SPACED, normal
from tokenizers import Tokenizer

from me5.data.contract import Dataset, Document, Example, Query
from me5.data.writing import write_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

SPACELESS = ("ja", "zh", "zh-hant", "th")
ENGLISH = 15_000  # words that may be an answer, by frequency
EACH = 2_500  # words of a language that are looked up, by frequency
LEAST = 0.55  # cosine, after the correction for words that are near to everything
WORD = re.compile(r"[^\W\d_]{2,}")


def frequent(run: Path) -> dict[str, Counter[str]]:
    """Return how often words occur in the texts of each language; a language without spaces counts its pieces."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    tokenizer = Tokenizer.from_file(str(run / "tokenizer" / "tokenizer.json"))
    wanted = {"en", *SPACED, *SPACELESS}
    for name, table in (("taught", "documents"), ("taught", "queries"), ("pairs", "documents")):
        for batch in Dataset.open(run / name).batches(table, ["text", "lang"]):
            for text, lang in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if lang not in wanted:
                    continue
                if lang in SPACELESS:
                    pieces = tokenizer.encode(text[:200], add_special_tokens=False).tokens
                    counts[lang].update(piece.strip("▁") for piece in pieces if WORD.fullmatch(piece.strip("▁")))
                else:
                    counts[lang].update(WORD.findall(normal(text[:200])))
    return counts


class Vectors:
    """The static vectors of words, of unit length, (words, dim)."""

    def __init__(self, run: Path) -> None:
        words = load_file(run / "static.safetensors")["words"]
        self._words = words - words[4:].mean(0)
        self._tokenizer = Tokenizer.from_file(str(run / "tokenizer" / "tokenizer.json"))

    def of(self, words: list[str]) -> np.ndarray:
        """Return the mean of the pieces of each word."""
        encoded = self._tokenizer.encode_batch_fast(words, add_special_tokens=False)
        found = np.stack([self._words[e.ids].mean(0) if e.ids else self._words[3] for e in encoded])
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def pairs(run: Path) -> Iterator[Example]:
    """Yield each word with its nearest English word, where one is near enough."""
    counts, vectors = frequent(run), Vectors(run)
    english = [word for word, _ in counts.pop("en").most_common(ENGLISH)]
    targets = vectors.of(english)
    for lang, count in sorted(counts.items()):
        words = [word for word, _ in count.most_common(EACH)]
        cosines = vectors.of(words) @ targets.T
        # A word that is near to many is no answer: less the mean of its ten nearest (CSLS, Conneau et al. 2018).
        crowd = np.partition(cosines, -10, axis=0)[-10:].mean(0)
        best = (2 * cosines - crowd).argmax(1)
        kept = 0
        for word, at, cosine in zip(words, best, cosines[np.arange(len(words)), best], strict=True):
            if cosine >= LEAST:
                kept += 1
                yield Example(Query(english[at], lang="en"), Document(word, lang=lang), source="lexicon")
        print(lang, f"{kept} of {len(words)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    made = write_dataset(arguments.run / "lexicon", pairs(arguments.run), step={"made by": "recipes/mini, lexicon"})
    print(dict(made.counts))


if __name__ == "__main__":
    main()
