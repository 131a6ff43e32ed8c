"""Write the model card from the results of `me5 eval run`, the logs of the runs and the licence columns of the data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from me5.evaluation.bm25 import NAME as BM25
from me5.evaluation.results import Result, read

# The 36 languages of the XTREME benchmark, by the names of the Tatoeba files.
XTREME = [
    "afr", "ara", "ben", "bul", "cmn", "deu", "ell", "spa", "est", "eus", "pes", "fin", "fra", "heb", "hin",
    "hun", "ind", "ita", "jpn", "jav", "kat", "kaz", "kor", "mal", "mar", "nld", "por", "rus", "swh", "tam",
    "tel", "tgl", "tha", "tur", "urd", "vie",
]  # fmt: skip
LISTED_FROM = 40.0  # per cent of Tatoeba: from here the front matter names a language, below it is told as a limit
FIGURES = {"BitextMining": "accuracy_both", "STS": "cosine_spearman", "Retrieval": "ndcg_at_10"}
TEMPLATE = Path(__file__).with_name("card.md")

Scores = dict[str, dict[str, float]]  # type of task -> name of set -> figure x 100


def by_model(results: list[Result]) -> dict[str, Scores]:
    """Return the main figure of every set of every model."""
    found: dict[str, Scores] = {}
    for result in results:
        name = result.subset.name.removesuffix("-eng")
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


def mean(scores: dict[str, float], names: list[str] | None = None) -> str:
    """Return the mean of all scores, or of the named ones, as the card prints it."""
    return f"{np.mean([scores[name] for name in names or scores]):.1f}"


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


def stage(run: Path, name: str) -> str:
    """Return the steps, tokens and seconds of a stage from its log."""
    steps = [json.loads(line) for line in (run / "runs" / name / "log.jsonl").read_text("utf-8").splitlines()]
    steps = [step for step in steps if "tokens" in step]
    tokens, seconds = sum(step["tokens"] for step in steps), sum(step["seconds"] for step in steps)
    return f"{len(steps):,} steps, {tokens / 1e6:.1f} M tokens, {seconds:.0f} seconds"


def minutes(log: Path) -> float:
    """Return how long static vectors were trained."""
    return float(json.loads(log.read_text("utf-8").splitlines()[-1])["minutes"])


def worse(ours: Scores, static: Scores) -> str:
    """Return in which files and sets the static vectors are better, in words."""
    said = []
    for kind, title in (("BitextMining", "Tatoeba"), ("STS", "similarity"), ("Retrieval", "retrieval")):
        below = [name for name, score in sorted(ours[kind].items()) if score < static[kind].get(name, 0.0)]
        said += [f"{title}: {', '.join(below)}"] if below else []
    return f"The static vectors are better in {'; '.join(said)}." if said else "The static vectors are better nowhere."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path, help="the model's")
    arguments = parser.parse_args()
    run = arguments.run
    scores = by_model(read(run / "results"))
    ours, static, teacher = (
        next(found for name, found in scores.items() if name.startswith(f"{wanted} ("))
        for wanted in ("me5-mini", "static", "teacher")
    )
    ours["bare"] = next(iter(by_model(read(run / "results_bare")).values()))["STS"]
    static["bare"] = static["STS"]
    yardstick = scores[BM25]["Retrieval"]
    fused = run / "hybrid.json"
    hybrid = (
        {name: 100 * score for name, score in json.loads(fused.read_text("utf-8")).items()} if fused.exists() else {}
    )
    retrieval, tatoeba = ours["Retrieval"], ours["BitextMining"]
    native = [name for name in retrieval if not name.startswith("afriqa")]
    crossing = [name for name in retrieval if name.startswith("afriqa")]
    xtreme = [name for name in XTREME if name in tatoeba]  # all 36 where the whole of it was judged
    english = [name for name in native if name.endswith("-en")]
    table, total = sources(arguments.data)
    all_of_tatoeba = (f"Tatoeba, {len(tatoeba)} languages", list(tatoeba), "BitextMining")
    groups = []
    for title, names, kind in (
        (f"Tatoeba, accuracy of both directions, {len(xtreme)} languages of XTREME", xtreme, "BitextMining"),
        *([all_of_tatoeba] if len(tatoeba) > len(xtreme) else []),
        ("similarity, Spearman, 14 files", list(ours["STS"]), "STS"),
        ("similarity of bare texts", list(ours["bare"]), "bare"),
        ("similarity, English", ["stsb-multi en"], "STS"),
        (f"retrieval in one language, nDCG@10, {len(native)} sets", native, "Retrieval"),
        (f"retrieval, English, {len(english)} sets", english, "Retrieval"),
        (
            f"retrieval, question in an African language, passage not, {len(crossing)} sets",
            crossing,
            "Retrieval",
        ),
    ):
        columns = [ours[kind], static[kind], teacher.get(kind, {})]
        columns += [yardstick, hybrid] if kind == "Retrieval" else [{}, {}]
        told = [mean(column, names) if set(names) <= set(column) else "" for column in columns]
        groups.append(f"| {title} | **{told[0]}** | {' | '.join(told[1:])} |")
    tags = sorted(name for name in xtreme if tatoeba[name] >= LISTED_FROM)
    files = [path for path in arguments.folder.rglob("*") if path.is_file() and path.name != "README.md"]
    values = {
        "LANGUAGES": "\n".join(f"- {name}" for name in ["eng", *tags]),
        "SIZE": f"{sum(path.stat().st_size for path in files) / 1e6:.1f}",
        "SOURCES": table, "ROWS": f"{total:,}", "GROUPS": "\n".join(groups),
        "WORSE": worse(ours, static),
        "STATIC": f"{minutes(run / 'written.jsonl') + minutes(run / 'static.jsonl'):.0f}",
        "PAIRS": stage(run, "pairs"), "FINAL": stage(run, "final"),
        "RETRIEVAL": beside(list(retrieval), retrieval, static["Retrieval"], yardstick, hybrid),
        "STS": beside(list(ours["STS"]), ours["STS"], ours["bare"], static["STS"]), "TATOEBA": cells(tatoeba),
        "BELOW": ", ".join(sorted(name for name in tatoeba if tatoeba[name] < LISTED_FROM)),
    }  # fmt: skip
    card = TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        card = card.replace(f"@{name}@", value)
    (arguments.folder / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
