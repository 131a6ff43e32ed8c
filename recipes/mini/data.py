"""The training text as me5 datasets: `taught`, `english`, `pairs` and `crops`.

taught   English and its translations, for the teacher
english  sentences of English passages, each with itself, for the teacher
pairs    titles and passages, questions and answers with their negatives, translations without English
crops    a sentence and the passage that it is from: retrieval in languages that nobody asked questions in
"""

from __future__ import annotations

import argparse
import random
import re
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
SENTENCE = (20, 200)  # characters of a sentence that can stand for itself
SENTENCE_END = re.compile(r"(?<=[.!?։።؟۔।])\s+|(?<=[。！？])|\n+")
# Those of XLM-RoBERTa, of Tatoeba and of AfriQA, and some neighbours; the text has 700, most in a few hundred rows.
LANGUAGES = """
ace af ak am ar ary arz as ast az ba ban be bem ber bg bho bn br bs ca cbk ceb ch cha chm ckb cs csb cy da de
dsb dtp el en eo es et eu fa fi fo fon fr fur fy ga gd gl gsw gu ha he hi hr hsb ht hu hy ia id ido ie ig io is
it ja jv ka kab kk km kn ko ku kw ky la lb lfn lg li lij lmo lo lt lv mai mg mi min mk ml mn mr ms mt my nb nds
ne nl nn no nov ny oc om or pa pam pl pms ps pt rm ro ru rw sa scn sco sd si sk sl sn so sq sr st su sv sw swg
ta te tg th ti tk tl tn tr ts tt tw tzl tzm ug uk ur uz vec vi war wuu xh yi yo yue zh zh-hant zu
"""
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
    """Yield the training pairs below DATA/train in `LANGUAGES`, file by file in the order of their names."""
    wanted = set(LANGUAGES.split())
    for path in sorted((data / "train").glob("*/*.parquet")):
        table = pq.read_table(path)
        negatives = table.column("negatives").to_pylist() if "negatives" in table.column_names else None
        columns = [table.column(name).to_pylist() for name in COLUMNS]
        for i, (query, positive, query_lang, positive_lang, kind, licence) in enumerate(zip(*columns, strict=True)):
            own = negatives[i] if negatives else []
            if {query_lang, positive_lang} <= wanted:
                yield Row(query, positive, query_lang, positive_lang, kind, path.stem, licence, own)


def sentences_of(passage: str) -> list[str]:
    """Return the sentences of a passage, of any length."""
    return [part.strip() for part in SENTENCE_END.split(passage)]


def stands_alone(sentence: str) -> bool:
    """Say whether a sentence is neither a stump nor a paragraph."""
    return SENTENCE[0] <= len(sentence) <= SENTENCE[1]


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


def english(data: Path) -> Iterator[Example]:
    """Yield the sentences of English passages, once each: text of which the teacher says more than of translations."""
    seen: set[str] = set()
    for row in read_rows(data):
        if row.kind in SYMMETRIC or row.positive_lang != "en":
            continue
        for sentence in sentences_of(row.positive[:LONGEST]):
            if stands_alone(sentence) and sentence not in seen:
                seen.add(sentence)
                yield Example(
                    Query(sentence, lang="en"), Document(sentence, lang="en"), source="english", licence=row.licence
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


def crops(data: Path) -> Iterator[Example]:
    """Yield sentences with their passages: every other passage without the sentence (Lee, Chang, Toutanova 2019)."""
    seen: set[str] = set()
    for row in read_rows(data):
        passage = row.positive[:LONGEST]
        if row.kind not in {"title-body", "qa", "faq"} or passage in seen:
            continue
        seen.add(passage)
        rng = random.Random(passage)
        sentences = sentences_of(passage)
        usable = [part for part in sentences if stands_alone(part)]
        if len(sentences) < 3 or not usable:
            continue
        sentence = rng.choice(usable)
        kept = passage if rng.random() < 0.5 else passage.replace(sentence, " ", 1)
        yield Example(
            Query(sentence, lang=row.positive_lang), Document(kept, lang=row.positive_lang), source="crop",
            licence=row.licence,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    for name, examples in (("taught", taught), ("english", english), ("pairs", pairs), ("crops", crops)):
        folder = arguments.run / name
        if not folder.exists():
            step = {"made by": f"recipes/mini, {name}"}
            made = write_dataset(folder, examples(arguments.data), step=step, repeats="merge")
            print(name, dict(made.counts), flush=True)


if __name__ == "__main__":
    main()
