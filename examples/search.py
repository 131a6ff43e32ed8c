"""Answers in one language from documents in another: documents in eight languages, questions in others, one index.

    python examples/search.py

Needs `pip install 'me5[search]'`, and no network: the model is the bundled one. It is small, and was wrong on about
half of the questions tried; a published one (`Index.open(…, "intfloat/multilingual-e5-small")`) knows
more.
"""

import tempfile
from pathlib import Path

from me5.search import Index

DOCUMENTS = Path(__file__).parent / "documents"
QUESTIONS = [
    "temperature of the hot spring bath",
    "Does it snow above 2500 metres?",
    "bread baked in a wood-fired oven",
    "人均每天需要多少水?",
    "星を見る",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Index.open(Path(folder) / "hut.lance", create=True) as index:
            summary = index.add([DOCUMENTS])
        print(f"{summary.passages} passages, languages: {', '.join(index.store.counts('language'))}\n")
        for question in QUESTIONS:
            (hit,) = index.search(question, 1, highlight=True)
            print(f"{question}\n  {Path(hit.source).name} ({hit.language}): {' '.join(hit.best_sentence.split())}\n")


if __name__ == "__main__":
    main()
