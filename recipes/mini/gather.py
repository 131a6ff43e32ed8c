"""Passages put together from sentences of one language, and what is asked of them, as a me5 dataset: `gathered`.

Most languages of the text have sentences with translations and no passages at all. Three to seven sentences stand for a
passage; a question is some words of one of them ("words"), its English side ("across"), or the other way round, the
sentence asked of a passage of English sides ("back"). So single words of long texts come to count, in every language.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from me5.data.contract import Document, Example, Query
from me5.data.dataset import Dataset
from me5.data.writing import write_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = frozenset({"parallel", "tatoeba"})
SENTENCE = (8, 110)  # characters of a side
FEWEST, MOST = 1_000, 4_000  # pairs that a language must have; passages that it gets at most
KINDS, WEIGHTS = ("words", "across", "back"), (4, 3, 3)


def sentences(folder: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield (source, language, English, sentence, licence) of a dataset whose queries are English."""
    dataset = Dataset.open(folder)
    queries = {query.id: query.text for query in dataset.queries()}
    documents = {document.id: document for document in dataset.documents()}
    for relation in dataset.relations():
        english, other = queries[relation.query_id], documents[relation.document_id]
        fits = all(SENTENCE[0] <= len(side) <= SENTENCE[1] for side in (english, other.text))
        if fits and relation.source in SOURCES:
            yield relation.source, other.lang, english, other.text, relation.licence


def some_of(text: str, rng: random.Random) -> str:
    """Return about half of the words in their order; of a text without spaces a stretch."""
    words = text.split()
    if len(words) >= 3:
        kept = sorted(rng.sample(range(len(words)), max(2, round(len(words) * rng.uniform(0.3, 0.7)))))
        return " ".join(words[place] for place in kept)
    length = max(4, round(len(text) * rng.uniform(0.3, 0.7)))
    first = rng.randrange(max(len(text) - length, 0) + 1)
    return text[first : first + length]


def gathered(folders: list[Path]) -> Iterator[Example]:
    """Yield questions with their passages, language by language."""
    found: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for folder in folders:
        for source, lang, *pair in sentences(folder):
            found[source, lang].append(tuple(pair))
    for (source, lang), pairs in sorted(found.items()):
        if len(pairs) < FEWEST:
            continue
        rng = random.Random(f"{source} {lang}")
        for _ in range(min(MOST, len(pairs))):
            chosen = rng.sample(pairs, rng.randint(3, 7))
            kind = rng.choices(KINDS, WEIGHTS)[0]
            asked = rng.choice(chosen)
            side, of = (0, "en") if kind == "back" else (1, lang)
            query = {"words": some_of(asked[1], rng), "across": asked[0], "back": asked[1]}[kind]
            if query.strip():
                yield Example(
                    Query(query, lang="en" if kind == "across" else lang),
                    Document("\n".join(pair[side] for pair in chosen), lang=of),
                    source=kind,
                    licence=asked[2],
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run folder, with `taught` and `tatoeba`")
    arguments = parser.parse_args()
    examples = gathered([arguments.run / "taught", arguments.run / "tatoeba"])
    made = write_dataset(
        arguments.run / "gathered", examples, step={"made by": "recipes/mini, gathered"}, repeats="merge"
    )
    print(dict(made.counts))


if __name__ == "__main__":
    main()
