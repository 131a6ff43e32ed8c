"""`me5 eval`: how good is a model on evaluation sets in files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable

    from me5.evaluation.encoder import Encoder, Prompt
    from me5.evaluation.results import Result
    from me5.evaluation.task import Outcome, Task


def evaluate(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="BEIR folders, .tsv files, or folders of them.")],
    model: options.Model = None,
    bm25: Annotated[bool, typer.Option("--bm25", help="Also judge BM25 on every retrieval set.")] = False,
    task: options.Task = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write a JSON file per model and task.")
    ] = None,
    device: options.Device = "cpu",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    prompts: options.Prompts = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Judge a model: retrieval, translation mining, similarity, classification, by mteb's protocols, offline.

    Reads BEIR folders (corpus.jsonl, queries.jsonl, qrels/test.tsv), parallel sentences (sentence TAB sentence),
    similarity (score TAB sentence TAB sentence) and folders of train.tsv and test.tsv (label TAB text). Queries and
    symmetric texts get the prompt of the task type, or --task.

    \b
    me5 eval data/retrieval --bm25
    me5 eval data/tatoeba/deu-eng.tsv data/sts --model intfloat/multilingual-e5-small --out results
    """
    from me5.evaluation.encoder import CheckpointEncoder
    from me5.evaluation.readers import read
    from me5.evaluation.results import as_json as told

    tasks = [found for path in paths for found in read(path)]
    embedder = options.open_embedder(
        model, device=device, precision=precision, threads=threads, prompts=prompts, quiet=quiet
    )
    show = not quiet and not as_json
    results = _judge(tasks, CheckpointEncoder(embedder), sentence=task, bm25=bm25, out=out, show=show)
    if as_json:
        by_set = [told(result) for result in results]
        print(json.dumps(by_set, ensure_ascii=False, indent=2))  # noqa: T201
    else:
        _print(tasks, results)


def _judge(
    tasks: "list[Task]", encoder: "Encoder", *, sentence: str | None, bm25: bool, out: Path | None, show: bool
) -> "list[Result]":
    import sys
    from functools import partial
    from time import perf_counter

    from me5.evaluation import bm25 as yardstick
    from me5.evaluation.protocols import evaluate, prompts_of, texts_of
    from me5.evaluation.results import Result, interval_of, write
    from me5.evaluation.task import Retrieval
    from me5.progress import track

    results: list[Result] = []

    def measure(task: "Task", model: str, prompts: "list[Prompt]", judge: "Callable[[], Outcome]") -> None:
        started = perf_counter()
        outcome = judge()
        seconds = perf_counter() - started
        results.append(Result(task.subset, model, outcome, tuple(prompts), seconds, interval_of(outcome)))
        if out is not None:  # after every set, so that a run cut short keeps what it has
            write(out, results[-1])

    with track(sum(map(texts_of, tasks)), show=show and sys.stderr.isatty()) as advance:
        for task in tasks:
            prompts = prompts_of(task, encoder, sentence)
            measure(task, encoder.name, prompts, partial(evaluate, task, encoder, sentence=sentence, advance=advance))
            if bm25 and isinstance(task, Retrieval):
                measure(task, "BM25", [], partial(yardstick.evaluate, task))
    return results


def _print(tasks: "list[Task]", results: "list[Result]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("set", "model", "figure", "× 100", "95 %"):
        table.add_column(column, justify="right" if column == "× 100" else "left")
    for result in results:
        low_high = "" if result.interval is None else "{:.1f} – {:.1f}".format(*(100 * end for end in result.interval))
        name, score = result.outcome.main, f"{100 * result.outcome.score:.2f}"
        table.add_row(str(result.subset), result.model, name, score, low_high)
    console = Console(highlight=False)
    console.print(table)
    means: dict[tuple[str, str, str], list[float]] = {}
    for result in results:
        key = (result.subset.task, result.model, result.outcome.main)
        means.setdefault(key, []).append(result.outcome.score)
    for (name, model, figure), scores in means.items():
        if len(scores) > 1:
            console.print(
                f"{name}, {model}: mean {figure} {100 * sum(scores) / len(scores):.2f} over {len(scores)} sets"
            )
    for told in {f"{prompt.side}: {prompt.text!r}": None for result in results for prompt in result.prompts}:
        console.print(f"prompt of {told}", markup=False)
    if unjudged := sum(getattr(task, "unjudged", 0) for task in tasks):
        console.print(f"{unjudged:,} queries have no relevant document, and were left out")
