"""The training text as me5 datasets: `translations`, `questions` and `titles`.

translations  the same in two languages
questions     questions and answers or passages, with the negatives that their sources have
titles        titles and the text below them, at most `TITLES` of a source and language
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from me5.data.contract import Document, Example, Query
from me5.data.writing import write_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LONGEST_TRANSLATION = 220  # characters: a sentence
LONGEST = 1200
TITLES = 2_500  # Wikipedia's and a few manuals would be most of it
KINDS = {
    "translations": ("parallel", "ui", "term"),
    "questions": ("qa", "faq", "paraphrase"),
    "titles": ("title-body",),
}
# Those of XLM-RoBERTa, and of Tatoeba's and AfriQA's evaluation; the text has 700, most in a few hundred rows.
LANGUAGES = """
af am ar ary az be bem bg bn br bs ca cs cy da de el en eo es et eu fa fi fo fon fr ga gd gl gu ha he hi hr hu hy id
ig is it ja jv ka kk km kn ko ku ky la lo lt lv mg mk ml mn mr ms my nb ne nl nn no om or pa pl ps pt ro ru rw sa sd
si sk sl so sq sr su sv sw ta te th tl tr ug uk ur uz vi xh yi yo zh zh-hant zu
"""


def rows(data: Path, kinds: tuple[str, ...]) -> Iterator[tuple[str, Mapping]]:
    """Yield (source, row) of DATA/train, file by file in the order of their names."""
    wanted = set(LANGUAGES.split())
    for path in sorted((data / "train").glob("*/*.parquet")):
        for row in pq.read_table(path).to_pylist():
            if row["kind"] in kinds and {row["query_lang"], row["positive_lang"]} <= wanted:
                yield path.stem, row


def examples(data: Path, name: str) -> Iterator[Example]:
    """Yield the examples of a dataset."""
    taken: Counter[tuple[str, str]] = Counter()
    for source, row in rows(data, KINDS[name]):
        query, positive = row["query"][:LONGEST], row["positive"][:LONGEST]
        if name == "translations" and max(len(query), len(positive)) > LONGEST_TRANSLATION:
            continue
        if name == "titles":
            taken[source, row["positive_lang"]] += 1
            if taken[source, row["positive_lang"]] > TITLES:
                continue
        one = {"source": f"{row['kind']}/{source}", "licence": row["licence"]}
        asked = Query(query, lang=row["query_lang"])
        yield Example(asked, Document(positive, lang=row["positive_lang"]), **one)
        for text in filter(str.strip, row.get("negatives") or ()):
            yield Example(asked, Document(text[:LONGEST], lang=row["positive_lang"]), "negative", **one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    for name in KINDS:
        folder = arguments.run / name
        if not folder.exists():
            step = {"made by": f"recipes/small, {name}"}
            made = write_dataset(folder, examples(arguments.data, name), step=step, repeats="merge")
            print(name, dict(made.counts), flush=True)


if __name__ == "__main__":
    main()
