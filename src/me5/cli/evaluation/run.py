"""`me5 eval run`: judge a model on evaluation sets."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options, streams
from me5.cli.evaluation import shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from me5.evaluation.results import Result
    from me5.evaluation.task import Task


def run(
    paths: shared.Paths,
    model: shared.Model = None,
    bm25: Annotated[
        bool, typer.Option("--bm25/--no-bm25", help="Judge BM25 on every retrieval set too, as the yardstick.")
    ] = True,
    task: shared.Task_ = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write a JSON file per model and task.")
    ] = None,
    name: shared.Name = None,
    cache: shared.Cache = None,
    device: options.Device = "cpu",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    prompts: options.Prompts = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Judge a model on retrieval, translation mining, similarity, classification and more, by mteb's protocols.

    Reads BEIR folders, MIRACL and Mr.TyDi (topics, qrels, corpus), datasets as the hub has them, BUCC, and files of
    tab-separated columns, JSONL or Parquet; docs/evaluation.md tells each form. A corpus need not fit into memory.

    \b
    me5 eval run data/retrieval --out results
    me5 eval run data/tatoeba/deu-eng.tsv data/sts --model intfloat/multilingual-e5-small --cache vectors
    me5 eval run data/scifact --model http://localhost:8080/v1#multilingual-e5-small
    """
    from me5.evaluation.protocols import texts_of
    from me5.evaluation.results import as_json as told
    from me5.evaluation.run import judge
    from me5.progress import track

    tasks = shared.read_tasks(paths, quiet=quiet or as_json)
    encoder = shared.open_model(
        model, device=device, precision=precision, threads=threads, prompts=prompts, cache=cache, quiet=quiet or as_json
    )
    with track(sum(map(texts_of, tasks)), show=not quiet and not as_json) as advance:
        results = list(judge(tasks, encoder, sentence=task, yardstick=bm25, name=name, out=out, advance=advance))
    if as_json:
        print(json.dumps([told(result) for result in results], ensure_ascii=False, indent=2))  # noqa: T201
    else:
        _print(tasks, results)
        if out is not None and not quiet:
            typer.echo(f"results in {out}; look at them with: me5 eval report {out}", err=True)


def _print(tasks: "Sequence[Task]", results: "Sequence[Result]") -> None:
    from rich.table import Table

    from me5.evaluation.summary import means

    table = Table()
    table.add_column("set", overflow="fold")
    table.add_column("model", overflow="fold")
    for column in ("figure", "× 100", "95 %"):
        table.add_column(column, justify="right" if column == "× 100" else "left", no_wrap=True)
    for result in results:
        score, interval = shared.hundred(result.outcome.score), shared.between(result.interval)
        table.add_row(str(result.subset), result.model, result.outcome.main, score, interval)
    console = streams.console()
    console.print(table)
    for mean in means(results):
        if mean.sets > 1:
            score = shared.hundred(mean.score)
            console.print(f"{mean.task}, {mean.model}: mean {mean.main} {score} over {mean.sets} sets", markup=False)
    for said in {f"{prompt.side}: {prompt.text!r}": None for result in results for prompt in result.prompts}:
        console.print(f"prompt of {said}", markup=False)
    if unjudged := sum(getattr(task, "unjudged", 0) for task in tasks):
        console.print(f"{unjudged:,} queries without judgements were left out")
