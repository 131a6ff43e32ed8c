"""Train the Unigram tokenizer on a sample of the training text, balanced over languages."""

from __future__ import annotations

import argparse
import math
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from data import read_rows

from me5.data.vocabulary import finished, learn, limit_alphabet, save, with_whole

PIECES = 50_000  # 50k x 384 in float16 is 38.4 MB, beside six layers of 21.3 MB
LINES = 330_000
LINE_CHARACTERS = 240
TEMPERATURE = 0.5  # a language with n texts gives n**0.5 shares of the sample
WORDS = 8_000  # English words of the teacher's vocabulary that stay whole, so that its word vectors can be taken over
# Their most frequent words stay whole too: a word in one piece is found by the static start, one in fragments is not.
SPACED = (
    "af", "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "eo", "es", "et", "eu", "fa", "fi", "fr", "gl", "he",
    "hi", "hr", "hu", "id", "it", "ka", "kk", "ko", "lt", "mk", "ml", "mr", "nl", "no", "pl", "pt", "ro", "ru",
    "sk", "sl", "sr", "sv", "sw", "ta", "te", "tl", "tr", "uk", "ur", "vi",
)  # fmt: skip
WORDS_EACH = 300
OTHERS = 0.15  # what is left of the share of a language with fewer than MAIN texts: there are some 600 of them
MAIN = 5_000
LONGEST = 14  # characters of a piece
ALPHABET = 7_000  # single characters kept; the trainer keeps every character it sees, so rarer ones are taken out
# The words of these stay whole first of all: every query pays for them.
PROMPTS = (
    "Instruct: x\nQuery: ",
    "Given a web search query, retrieve relevant passages that answer the query",
    "Given a question, retrieve Wikipedia passages that answer the question",
    "Retrieve parallel sentences.",
    "Retrieve semantically similar text.",
    "Given a question, retrieve questions that are semantically equivalent to the given question",
    "Given a question, retrieve passages that answer the question",
    "Retrieve passages that answer the question",
    "Given a title, retrieve the text that belongs to it",
    "Find the document that answers the query",
    "Given a search query, retrieve relevant documents",
)


def sample_lines(data: Path, seed: int = 0) -> list[str]:
    """Draw distinct texts per language with temperature, cut to a few hundred characters each."""
    by_language: dict[str, set[str]] = defaultdict(set)
    for row in read_rows(data):
        by_language[row.query_lang].add(row.query)
        by_language[row.positive_lang].add(row.positive)
    rng = np.random.default_rng(seed)
    weights = {
        language: len(texts) ** TEMPERATURE * (1.0 if len(texts) >= MAIN else OTHERS)
        for language, texts in by_language.items()
    }
    scale = LINES / sum(weights.values())
    lines: list[str] = []
    for language in sorted(by_language):
        texts = sorted(by_language[language])
        for i in rng.permutation(len(texts))[: round(scale * weights[language])]:
            text = texts[i]
            start = int(rng.integers(0, max(len(text) - LINE_CHARACTERS, 0) + 1))
            lines.append(text[start : start + LINE_CHARACTERS])
    return lines


def frequent_words(data: Path, vocabulary: Path) -> dict[str, float]:
    """Return whole words as pieces with the logarithms of their shares: English ones that the teacher has, and others.

    A word counts by the roots of its counts in each source, so that the terms of one manual do not win.
    """
    known = set(vocabulary.read_text(encoding="utf-8").split("\n"))
    texts: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in read_rows(data):
        texts[row.query_lang, row.source].add(row.query)
        texts[row.positive_lang, row.source].add(row.positive)
    weights: dict[str, Counter[str]] = defaultdict(Counter)
    for (language, _), found in sorted(texts.items()):
        if language in ("en", *SPACED):
            counts = Counter(word for text in sorted(found) for word in re.findall(r"[^\W\d_]{2,}", normal(text)))
            weights[language].update({word: count**0.5 for word, count in counts.items()})
    words: dict[str, float] = {}
    prompts = set(re.findall(r"[a-z]{2,}", " ".join(PROMPTS).lower()))
    for language, weight in weights.items():
        total = sum(weight.values())
        english = language == "en"
        ranked = sorted(weight, key=lambda word: (not (english and word in prompts), -weight[word], word))
        chosen = [word for word in ranked if not english or word in known][: WORDS if english else WORDS_EACH]
        for word in chosen:
            words[word] = max(words.get(word, -99.0), math.log(weight[word] / total))
    return {f"▁{word}": score for word, score in words.items()}


def normal(text: str) -> str:
    """Return a text as the tokenizer's normaliser leaves it, but for white space."""
    return unicodedata.normalize("NFKC", text).lower()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("vocabulary", type=Path, help="vocab.txt of the teacher")
    arguments = parser.parse_args()
    arguments.run.mkdir(parents=True, exist_ok=True)
    lines, covered = limit_alphabet(sample_lines(arguments.data), ALPHABET, lower_case=True)
    print(f"{len(lines):,} lines, {sum(map(len, lines)):,} characters; the alphabet covers {covered:.4%}", flush=True)
    learned = learn(lines, pieces=PIECES, lower_case=True, longest=LONGEST)
    words = frequent_words(arguments.data, arguments.vocabulary)
    tokenizer = finished(with_whole(learned, words, PIECES), lower_case=True)
    save(tokenizer, arguments.run / "tokenizer", overwrite=True)
    print(f"{tokenizer.get_vocab_size():,} pieces", flush=True)


if __name__ == "__main__":
    main()
