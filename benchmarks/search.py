"""Search measured on real text: indexing, exact and indexed search, recall, memory, and Chroma on the same vectors.

    python benchmarks/search.py FOLDER… --passages 200000 --out benchmarks/results [--chroma PYTHON]

FOLDER holds Parquet files with the columns `query` (a title) and `positive` (a passage). Every stage is a process of
its own, so that memory is its own; figures of search are taken in turns. --chroma names a Python that has chromadb and
me5.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from harness import machine

K = 10


def main() -> None:
    options = _options()
    if options.stage:
        result = STAGES[options.stage](options)
        result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        Path(options.result).write_text(json.dumps(result))
        return
    work = Path(options.work or tempfile.mkdtemp(prefix="me5-search-"))
    work.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {"machine": machine.describe(), "date": str(date.today()), "load": os.getloadavg()}
    for stage in ("collect", "index", "search", "quantize", *(["chroma"] if options.chroma else [])):
        figures[stage] = _run(stage, options, work)
        print(stage, json.dumps(figures[stage]), flush=True)
    figures["load_at_end"] = os.getloadavg()
    name = f"search_{machine.slug()}_{figures['date']}"
    out = Path(options.out)
    (out / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    (out / f"{name}.md").write_text(report(figures, name))
    draw(figures, out / f"{name}.svg")
    if not options.work:
        shutil.rmtree(work)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    parser.add_argument("--passages", type=int, default=200_000)
    parser.add_argument("--longest", type=int, default=150, help="leave out passages of more characters")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--model", help="default: the bundled model")
    parser.add_argument("--chroma", metavar="PYTHON")
    parser.add_argument("--out", default="benchmarks/results")
    parser.add_argument("--work", help="keep the texts and the store here")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(stage: str, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    result = work / f"{stage}.json"
    python = options.chroma if stage == "chroma" else sys.executable
    command = [python, __file__, *options.folders, "--stage", stage, "--work", str(work), "--result", str(result)]
    command += ["--passages", str(options.passages), "--longest", str(options.longest)]
    command += ["--questions", str(options.questions)]
    command += ["--model", options.model] if options.model else []
    subprocess.run(command, check=True)
    figures: dict[str, Any] = json.loads(result.read_text())
    return figures


def collect(options: argparse.Namespace) -> dict[str, Any]:
    """Distinct passages, folder by folder until there are enough, each folder shuffled, as Parquet files of 20,000."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    seen: set[str] = set()
    rows: list[dict[str, str]] = []
    for folder in options.folders:
        found = [
            row
            for path in sorted(Path(folder).glob("*.parquet"))
            for row in pq.read_table(path, columns=["query", "positive", "positive_lang"]).to_pylist()
        ]
        random.Random(0).shuffle(found)
        for row in found:
            text = row["positive"]
            if 40 <= len(text) <= options.longest and text not in seen and len(rows) < options.passages:
                seen.add(text)
                rows.append({"text": text, "title": row["query"], "language": row["positive_lang"]})
    random.Random(1).shuffle(rows)
    target = Path(options.work) / "texts"
    target.mkdir(exist_ok=True)
    for at in range(0, len(rows), 20_000):
        titled = [{**row, "title": ""} for row in rows[at : at + 20_000]]
        pq.write_table(pa.Table.from_pylist(titled), target / f"{at // 20_000:03}.parquet")
    asked = random.Random(2).sample([row["title"] for row in rows if row["title"]], options.questions)
    (Path(options.work) / "questions.json").write_text(json.dumps(asked))
    characters = sum(len(row["text"]) for row in rows)
    languages = len({row["language"] for row in rows})
    return {"passages": len(rows), "characters": characters, "languages": languages}


def index(options: argparse.Namespace) -> dict[str, Any]:
    """The whole of `me5 index`, from files; then the same again with nothing changed."""
    from me5 import Embedder
    from me5.search import Index

    opened = Index.open(_store(options), Embedder.load(options.model), create=True)
    summary = opened.add([Path(options.work) / "texts"])
    started = perf_counter()
    built = opened.finish()
    finishing = perf_counter() - started
    started = perf_counter()
    again = opened.add([Path(options.work) / "texts"])
    return {
        "passages": summary.passages,
        "tokens": summary.tokens,
        "seconds": summary.seconds,
        "passages_per_s": summary.passages / summary.seconds,
        "tokens_per_s": summary.tokens / summary.seconds,
        "engine_share": summary.engine_seconds / summary.seconds,
        "bad": len(summary.bad),
        "finish_seconds": finishing,
        "again_seconds": perf_counter() - started,
        "again_unchanged": again.unchanged,
        "recall_at_build": built.recall if built else None,
        "store_mb": opened.store.size() / 1e6,
        "precision": opened.embedder.precision,
        "text_index_mb": opened.store.index_bytes("text") / 1e6,
    }


