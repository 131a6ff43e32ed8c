"""A folder of articles in twelve languages, and questions that people asked about them, from a clone of XQuAD.

    python articles.py CLONE OUT

`run.sh` runs it. OUT gets

articles/LANG/NAME.txt   48 articles in each of twelve languages, as a folder of files would hold them
train                    questions about 32 articles with the passages of these, a BEIR folder for `me5 data read`
development              questions about 4 others, for choosing settings
held-out                 questions about the last 12, for the figures

The last two are asked among the passages of those 16, which nobody trains on. A passage is a paragraph in one language.
It answers a question in whichever language that is asked, so each question has twelve of them. XQuAD has every question
in every language; here each is asked in one, the next in the next language, as people would who have one language each.
The questions to train on are asked in three.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from me5.files.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable

LANGUAGES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")
# Of every twelve articles, in the clone's order, these are kept from training.
HELD_OUT, DEVELOPMENT = (3, 7, 11), (5,)


def part_of(article: int) -> str:
    """The set whose questions are about an article."""
    place = article % 12
    return "held-out" if place in HELD_OUT else "development" if place in DEVELOPMENT else "train"


def read(clone: Path) -> dict[str, list[dict]]:
    """Language -> its articles, the same in the same order in all languages."""
    found = {}
    for language in LANGUAGES:
        path = clone / f"xquad.{language}.json"
        found[language] = json.loads(path.read_text("utf-8"))["data"]
    return found


def write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def write_files(folder: Path, articles: dict[str, list[dict]]) -> None:
    """The folder of documents: a file for each article and language, with an empty line between paragraphs."""
    for language, known in articles.items():
        for article in known:
            texts = [paragraph["context"].strip() for paragraph in article["paragraphs"]]
            write(folder / language / f"{article['title']}.txt", "\n\n".join(texts).split("\n"))


def write_set(folder: Path, split: str, articles: dict[str, list[dict]], among: set[str], languages: int) -> None:
    """A BEIR folder: the passages of all articles of some sets, and the questions about those of the folder's own."""
    documents, queries, judgements, count = [], {}, {}, 0
    for at, article in enumerate(articles["en"]):
        if part_of(at) not in among:
            continue
        for place, paragraph in enumerate(article["paragraphs"]):
            same = [f"{language}/{at}/{place}" for language in LANGUAGES]
            sides = [articles[language][at]["paragraphs"][place] for language in LANGUAGES]
            documents += [{"_id": one, "text": side["context"]} for one, side in zip(same, sides, strict=True)]
            if part_of(at) != folder.name:
                continue
            for number in range(len(paragraph["qas"])):
                for turn in range(languages):
                    side = (count + turn * len(LANGUAGES) // languages) % len(LANGUAGES)
                    # A question that is asked about two paragraphs is one question, with the passages of both.
                    query = queries.setdefault(sides[side]["qas"][number]["question"].strip(), f"q{len(queries)}")
                    judgements.update(dict.fromkeys((query, one) for one in same))
                count += 1
    write(folder / "corpus.jsonl", (json.dumps(one, ensure_ascii=False) for one in documents))
    asked = ({"_id": number, "text": text} for text, number in queries.items())
    write(folder / "queries.jsonl", (json.dumps(one, ensure_ascii=False) for one in asked))
    lines = (f"{query}\t{document}\t1" for query, document in judgements)
    write(folder / "qrels" / f"{split}.tsv", ["query-id\tcorpus-id\tscore", *lines])
    print(f"{folder.name}: {len(queries):,} questions, {len(documents):,} passages")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    if not (given.clone / "xquad.en.json").is_file():
        parser.error(f"{given.clone} has no xquad.en.json; expected a clone of github.com/google-deepmind/xquad")
    articles = read(given.clone)
    write_files(given.out / "articles", articles)
    write_set(given.out / "train", "train", articles, {"train"}, languages=3)
    for name in ("development", "held-out"):
        write_set(given.out / name, "test", articles, {"development", "held-out"}, languages=1)


if __name__ == "__main__":
    main()
