"""Write the model card from the results of `me5 eval run`, the training logs and the licence columns of the data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from prompts import BITEXT, QUESTIONS, SIMILAR, WEB, WIKIPEDIA

from me5.evaluation.bm25 import NAME as BM25
from me5.evaluation.results import Result, read

# The 36 languages of the XTREME benchmark, by the names of the Tatoeba files.
XTREME_NAMES = [
    "afr", "ara", "ben", "bul", "cmn", "deu", "ell", "spa", "est", "eus", "pes", "fin", "fra", "heb", "hin",
    "hun", "ind", "ita", "jpn", "jav", "kat", "kaz", "kor", "mal", "mar", "nld", "por", "rus", "swh", "tam",
    "tel", "tgl", "tha", "tur", "urd", "vie",
]  # fmt: skip
LISTED_FROM = 20.0  # per cent of Tatoeba that a language needs to be named in the front matter
TEMPLATE = Path(__file__).with_name("card.md")


def sources(data: Path) -> tuple[str, int]:
    """Return one table row per training folder (rows, sources, licences) and the number of all rows."""
    lines, total = [], 0
    for folder in sorted(path for path in (data / "train").iterdir() if path.is_dir()):
        names, licences, rows = [], set(), 0
        for path in sorted(folder.glob("*.parquet")):
            column = pq.read_table(path, columns=["licence"]).column("licence")
            names.append(path.stem)
            licences |= set(column.unique().to_pylist())
            rows += len(column)
        lines.append(f"| {folder.name} | {rows:,} | {', '.join(names)} | {'; '.join(sorted(licences))} |")
        total += rows
    return "\n".join(lines), total


def scores(results: list[Result], figure: str) -> dict[str, float]:
    """Return one figure x 100 of each set, under the set's name; of similarity sets the task is part of it."""
    by_name = {str(r.subset) if r.type == "STS" else r.subset.name.removesuffix("-eng"): r for r in results}
    return {name: 100 * result.outcome.scores[figure] for name, result in sorted(by_name.items())}


def mean(values: dict[str, float], names: list[str] | None = None) -> str:
    """Return the mean of the values, or of the named ones, as the card prints it."""
    return f"{np.mean([values[name] for name in names or values]):.1f}"


def cells(values: dict[str, float], columns: int = 6) -> str:
    """Return a Markdown table of names and values, several pairs a line."""
    pairs = [f"{name} | {value:.1f}" for name, value in sorted(values.items())]
    pairs += [" | "] * (-len(pairs) % columns)
    head = f"|{' | |' * columns}\n|{'---|--:|' * columns}"
    lines = ["| " + " | ".join(pairs[i : i + columns]) + " |" for i in range(0, len(pairs), columns)]
    return "\n".join([head, *lines])


def last_line(path: Path) -> dict:
    """Return the last entry of a JSONL log."""
    return json.loads(path.read_text(encoding="utf-8").splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("results", type=Path, help="the folder that me5 eval run wrote")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    found = [result for result in read(arguments.results) if result.model != BM25]
    yardstick = scores([result for result in read(arguments.results) if result.model == BM25], "ndcg_at_10")
    by_type = {
        kind: [result for result in found if result.type == kind] for kind in ("BitextMining", "STS", "Retrieval")
    }
    tatoeba = scores(by_type["BitextMining"], "accuracy_both")
    similar = scores(by_type["STS"], "cosine_spearman")
    retrieval = scores(by_type["Retrieval"], "ndcg_at_10")
    native = [name for name in retrieval if not name.startswith("afriqa")]
    table, total = sources(arguments.data)
    static_minutes = last_line(arguments.run / "static.jsonl")["minutes"]
    static = torch.load(arguments.run / "static.pt", weights_only=True)
    trained = torch.load(arguments.run / "checkpoint.pt", weights_only=True)
    tags = sorted(name for name in XTREME_NAMES if tatoeba[name] >= LISTED_FROM)
    size = sum(p.stat().st_size for p in arguments.folder.rglob("*") if p.is_file() and p.name != "README.md")
    with np.load(arguments.run / "pairs.npz") as stored:
        used = len(stored["query_hash"])
    card = TEMPLATE.read_text(encoding="utf-8")
    values = {
        "LANGUAGES": "\n".join(f"- {name}" for name in ["eng", *tags]),
        "SIZE": f"{size / 1e6:.1f}", "SOURCES": table, "ROWS": f"{total:,}", "USED": f"{used:,}",
        "STATIC": f"{static['steps']:,} steps, {static_minutes:.0f} minutes",
        "TRAINED": f"{trained['step']:,} steps, {trained['minutes']:.0f} minutes",
        "TATOEBA36": mean(tatoeba, XTREME_NAMES), "TATOEBA112": mean(tatoeba), "STSMEAN": mean(similar),
        "RETRIEVALMEAN": mean(retrieval), "RETRIEVALNATIVE": mean(retrieval, native),
        "BM25MEAN": mean(yardstick), "BM25NATIVE": mean(yardstick, native),
        "TATOEBA": cells(tatoeba, 8), "STS": cells(similar, 4), "RETRIEVAL": cells(retrieval, 4),
        "WEB": WEB, "WIKIPEDIA": WIKIPEDIA, "BITEXT": BITEXT, "SIMILAR": SIMILAR, "QUESTIONS": QUESTIONS,
    }  # fmt: skip
    for name, value in values.items():
        card = card.replace(f"@{name}@", value)
    (arguments.folder / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