def search(options: argparse.Namespace) -> dict[str, Any]:
    """Titles as questions, exact and through the index in turns; and whole searches with the model."""
    from me5.search import Index
    from me5.search.searching import Question, find

    opened = Index.open(_store(options))
    asked = json.loads((Path(options.work) / "questions.json").read_text())
    vectors = opened.embedder.encode_query(asked)
    ways = {
        "exact": lambda at: opened.store.snapshot().nearest(vectors[at], K, exact=True),
        "index": lambda at: opened.store.snapshot().nearest(vectors[at], K),
        "hybrid": lambda at: find(opened.store, Question(asked[at], K, hybrid=True), vectors[at]),
        "whole search, model included": lambda at: opened.search(asked[at], K),
        "whole search, hybrid": lambda at: opened.search(asked[at], K, hybrid=True),
        "whole search, best sentence": lambda at: opened.search(asked[at], K, highlight=True),
    }
    times, found = _in_turns(ways, len(asked))
    truth = found["exact"]
    shares = [len({*ids} & {*right}) / K for ids, right in zip(found["index"], truth, strict=True)]
    np.save(Path(options.work) / "vectors.npy", vectors)
    (Path(options.work) / "truth.json").write_text(json.dumps(truth))
    checked = opened.check()
    return {
        "questions": len(asked),
        "ways": {way: _percentiles(seconds) for way, seconds in times.items()},
        "recall_at_10": float(np.mean(shares)),
        "recall_by_check": checked.recall if checked else None,
        "tuning": asdict(checked.tuning) if checked else None,
    }


def quantize(options: argparse.Namespace) -> dict[str, Any]:
    """An index of each kind over the same vectors; the store keeps the first."""
    from me5.search import Index, recall

    opened = Index.open(_store(options))
    kinds = {}
    kept = opened.store.settings
    for quantization in ("int8", "binary", "none"):
        opened.store.settings = replace(kept, quantization=quantization)
        started = perf_counter()
        built = recall.train(opened.store, opened.embedder)
        kinds[quantization] = {**asdict(built), "build_and_tune_seconds": perf_counter() - started, "told": str(built)}
    return kinds


def chroma(options: argparse.Namespace) -> dict[str, Any]:
    """Chroma with its defaults on the same vectors: adding, searching, and its recall against our exact search."""
    import chromadb
    from chromadb.config import Settings

    from me5.search import Index

    opened = Index.open(_store(options))
    table = opened.store.passages.search().select(["id", "text", "vector"]).to_arrow()
    ids, texts = table["id"].to_pylist(), table["text"].to_pylist()
    width = opened.settings.dim
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    folder = Path(options.work) / "chroma"
    shutil.rmtree(folder, ignore_errors=True)
    client = chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))
    collection = client.create_collection(
        "passages", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )
    started = perf_counter()
    for at in range(0, len(ids), 5000):
        part = slice(at, at + 5000)
        collection.add(ids=ids[part], documents=texts[part], embeddings=vectors[part])
    adding = perf_counter() - started
    asked = np.load(Path(options.work) / "vectors.npy", allow_pickle=False)
    truth = json.loads((Path(options.work) / "truth.json").read_text())

    def ask(at: int) -> list[dict[str, str]]:
        return [{"id": found} for found in collection.query(query_embeddings=[asked[at]], n_results=K)["ids"][0]]

    ways = {"chroma": ask, "me5, index": lambda at: opened.store.snapshot().nearest(asked[at], K)}
    times, found = _in_turns(ways, len(asked))
    shares = [len({*got} & {*right}) / K for got, right in zip(found["chroma"], truth, strict=True)]
    return {
        "version": chromadb.__version__,
        "add_seconds": adding,
        "passages_per_s": len(ids) / adding,
        "ways": {way: _percentiles(seconds) for way, seconds in times.items()},
        "recall_at_10": float(np.mean(shares)),
        "store_mb": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6,
    }


