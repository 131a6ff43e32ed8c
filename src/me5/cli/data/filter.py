"""`me5 data filter`: keep the pairs of a dataset that a model finds consistent."""

from typing import Annotated

import typer

from me5.cli import options
from me5.cli.data import shared, work


@options.with_model()
def filter(  # noqa: A001
    dataset: shared.Dataset_,
    out: shared.Out,
    model: options.ModelOptions,
    top: Annotated[
        int, typer.Option("--top", "-k", min=1, max=100, help="Keep pairs whose positive is among so many.")
    ] = 2,
    pool: Annotated[int, typer.Option("--pool", min=1, help="How many random documents to rank it among.")] = (
        1_000_000
    ),
    seed: Annotated[int, typer.Option("--seed", help="Seed of the pool.")] = 0,
    job: work.Job = None,
    restart: work.Restart = False,
    overwrite: shared.Overwrite = False,
    dtype: work.Dtype = "float16",
    task: options.Task = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Keep a pair if its positive is among the best few of many random documents, as E5 filtered its web pairs.

    Texts equal to the query or to one of its positives never count against a pair. The table shows how many pairs of
    each source other values of --top would keep; trying one costs no new search.

    \b
    me5 data filter pairs --out consistent
    me5 data filter pairs --out consistent --model intfloat/multilingual-e5-small --top 2 --pool 1000000
    """
    from me5.data.consistency import RANKS, FilterSettings, filter_pairs
    from me5.data.dataset import Dataset

    settings = FilterSettings(top, pool, seed)
    data = Dataset.open(dataset)
    place = work.workplace(out, job, restart=restart, dtype=dtype, quiet=quiet or as_json)
    teacher = work.open_model(model, task=task, quiet=quiet)
    counts = filter_pairs(data, teacher, settings, out=out, workspace=place, overwrite=overwrite)
    columns = [
        ("pairs", [f"{count.pairs:,}" for count in counts]),
        ("kept", [f"{count.kept:,}" for count in counts]),
        ("", [work.share(count.kept, count.pairs) for count in counts]),
        *(
            (f"top {rank}", [work.share(count.within[at], count.pairs) for count in counts])
            for at, rank in enumerate(RANKS)
        ),
    ]
    work.report(out, place, [count.source for count in counts], columns, as_json=as_json, quiet=quiet)
