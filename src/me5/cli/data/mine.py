"""`me5 data mine`: add hard negatives to a dataset."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from me5.cli import options
from me5.cli.data import shared, work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from me5.data.mining import MiningCounts


Number = Annotated[int, typer.Option("--number", "-n", min=1, help="Negatives to add to each query.")]
Depth = Annotated[int, typer.Option("--depth", min=1, help="How many of the best documents to take them from.")]
Skip = Annotated[int, typer.Option("--skip", min=0, help="Skip so many of the best candidates.")]
Percent = Annotated[
    float,
    typer.Option(
        "--percent-of-positive", min=0, max=100,
        help="A negative scores at most this share of the positive's score; 0 is no limit.",
    ),
]  # fmt: skip
Margin = Annotated[
    float | None, typer.Option("--margin", min=0, help="A negative scores at least this much below the positive.")
]
MaxScore = Annotated[float | None, typer.Option("--max-score", help="A negative scores at most this.")]
Choice = Annotated[
    Literal["top", "random"], typer.Option("--choice", help="Which candidates to take: the best, or random ones.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the random ones.")]
Within = Annotated[
    Literal["language", "source"] | None,
    typer.Option(
        "--within", show_default="all documents",
        help="Search only documents in the language of the query's positive, or of its source.",
    ),
]  # fmt: skip
SameTitle = Annotated[bool, typer.Option("--same-title", help="Allow documents with the title of a positive.")]
Replace = Annotated[bool, typer.Option("--replace", help="Remove the negatives that the dataset has.")]
Check = Annotated[
    str | None,
    typer.Option(
        "--check", metavar="NAME",
        help="A teacher that scores each candidate: a model or reranker that me5 reads (a folder or hub id), or as "
        "ce:NAME any cross-encoder of sentence-transformers. What it takes for an answer becomes `ignore`.",
    ),
]  # fmt: skip
CheckMargin = Annotated[
    float,
    typer.Option("--check-margin", help="The teacher's score of an answer is above that of the positive minus this."),
]


@options.with_model()
def mine(
    dataset: shared.Dataset_,
    out: shared.Out,
    model: options.ModelOptions,
    number: Number = 7,
    depth: Depth = 200,
    skip: Skip = 0,
    percent: Percent = 95.0,
    margin: Margin = None,
    max_score: MaxScore = None,
    choice: Choice = "top",
    seed: Seed = 0,
    within: Within = None,
    same_title: SameTitle = False,
    replace: Replace = False,
    check: Check = None,
    check_margin: CheckMargin = 0.0,
    job: work.Job = None,
    restart: work.Restart = False,
    overwrite: shared.Overwrite = False,
    dtype: work.Dtype = "float16",
    task: options.Task = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Add hard negatives: documents that a model ranks high for a query and that do not answer it.

    Known answers, texts equal to them, and documents with a positive's title are never taken. The limits exclude what
    scores too close to the positive; a teacher finds false negatives among the rest, and so shows how many there are.

    \b
    me5 data mine pairs --out mined
    me5 data mine pairs --out mined --depth 100 --skip 10 --choice random --within language
    me5 data mine pairs --out mined --check BAAI/bge-reranker-v2-m3 --device cuda
    """
    from me5.data.choosing import MiningSettings
    from me5.data.dataset import Dataset
    from me5.data.mining import mine as mine_negatives

    settings = MiningSettings(
        depth=depth, skip=skip, number=number, percent_of_positive=percent or None, margin=margin, max_score=max_score,
        choice=choice, seed=seed, within=within, same_title=same_title, replace=replace, check_margin=check_margin,
    )  # fmt: skip
    data = Dataset.open(dataset)
    place = work.workplace(out, job, restart=restart, dtype=dtype, quiet=quiet or as_json)
    teacher = work.open_model(model, task=task, quiet=quiet)
    judge = None
    if check is not None:
        judge = work.open_judge(options.ModelOptions(check, device=model.device), quiet=quiet)
    counts = mine_negatives(data, teacher, settings, out=out, workspace=place, check=judge, overwrite=overwrite)
    columns = _columns(counts, checked=check is not None)
    work.report(out, place, [count.source for count in counts], columns, as_json=as_json, quiet=quiet)


def _columns(counts: "Sequence[MiningCounts]", *, checked: bool) -> list[tuple[str, list[str]]]:
    """The table by source: heads, and a cell per source."""
    columns = [
        ("queries", [f"{count.queries:,}" for count in counts]),
        ("candidates", [f"{count.candidates:,}" for count in counts]),
        ("above positive", [work.share(count.above, count.candidates) for count in counts]),
        ("below limits", [work.share(count.usable, count.candidates) for count in counts]),
        ("negatives", [f"{count.negatives:,}" for count in counts]),
        ("short", [f"{count.short:,}" for count in counts]),
    ]
    if checked:
        suspected = [work.share(count.suspected, count.read) for count in counts]
        columns += [("read", [f"{count.read:,}" for count in counts]), ("false negatives", suspected)]
    return columns
