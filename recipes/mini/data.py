"""The training text as me5 datasets: `taught` and `pairs`.

taught  English and its translations, for the teacher
pairs   titles and passages, questions and answers with their negatives, translations without English
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from me5.data.contract import Document, Example, Query
from me5.data.writing import write_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_TAUGHT = 220  # characters: a sentence; the teacher's view of it costs the student as many tokens
LONGEST = 1200
SYMMETRIC = frozenset({"parallel", "ui", "term"})
COLUMNS = ["query", "positive", "query_lang", "positive_lang", "kind", "licence"]


@dataclass(frozen=True)
class Row:
    """One training pair with its source and its negatives."""

    query: str
    positive: str
    query_lang: str
    positive_lang: str
    kind: str
    source: str
    licence: str
    negatives: list[str]


def read_rows(data: Path) -> Iterator[Row]:
    """Yield every training pair below DATA/train, file by file in the order of their names."""
    for path in sorted((data / "train").glob("*/*.parquet")):
        table = pq.read_table(path)
        negatives = table.column("negatives").to_pylist() if "negatives" in table.column_names else None
        columns = [table.column(name).to_pylist() for name in COLUMNS]
        for i, (query, positive, query_lang, positive_lang, kind, licence) in enumerate(zip(*columns, strict=True)):
            own = negatives[i] if negatives else []
            yield Row(query, positive, query_lang, positive_lang, kind, path.stem, licence, own)


def taught(data: Path) -> Iterator[Example]:
    """Yield English sentences with their translations."""
    for row in read_rows(data):
        if row.kind in SYMMETRIC and "en" in (row.query_lang, row.positive_lang):
            english, other = (row.query, row.positive) if row.query_lang == "en" else (row.positive, row.query)
            language = row.positive_lang if row.query_lang == "en" else row.query_lang
            if max(len(english), len(other)) <= LONGEST_TAUGHT and language != "en":
                yield Example(
                    Query(english, lang="en"), Document(other, lang=language), source=row.kind, licence=row.licence
                )


def pairs(data: Path) -> Iterator[Example]:
    """Yield titles with passages, questions with answers and their negatives, and translations without English."""
    for row in read_rows(data):
        if row.kind in SYMMETRIC and "en" in (row.query_lang, row.positive_lang):
            continue
        source = f"{row.kind}/{row.source}" if row.kind not in SYMMETRIC else row.kind
        query = Query(row.query[:LONGEST], lang=row.query_lang)
        yield Example(
            query, Document(row.positive[:LONGEST], lang=row.positive_lang), source=source, licence=row.licence
        )
        for text in filter(str.strip, row.negatives):
            yield Example(
                query, Document(text[:LONGEST], lang=row.positive_lang), "negative", source=source, licence=row.licence
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    for name, examples in (("taught", taught), ("pairs", pairs)):
        folder = arguments.run / name
        if not folder.exists():
            step = {"made by": f"recipes/mini, {name}"}
            made = write_dataset(folder, examples(arguments.data), step=step, repeats="merge")
            print(name, dict(made.counts), flush=True)


if __name__ == "__main__":
    main()
