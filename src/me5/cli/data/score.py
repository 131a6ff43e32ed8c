"""`me5 data score`: add a teacher's scores to a dataset."""

from typing import Annotated

import typer

from me5.cli import options
from me5.cli.data import shared, work

Teacher = Annotated[
    str | None,
    typer.Option(
        "--teacher", metavar="NAME", show_default="the bundled me5-small", rich_help_panel="Model",
        help="A model or reranker that me5 reads (a folder or hub id); ce:NAME is any cross-encoder of "
        "sentence-transformers.",
    ),
]  # fmt: skip


@options.with_model(name=Teacher)
def score(
    dataset: shared.Dataset_,
    out: shared.Out,
    model: options.ModelOptions,
    job: work.Job = None,
    restart: work.Restart = False,
    overwrite: shared.Overwrite = False,
    task: options.Task = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Let a teacher score every positive and negative, for distillation.

    Scores by the same teacher are kept, those by others replaced. A cross-encoder gives its raw logit, a me5 checkpoint
    the cosine.

    \b
    me5 data score mined --out scored --teacher BAAI/bge-reranker-v2-m3 --device cuda
    me5 data score mined --out scored --teacher intfloat/multilingual-e5-large-instruct
    """
    from me5.data.dataset import Dataset
    from me5.data.scoring import score_relations

    data = Dataset.open(dataset)
    place = work.workplace(out, job, restart=restart, quiet=quiet or as_json)
    judge = work.open_judge(model, task=task, quiet=quiet)
    counts = score_relations(data, judge, out=out, workspace=place, overwrite=overwrite)

    def mean(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    columns = [
        ("positives", [f"{count.positives:,}" for count in counts]),
        ("negatives", [f"{count.negatives:,}" for count in counts]),
        ("known before", [f"{count.known:,}" for count in counts]),
        ("mean of positives", [mean(count.mean_positive) for count in counts]),
        ("of negatives", [mean(count.mean_negative) for count in counts]),
        ("above positive", [work.share(count.above, count.negatives) for count in counts]),
    ]
    work.report(out, place, [count.source for count in counts], columns, as_json=as_json, quiet=quiet)
