"""A folder of stories, and questions that people wrote about them, from a clone of FairytaleQAData; `run.sh` runs it.

    python stories.py CLONE OUT

OUT gets

stories/NAME.md   278 stories, as a folder of files would hold them
train             questions about 232 stories with the passages of these, as a BEIR folder that `me5 data read` reads
development       questions about 23 others, among the passages of the 46 that nobody trains on, for choosing settings
held-out          questions about the last 23, among the same passages, for the figures

The division into 232, 23 and 23 stories is that of the clone.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

from me5.files.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SETS = {"train": ("train", ["train"]), "val": ("development", ["val", "test"]), "test": ("held-out", ["val", "test"])}


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; some begin with a byte order mark."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def sections(clone: Path, part: str) -> dict[str, dict[str, str]]:
    """Story → number of a section → its text."""
    found = {}
    for path in sorted((clone / "data-by-train-split" / "section-stories" / part).glob("*.csv")):
        found[path.stem.removesuffix("-story")] = {row["section"].strip(): row["text"].strip() for row in rows(path)}
    return found


def questions(clone: Path, part: str) -> list[tuple[str, str, list[str]]]:
    """(story, question, numbers of the sections that answer it)."""
    found = []
    for path in sorted((clone / "data-by-train-split" / "questions" / part).glob("*.csv")):
        for row in rows(path):
            numbers = [number.strip() for number in row["cor_section"].split(",")]
            found.append((path.stem.removesuffix("-questions"), row["question"].strip(), numbers))
    return found


def title(story: str) -> str:
    """The name of a story, from that of its file."""
    return story.replace("-", " ").capitalize()


def write(path: Path, lines: Iterable[str]) -> None:
    with replacing(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def write_set(folder: Path, split: str, asked: list[tuple[str, str, list[str]]], known: Mapping[str, Mapping]) -> None:
    """Write a BEIR folder: every section of the known stories, and the questions with theirs."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    documents = ({"_id": f"{s}/{n}", "title": title(s), "text": text} for s in known for n, text in known[s].items())
    write(folder / "corpus.jsonl", (json.dumps(one, ensure_ascii=False) for one in documents))
    # A question that is asked about two stories is one question, with the sections of both.
    numbers = {text: f"q{at}" for at, text in enumerate(dict.fromkeys(text for _, text, _ in asked))}
    queries = ({"_id": number, "text": text} for text, number in numbers.items())
    write(folder / "queries.jsonl", (json.dumps(one, ensure_ascii=False) for one in queries))
    pairs = dict.fromkeys((numbers[text], f"{story}/{number}") for story, text, many in asked for number in many)
    write(folder / "qrels" / f"{split}.tsv", ["query-id\tcorpus-id\tscore", *(f"{q}\t{d}\t1" for q, d in pairs)])
    print(
        f"{folder.name}: {len(numbers):,} questions, {sum(map(len, known.values())):,} passages, {len(known)} stories"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    stories = {part: sections(given.clone, part) for part in SETS}
    folder = given.out / "stories"
    folder.mkdir(parents=True, exist_ok=True)
    for known in stories.values():
        for story, texts in known.items():
            write(folder / f"{story}.md", [f"# {title(story)}", *(f"\n{text}" for text in texts.values())])
    for part, (name, among) in SETS.items():
        known = {story: texts for other in among for story, texts in stories[other].items()}
        split = "train" if part == "train" else "test"
        write_set(given.out / name, split, questions(given.clone, part), known)


if __name__ == "__main__":
    main()