def _in_turns(ways: dict[str, Any], count: int) -> tuple[dict[str, list[float]], dict[str, list[list[str]]]]:
    """Seconds and ids of every way, question by question; the first of each is not counted."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    found: dict[str, list[list[str]]] = {way: [] for way in ways}
    for ask in ways.values():
        ask(0)
    for at in range(count):
        for way, ask in ways.items():
            started = perf_counter()
            hits = ask(at)
            times[way].append(perf_counter() - started)
            found[way].append([hit["id"] if isinstance(hit, dict) else hit.id for hit in hits])
    return times, found


def _percentiles(seconds: list[float]) -> dict[str, float]:
    return {"p50_ms": 1e3 * float(np.percentile(seconds, 50)), "p99_ms": 1e3 * float(np.percentile(seconds, 99))}


def _store(options: argparse.Namespace) -> str:
    return str(Path(options.work) / "store.lance")


def report(figures: dict[str, Any], name: str) -> str:
    """The figures as a page."""
    texts, made, asked = figures["collect"], figures["index"], figures["search"]
    lines = [
        f"# Search over {texts['passages']:,} passages", "",
        f"{figures['machine']}; {figures['date']}; load average {figures['load'][0]:.1f} at the start, "
        f"{figures['load_at_end'][0]:.1f} at the end (two cores: above 2 the times suffer). "
        f"{texts['characters']:,} characters in {texts['languages']} languages; "
        f"the bundled model at {made['precision']}.",
        "", f"![search]({name}.svg)", "",
        "| indexing | |", "|---|--:|",
        f"| passages per second, from files to a searchable store | {made['passages_per_s']:,.0f} |",
        f"| tokens per second | {made['tokens_per_s']:,.0f} |",
        f"| share of the time in the engine | {made['engine_share']:.1%} |",
        f"| tidying, full-text index, vector index with its tuning | {made['finish_seconds']:.0f} s |",
        f"| the same files again, unchanged | {made['again_seconds']:.2f} s |",
        f"| peak memory | {made['peak_memory_mb']:,.0f} MB |",
        f"| store on disk, of that the full-text index | {made['store_mb']:,.0f} MB, {made['text_index_mb']:,.0f} MB |",
        "", "| search, one question at a time | p50 ms | p99 ms |", "|---|--:|--:|",
        *(f"| {way} | {told['p50_ms']:.1f} | {told['p99_ms']:.1f} |" for way, told in asked["ways"].items()),
        "",
        f"recall@10 of the index at its default, {asked['questions']} titles as questions: "
        f"**{asked['recall_at_10']:.4f}**; by `me5 index check`, sentences as questions: "
        f"{asked['recall_by_check'] or 1:.4f}. Peak memory of the searching process: "
        f"{asked['peak_memory_mb']:,.0f} MB.",
        "", "| vectors in the index | recall@10 | ms | MB | build and tuning, s |", "|---|--:|--:|--:|--:|",
        *(
            f"| {kind} | {told['recall']:.4f} | {1e3 * told['index_seconds']:.1f} | {told['index_bytes'] / 1e6:,.1f} | "
            f"{told['build_and_tune_seconds']:.0f} |"
            for kind, told in figures["quantize"].items()
            if isinstance(told, dict)
        ),
    ]  # fmt: skip
    if "chroma" in figures:
        other = figures["chroma"]
        lines += [
            "", f"Chroma {other['version']}, its defaults with cosine, given the vectors that me5 had made:",
            "", "| | p50 ms | p99 ms | recall@10 | adding, s | MB on disk |", "|---|--:|--:|--:|--:|--:|",
            f"| chroma | {other['ways']['chroma']['p50_ms']:.1f} | {other['ways']['chroma']['p99_ms']:.1f} | "
            f"{other['recall_at_10']:.4f} | {other['add_seconds']:.0f} | {other['store_mb']:,.0f} |",
            f"| me5, same process, in turns | {other['ways']['me5, index']['p50_ms']:.1f} | "
            f"{other['ways']['me5, index']['p99_ms']:.1f} | {asked['recall_at_10']:.4f} | "
            f"{made['seconds'] * (1 - made['engine_share']) + made['finish_seconds']:.0f} (all but the engine) | "
            f"{made['store_mb']:,.0f} |",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def draw(figures: dict[str, Any], path: Path) -> None:
    """Latency by way, median and 99th percentile."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "me5"
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    ways = dict(figures["search"]["ways"])
    if "chroma" in figures:
        ways["chroma, vectors given"] = figures["chroma"]["ways"]["chroma"]
    names = list(ways)[::-1]
    figure, axis = pyplot.subplots(figsize=(8, 0.5 * len(names) + 1.4))
    medians = [ways[name]["p50_ms"] for name in names]
    tails = [ways[name]["p99_ms"] for name in names]
    axis.hlines(names, medians, tails, color="#7a869a", linewidth=2)
    axis.plot(medians, names, "o", color="#2a78b5", label="median")
    axis.plot(tails, names, "o", color="#d9822b", label="99 %")
    for name, median, tail in zip(names, medians, tails, strict=True):
        axis.annotate(f"{median:.0f}", (median, name), (0, 7), textcoords="offset points", ha="center", fontsize=8)
        axis.annotate(f"{tail:.0f}", (tail, name), (0, 7), textcoords="offset points", ha="center", fontsize=8)
    axis.set_xscale("log")
    axis.set_xlabel("milliseconds per question (log)")
    axis.margins(y=0.15)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    axis.set_title(f"Search over {figures['collect']['passages']:,} passages; {figures['machine']}", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


STAGES = {"collect": collect, "index": index, "search": search, "quantize": quantize, "chroma": chroma}

if __name__ == "__main__":
    main()
