"""`me5 eval run`: judge a model on evaluation sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options, output
from me5.cli.evaluation import shared
from me5.errors import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from me5.evaluation.results import Result
    from me5.evaluation.task import Task


@options.with_model(name=shared.Model, without=shared.NOT_OFFERED)
def run(
    paths: shared.Paths,
    model: options.ModelOptions,
    bm25: Annotated[
        bool, typer.Option("--bm25/--no-bm25", help="Also judge BM25 on retrieval sets, as a baseline.")
    ] = True,
    task: shared.Task_ = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write a JSON file per model and task.")
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            "--rerank",
            metavar="MODEL",
            show_default="none",
            help="Judge the model together with this cross-encoder, which orders its best documents.",
        ),
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=1, show_default="50", help="How many of them --rerank orders.")
    ] = None,
    name: shared.Name = None,
    cache: shared.Cache = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Judge a model on retrieval, translation mining, similarity, classification and more, by mteb's protocols.

    Reads BEIR folders, MIRACL and Mr.TyDi (topics, qrels, corpus), datasets as the hub has them, BUCC, and files of
    tab-separated columns, JSONL or Parquet; docs/evaluation.md has each format. A corpus need not fit into memory.

    \b
    me5 eval run data/retrieval --out results
    me5 eval run data/tatoeba/deu-eng.tsv data/sts --model intfloat/multilingual-e5-small --cache vectors
    me5 eval run data/scifact --model http://localhost:8080/v1#multilingual-e5-small
    me5 eval run data/scifact --rerank BAAI/bge-reranker-v2-m3
    """
    from me5.evaluation.encoders import calibration_of
    from me5.evaluation.protocols import texts_of
    from me5.evaluation.results import as_json as content
    from me5.evaluation.run import judge
    from me5.progress import track

    if depth is not None and rerank is None:
        raise typer.BadParameter("it says how many documents --rerank orders", param_hint="--depth")
    tasks = shared.read_tasks(paths, quiet=quiet or as_json)
    encoder = shared.open_model(model, cache=cache, quiet=quiet or as_json)
    second = None
    if rerank is not None:
        from me5.evaluation.second import DEPTH, SecondStage
        from me5.reranker import Reranker

        reranker = Reranker.load(
            rerank, device=model.device, precision=model.precision, threads=model.threads
        )  # fmt: skip
        second = SecondStage(reranker, depth or DEPTH)
    texts = sum(map(texts_of, tasks)) + (sum(map(second.pairs, tasks)) if second is not None else 0)
    with track(texts, show=not quiet and not as_json) as advance:
        results = list(
            judge(
                tasks, encoder, sentence=task, yardstick=bm25, name=name, calibration=calibration_of(encoder),
                second=second, out=out, advance=advance,
            )
        )  # fmt: skip
    if as_json:
        output.print_json([content(result) for result in results])
    else:
        _print(tasks, results)
        if out is not None and not quiet:
            typer.echo(f"results in {out}; view them with: me5 eval report {out}", err=True)


def _print(tasks: "Sequence[Task]", results: "Sequence[Result]") -> None:
    from me5.evaluation.means import means

    rows = [
        [
            str(result.subset), result.model, result.outcome.main, shared.hundred(result.outcome.score),
            shared.between(result.interval),
        ]
        for result in results
    ]  # fmt: skip
    output.print_table(("set", "model", "figure", output.Number("× 100"), output.Number("95 %")), rows)
    for mean in means(results):
        if mean.sets > 1:
            score = shared.hundred(mean.score)
            output.print_line(f"{mean.task}, {mean.model}: mean {mean.main} {score} over {mean.sets} sets")
    for prompt in {f"{prompt.side}: {prompt.text!r}": None for result in results for prompt in result.prompts}:
        output.print_line(f"prompt of {prompt}")
    if unjudged := sum(getattr(task, "unjudged", 0) for task in tasks):
        output.print_line(f"{counted(unjudged, 'query', 'queries')} without judgements left out")
