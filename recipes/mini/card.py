"""Write the model card from the results, the training logs and the licence columns of the data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from evaluate import XTREME_NAMES
from prompts import BITEXT, QUESTIONS, SIMILAR, WEB, WIKIPEDIA

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
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    result = json.loads(arguments.results.read_text(encoding="utf-8"))
    table, total = sources(arguments.data)
    static_minutes = last_line(arguments.run / "static.jsonl")["minutes"]
    static = torch.load(arguments.run / "static.pt", weights_only=True)
    trained = torch.load(arguments.run / "checkpoint.pt", weights_only=True)
    tags = sorted(name for name in XTREME_NAMES.split() if result["tatoeba"][name] >= LISTED_FROM)
    size = sum(p.stat().st_size for p in arguments.folder.rglob("*") if p.is_file() and p.name != "README.md")
    with np.load(arguments.run / "pairs.npz") as stored:
        used = len(stored["query_hash"])
    card = TEMPLATE.read_text(encoding="utf-8")
    values = {
        "LANGUAGES": "\n".join(f"- {name}" for name in ["eng", *tags]),
        "SIZE": f"{size / 1e6:.1f}", "SOURCES": table, "ROWS": f"{total:,}", "USED": f"{used:,}",
        "STATIC": f"{static['steps']:,} steps, {static_minutes:.0f} minutes",
        "TRAINED": f"{trained['step']:,} steps, {trained['minutes']:.0f} minutes",
        "TATOEBA36": f"{result['tatoeba_36']:.1f}", "TATOEBA112": f"{result['tatoeba_112']:.1f}",
        "STSMEAN": f"{result['sts_mean']:.1f}", "RETRIEVALMEAN": f"{result['retrieval_mean']:.1f}",
        "RETRIEVALNATIVE": f"{result['retrieval_mean_without_afriqa']:.1f}",
        "TATOEBA": cells(result["tatoeba"], 8), "STS": cells(result["sts"], 4),
        "RETRIEVAL": cells(result["retrieval"], 4),
        "WEB": WEB, "WIKIPEDIA": WIKIPEDIA, "BITEXT": BITEXT, "SIMILAR": SIMILAR, "QUESTIONS": QUESTIONS,
    }  # fmt: skip
    for name, value in values.items():
        card = card.replace(f"@{name}@", value)
    (arguments.folder / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
