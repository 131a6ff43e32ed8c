"""Draw retrieval sets by language from training pairs, to calibrate a model with: `calibrate.sh` is the whole.

    python draw.py OUT PAIRS… [--kind qa] [--questions 100] [--passages 500]

PAIRS are files of records (Parquet, JSONL, CSV) with query, positive, positive_lang and kind. Each language becomes a
folder in BEIR's form: so many questions, drawn evenly over the files, each with its passages, among so many passages of
that language. The same files give the same sets again.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path

from me5.errors import counted
from me5.files.atomic import replacing
from me5.files.records import records

# Fewer questions of a language say little, and would be drowned by the others.
LEAST = 50
# In characters: what is shorter is the answer to a question of choice, and no passage.
SHORTEST = 120


def pairs(paths: list[Path], kinds: set[str]) -> dict[str, dict[str, list[tuple[str, str]]]]:
    """Language of the passage → file → (query, positive)."""
    found: dict[str, dict[str, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
    for path in paths:
        for record in records(path):
            if record.values.get("kind") in kinds and len(record.text("positive")) >= SHORTEST:
                language = record.text("positive_lang")
                found[language][path.name].append((record.text("query"), record.text("positive")))
    return found


def drawn(files: dict[str, list[tuple[str, str]]], count: int, rng: random.Random) -> list[tuple[str, str]]:
    """So many pairs, one of each file in turn until a file has no more."""
    left = {name: rng.sample(rows, len(rows)) for name, rows in sorted(files.items())}
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count and any(left.values()):
        chosen += [rows.pop() for rows in left.values() if rows]
    return chosen[:count]


def write(folder: Path, language: str, files: dict[str, list[tuple[str, str]]], questions: int, passages: int) -> bool:
    """Write the set of a language, and say whether there was enough of it."""
    rng = random.Random(language)
    asked = list(dict.fromkeys(query for query, _ in drawn(files, questions, rng)))
    if len(asked) < LEAST:
        return False
    every = [pair for _, rows in sorted(files.items()) for pair in rows]
    wanted = set(asked)
    # A question that stands there with several passages has all of them.
    relevant = list(dict.fromkeys(pair for pair in every if pair[0] in wanted))
    corpus = dict.fromkeys(text for _, text in relevant)
    others = [text for text in dict.fromkeys(text for _, text in every) if text not in corpus]
    corpus |= dict.fromkeys(rng.sample(others, min(len(others), max(passages - len(corpus), 0))))
    ids = {text: f"d{at}" for at, text in enumerate(corpus)}
    numbers = {text: f"q{at}" for at, text in enumerate(asked)}
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for part, texts in (("corpus", ids), ("queries", numbers)):
        lines = (json.dumps({"_id": name, "text": text}, ensure_ascii=False) for text, name in texts.items())
        with replacing(folder / f"{part}.jsonl") as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
    rows = "".join(f"{numbers[query]}\t{ids[text]}\t1\n" for query, text in relevant)
    with replacing(folder / "qrels" / "test.tsv") as file:
        file.write(f"query-id\tcorpus-id\tscore\n{rows}".encode())
    return True


def main() -> None:
    """Draw, and tell of which languages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("pairs", type=Path, nargs="+")
    parser.add_argument("--kind", action="append", help="the kinds of pairs that are drawn (qa)")
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--passages", type=int, default=500)
    given = parser.parse_args()
    for language, files in sorted(pairs(given.pairs, set(given.kind or ["qa"])).items()):
        enough = write(given.out / f"drawn-{language}", language, files, given.questions, given.passages)
        print(f"{language}: {counted(sum(map(len, files.values())), 'pair')}{'' if enough else ', too few questions'}")


if __name__ == "__main__":
    main()
