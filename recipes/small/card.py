"""Write the model card from the results of `me5 eval run`, the log of the training and the licences of the data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from me5.checkpoint import resolve
from me5.evaluation.bm25 import NAME as BM25
from me5.evaluation.results import Result, read
from me5.search.fusion import WEIGHT

# The 36 languages of the XTREME benchmark, by the names of the Tatoeba files.
XTREME = [
    "afr", "ara", "ben", "bul", "cmn", "deu", "ell", "spa", "est", "eus", "pes", "fin", "fra", "heb", "hin",
    "hun", "ind", "ita", "jpn", "jav", "kat", "kaz", "kor", "mal", "mar", "nld", "por", "rus", "swh", "tam",
    "tel", "tgl", "tha", "tur", "urd", "vie",
]  # fmt: skip
# The card's sets; the others have training parts in the data, or are as large as all of these.
NATIVE = [
    "amqa-am", "arcd-ar", "cnil-fr", "fairytaleqa-en", "faquad-pt", "heq-he", "integreat-de", "integreat-en",
    "kazqad-kk", "norquad-no", "persianqa-fa", "piaf-fr", "pubmedqa-en", "qed-en",
]  # fmt: skip
FIGURES = {"BitextMining": "accuracy_both", "STS": "cosine_spearman", "Retrieval": "ndcg_at_10"}
TEMPLATE = Path(__file__).with_name("card.md")

Scores = dict[str, dict[str, float]]  # type of task -> name of set -> figure x 100


def by_model(results: list[Result]) -> dict[str, Scores]:
    """Return the main figure of every set of every model."""
    found: dict[str, Scores] = {}
    for result in results:
        name = result.subset.name.removesuffix("-eng").replace("cnil-faq", "cnil")
        if result.type == "STS":
            name = f"{result.subset.task.removesuffix('-dev')} {name}"
        scores = found.setdefault(result.model, {}).setdefault(result.type, {})
        scores[name] = 100 * result.outcome.scores[FIGURES[result.type]]
    return found


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


def beside(names: list[str], *columns: dict[str, float]) -> str:
    """Return table rows of names and the scores of several models; what a model was not judged on stays empty."""
    rows = []
    for name in sorted(names):
        cells = [f"{column[name]:.1f}" if name in column else "" for column in columns]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def cells(scores: dict[str, float], columns: int = 8) -> str:
    """Return a table of names and scores, several pairs a line."""
    pairs = [f"{name} | {value:.1f}" for name, value in sorted(scores.items())]
    pairs += [" | "] * (-len(pairs) % columns)
    lines = ["| " + " | ".join(pairs[i : i + columns]) + " |" for i in range(0, len(pairs), columns)]
    return "\n".join([f"|{' | |' * columns}\n|{'---|--:|' * columns}", *lines])


def stage(log: Path) -> str:
    """Return the steps, tokens and minutes of a stage from its log."""
    steps = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    steps = [step for step in steps if "tokens" in step]
    tokens, seconds = sum(step["tokens"] for step in steps), sum(step["seconds"] for step in steps)
    return f"{len(steps):,} steps, {tokens / 1e6:.1f} M tokens, {seconds / 60:.0f} minutes"


def calibration(work: Path) -> dict[str, str]:
    """Return what the card says of a calibration: a table row for each set that it was judged on, and their means."""
    sets = json.loads((work / "judged.json").read_text("utf-8"))["sets"]
    rows = [
        f"| {one['name'].rpartition('/')[2]} | {one['questions']:,} | {one['predicted']:.3f} | {one['observed']:.3f} | "
        f"{one['error']:.3f} | {one['unplaced']:.3f} |"
        for one in sets
    ]
    error, plain = (f"{np.mean([one[name] for one in sets]):.3f}" for name in ("error", "unplaced"))
    drawn = sum(1 for path in (work / "sets").iterdir() if path.is_dir())
    return {"CALIBRATION": "\n".join(rows), "LANGUAGES": str(drawn), "ERROR": error, "PLAIN": plain}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("model", type=Path, help="the GGUF file; the card is written beside it")
    arguments = parser.parse_args()
    run = arguments.run
    scores = by_model(read(run / "results"))
    ours = next(found for name, found in scores.items() if name.startswith("me5-small ("))
    start = next((found for name, found in scores.items() if name.startswith("start (")), {})
    yardstick = scores[BM25]["Retrieval"]
    found = json.loads((run / "hybrid.json").read_text("utf-8"))
    hybrid = {name.replace("cnil-faq", "cnil"): 100 * scores[str(WEIGHT)] for name, scores in found.items()}
    retrieval, tatoeba = ours["Retrieval"], ours["BitextMining"]
    crossing = [name for name in retrieval if name.startswith("afriqa")]
    groups = []
    for title, names, kind in (
        ("Tatoeba, accuracy of both directions, 36 languages of XTREME", XTREME, "BitextMining"),
        ("similarity, Spearman, 14 files", list(ours["STS"]), "STS"),
        ("similarity, English", ["stsb-multi en"], "STS"),
        ("retrieval in one language, nDCG@10, 14 sets", NATIVE, "Retrieval"),
        ("retrieval, question in an African language, passage not, 9 sets", crossing, "Retrieval"),
    ):
        columns = [ours[kind], start.get(kind, {}), *([yardstick, hybrid] if kind == "Retrieval" else [{}, {}])]
        told = [
            f"{np.mean([column[name] for name in names]):.1f}" if set(names) <= set(column) else ""
            for column in columns
        ]
        groups.append(f"| {title} | **{told[0]}** | {' | '.join(told[1:])} |")
    table, total = sources(arguments.data)
    values = {
        "SIZE": f"{arguments.model.stat().st_size / 1e6:.1f}", "GROUPS": "\n".join(groups),
        "PIECES": f"{resolve(arguments.model).config.vocab_size:,}", "TUNE": stage(run / "runs" / "tune" / "log.jsonl"),
        "SETTLE": stage(run / "runs" / "settle" / "log.jsonl"),
        "RETRIEVAL": beside(list(retrieval), retrieval, start.get("Retrieval", {}), yardstick, hybrid),
        "STS": beside(list(ours["STS"]), ours["STS"], start.get("STS", {})), "TATOEBA": cells(tatoeba),
        "SOURCES": table, "ROWS": f"{total:,}", **calibration(run / "calibration"),
    }  # fmt: skip
    card = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        card = card.replace(f"@{name}@", value)
    (arguments.model.parent / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
