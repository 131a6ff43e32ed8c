"""Search measured on real text: indexing, building the indexes, searching, and other libraries at equal recall.

    python benchmarks/search.py FOLDER… --passages 200000 [--others PYTHON]

FOLDER holds Parquet files with the columns `query` (a title) and `positive` (a passage). Every stage is a process of
its own, so that memory is its own; ways to search take turns, question by question. Beside the time on the clock
stands the processor's, which other work on the machine changes little. --others names a Python that has chromadb,
sqlite-vec, usearch, tantivy and me5. --stages runs some stages again in a --work folder that is there. The figures are
written to benchmarks/results/search[_NAME]_MACHINE_DATE.json.
"""

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from harness import engines, results

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
    figures = results.begin("search")
    for stage in ("collect", "index", "build", "search", *(OTHERS if options.others else ())):
        if options.stages and stage not in options.stages.split(","):
            if (work / f"{stage}.json").exists():
                figures[stage] = engines.read(work / f"{stage}.json")
            continue
        figures[stage] = _run(stage, options, work)
        print(stage, json.dumps(figures[stage]), flush=True)
    results.save(figures, options.out, options.name)
    print(report(figures))
    if not options.work:
        shutil.rmtree(work)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    parser.add_argument("--passages", type=int, default=200_000)
    parser.add_argument("--longest", type=int, default=150, help="leave out passages of more characters")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--model", help="default: the bundled model")
    parser.add_argument("--others", metavar="PYTHON")
    parser.add_argument("--stages", help="only these; the others are as the last run left them in --work")
    parser.add_argument("--name", default="", help="in the file name, such as million (default: none)")
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    parser.add_argument("--work", help="keep the texts and the store here")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(stage: str, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    result = work / f"{stage}.json"
    python = options.others if stage in OTHERS else sys.executable
    command = [python, __file__, *options.folders, "--stage", stage, "--work", str(work), "--result", str(result)]
    command += ["--passages", str(options.passages), "--longest", str(options.longest)]
    command += ["--questions", str(options.questions)]
    command += ["--model", options.model] if options.model else []
    subprocess.run(command, check=True)
    figures: dict[str, Any] = json.loads(result.read_text())
    return figures


def collect(options: argparse.Namespace) -> dict[str, Any]:
    """Distinct passages, folder by folder until there are enough, each folder shuffled, as Parquet files of 20,000.

    Where the passages are too few, the other sides of the pairs, mostly the same in another language, come after them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    seen: set[str] = set()
    rows: list[dict[str, str]] = []
    for side, other in (("positive", "query"), ("query", "")):
        for folder in options.folders:
            found = [
                row
                for path in sorted(Path(folder).glob("*.parquet"))
                for row in pq.read_table(path, columns=["query", "positive", f"{side}_lang"]).to_pylist()
            ]
            random.Random(0).shuffle(found)
            for row in found:
                text = row[side]
                if 40 <= len(text) <= options.longest and text not in seen and len(rows) < options.passages:
                    seen.add(text)
                    rows.append({"text": text, "title": row.get(other, ""), "language": row[f"{side}_lang"]})
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
    opened.store.tidy(timedelta(0))
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
        "again_seconds": perf_counter() - started,
        "again_unchanged": again.unchanged,
        "precision": opened.embedder.precision,
    }


def build(options: argparse.Namespace) -> dict[str, Any]:
    """Both indexes anew, over passages that are there."""
    from me5.search import Index, recall

    opened = Index.open(_store(options))
    store = opened.store
    _ = opened.embedder
    if any(found.columns == ["words"] for found in store.passages.list_indices()):
        store.passages.drop_index("words_idx")
    _, words = _timed(store.index_words)
    _, vectors = _timed(store.index_vectors)
    _, tuning = _timed(lambda: recall.train(store, opened.embedder))
    store.tidy(timedelta(0))
    checked = opened.check()
    assert checked is not None
    rows = store.passages.search().select(["text", "title"]).to_list()
    return {
        "words": words, "vectors": vectors, "vectors_and_tuning": tuning, "told": str(checked), **asdict(checked),
        "store_mb": store.size() / 1e6,
        "words_index_mb": store.index_bytes("words") / 1e6,
        "vector_index_mb": store.index_bytes("vector") / 1e6,
        "vectors_and_texts_mb": (4 * len(rows) * opened.settings.dim + sum(
            len(row["text"].encode()) + len(row["title"].encode()) for row in rows
        )) / 1e6,
    }  # fmt: skip


def search(options: argparse.Namespace) -> dict[str, Any]:
    """Titles as questions, by every way in turns; the first four without the model."""
    from me5.search import Index
    from me5.search.searching import Question, find

    opened = Index.open(_store(options))
    asked = engines.read(Path(options.work) / "questions.json")[: options.questions]
    vectors = opened.embedder.encode_query(asked)
    np.save(Path(options.work) / "vectors.npy", vectors)

    def found(by: Any) -> Any:
        return lambda at: find(opened.store, Question(asked[at], K, by=by), vectors[at])

    ways = {
        "exact": lambda at: opened.store.snapshot().nearest(vectors[at], K, exact=True),
        "index": lambda at: opened.store.snapshot().nearest(vectors[at], K, columns=("id",)),
        "look for a newer version": lambda _: opened.store.snapshot() and [],
        "vectors": found("vectors"),
        "words": found("words"),
        "both": found("both"),
        "both, model included": lambda at: opened.search(asked[at], K),
        "both, model and best sentence": lambda at: opened.search(asked[at], K, highlight=True),
    }
    times, ids = _in_turns(ways, len(asked))
    return {
        "questions": len(asked),
        "ways": times,
        "recall_at_10": _recall(ids["index"], ids["exact"]),
    }


def beside(kind: type) -> Any:
    """A stage: another library on the same vectors, at the cheapest setting with at least the recall of the store."""

    def stage(options: argparse.Namespace) -> dict[str, Any]:
        ids, texts, _, vectors, asked, questions, snapshot = _given(options)
        best = [np.argsort(-(vectors @ question), kind="stable")[:K] for question in questions]
        truth = [[ids[at] for at in row] for row in best]

        def ours(at: int) -> list[str]:
            return [row["id"] for row in snapshot.nearest(questions[at], K, columns=("id", "text"))]

        least = _recall([ours(at) for at in range(len(asked))], truth)
        folder = engines.fresh(Path(options.work) / kind.__name__.lower())
        engine, building = _timed(lambda: kind(folder, ids, texts, vectors))
        for width in kind.WIDTHS:
            engine.turn(width)
            if (reached := _recall([engine.ask(question, K) for question in questions], truth)) >= least:
                break
        ways = {"other": lambda at: engine.ask(questions[at], K), "me5": ours}
        return {
            "version": engine.version, "build": building, "width": width, "recall_at_10": reached,
            "me5_recall": least, "mb": engines.size_of(folder) / 1e6, "ways": _in_turns(ways, len(asked))[0],
        }  # fmt: skip

    return stage


def tantivy(options: argparse.Namespace) -> dict[str, Any]:
    """The same for words."""
    from me5.words import terms

    ids, _, words, _, asked, _, snapshot = _given(options)
    folder = engines.fresh(Path(options.work) / "tantivy")
    engine, building = _timed(lambda: engines.Tantivy(folder, ids, words))
    times, hits = _in_turns({
        "other": lambda at: engine.ask(terms(asked[at], question=True), K),
        "me5": lambda at: [row["id"] for row in snapshot.matching(asked[at], K, columns=("id",))],
    }, len(asked))  # fmt: skip
    return {
        "version": engine.version, "build": building, "mb": engines.size_of(engine.folder) / 1e6, "ways": times,
        "same_of_10": _recall(hits["other"], hits["me5"]),
    }  # fmt: skip


def _given(options: argparse.Namespace) -> Any:
    """What the other libraries are given: ids, texts, words and vectors of the store; questions and their vectors."""
    from me5.search import Index

    opened = Index.open(_store(options))
    table = opened.store.passages.search().select(["id", "text", "words", "vector"]).to_arrow()
    ids, texts, words = (table[name].to_pylist() for name in ("id", "text", "words"))
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(len(ids), -1)
    asked = engines.read(Path(options.work) / "questions.json")[: options.questions]
    questions = np.load(Path(options.work) / "vectors.npy", allow_pickle=False)[: len(asked)]
    return ids, texts, words, vectors, asked, questions, opened.store.snapshot()


def _timed(work: Any) -> tuple[Any, dict[str, float]]:
    clock, processor = perf_counter(), process_time()
    made = work()
    return made, {"seconds": perf_counter() - clock, "processor_seconds": process_time() - processor}


def _recall(found: list[list[str]], truth: list[list[str]]) -> float:
    shares = [len({*ids} & {*right}) / len(right) for ids, right in zip(found, truth, strict=True) if right]
    return float(np.mean(shares))


def _in_turns(ways: dict[str, Any], count: int) -> tuple[dict[str, dict[str, float]], dict[str, list[list[str]]]]:
    """Percentiles and ids of every way, question by question; the first of each is not counted."""
    clocks: dict[str, list[float]] = {way: [] for way in ways}
    processors: dict[str, list[float]] = {way: [] for way in ways}
    found: dict[str, list[list[str]]] = {way: [] for way in ways}
    for ask in ways.values():
        ask(0)
    for at in range(count):
        for way, ask in ways.items():
            clock, processor = perf_counter(), process_time()
            hits = ask(at)
            processors[way].append(process_time() - processor)
            clocks[way].append(perf_counter() - clock)
            found[way].append([one if isinstance(one, str) else _id(one) for one in hits])
    return {
        way: {
            "p50_ms": 1e3 * float(np.percentile(clocks[way], 50)),
            "p99_ms": 1e3 * float(np.percentile(clocks[way], 99)),
            "fastest_ms": 1e3 * min(clocks[way]),
            "processor_ms": 1e3 * float(np.median(processors[way])),
        }
        for way in ways
    }, found


def _id(hit: Any) -> str:
    return str(hit["id"] if isinstance(hit, dict) else hit.id)


def _store(options: argparse.Namespace) -> str:
    return str(Path(options.work) / "store.lance")


def report(figures: dict[str, Any]) -> str:
    """The figures as a page."""
    texts, made, built, asked = (figures[stage] for stage in ("collect", "index", "build", "search"))
    lines = [
        f"# Search over {texts['passages']:,} passages", "",
        f"{figures['machine']}; {figures['date']}; load average {figures['load_average'][0]:.1f} at the start, "
        f"{figures['load_average'][1]:.1f} at the end (two cores: above 2 the clock says little, and the processor's "
        f"time is what compares). {texts['characters']:,} characters in {texts['languages']} languages; the bundled "
        f"model at {made['precision']}.",
        "",
        "| building | s | processor s | MB |", "|---|--:|--:|--:|",
        f"| passages from files, {made['engine_share']:.0%} of it in the engine | {made['seconds']:.0f} | | |",
        *(
            f"| {what} | {built[key]['seconds']:.0f} | {built[key]['processor_seconds']:.0f} | {size} |"
            for what, key, size in (
                ("index over the words", "words", f"{built['words_index_mb']:,.0f}"),
                ("index over the vectors", "vectors", f"{built['vector_index_mb']:,.0f}"),
                ("the same with its tuning", "vectors_and_tuning", ""),
            )
        ),
        f"| the store; its vectors and texts alone have {built['vectors_and_texts_mb']:,.0f} | | | "
        f"{built['store_mb']:,.0f} |",
        f"| the same files again, unchanged | {made['again_seconds']:.2f} | | |",
        "", f"`me5 index check`: {built['told']}.", "",
        "| search, one question at a time | processor ms | fastest ms | p50 ms | p99 ms |", "|---|--:|--:|--:|--:|",
        *(f"| {way} {_cells(told)}" for way, told in asked["ways"].items()),
        "",
        f"recall@10 of the index, {asked['questions']} titles as questions: **{asked['recall_at_10']:.4f}**. Peak "
        f"memory of the searching process: {asked['peak_memory_mb']:,.0f} MB, of the indexing one "
        f"{made['peak_memory_mb']:,.0f} MB.",
    ]  # fmt: skip
    if others := [stage for stage in OTHERS if stage in figures]:
        lines += [
            "",
            "Others on the same vectors and words, at the cheapest setting with at least me5's recall, or the most "
            "thorough that was tried:",
            "", "| | recall@10 | processor ms | fastest ms | p50 ms | p99 ms | building, processor s | MB |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]  # fmt: skip
        for stage in others:
            told = figures[stage]
            theirs, ours = (f"{told[key]:.4f}" if key in told else "" for key in ("recall_at_10", "me5_recall"))
            lines += [
                f"| {stage} {told['version']} | {theirs} {_cells(told['ways']['other'])} "
                f"{told['build']['processor_seconds']:.0f} | {told['mb']:,.0f} |",
                f"| me5 beside it | {ours} {_cells(told['ways']['me5'])} | |",
            ]
    if "tantivy" in figures:
        lines += ["", f"Of the ten best by words {figures['tantivy']['same_of_10']:.2f} are the same in tantivy."]
    return "\n".join(lines) + "\n"


def _cells(told: dict[str, float]) -> str:
    return "| " + " | ".join(f"{told[key]:.1f}" for key in ("processor_ms", "fastest_ms", "p50_ms", "p99_ms")) + " |"


OTHERS = ("usearch", "sqlite-vec", "tantivy", "chroma")
STAGES = {
    "collect": collect, "index": index, "build": build, "search": search, "usearch": beside(engines.Usearch),
    "sqlite-vec": beside(engines.SqliteVec), "tantivy": tantivy, "chroma": beside(engines.Chroma),
}  # fmt: skip

if __name__ == "__main__":
    main()
