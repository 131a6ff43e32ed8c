"""`me5 eval prompts`: how far a score hangs on the words of the prompt."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options, streams
from me5.cli.evaluation import shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from me5.evaluation.sensitivity import Spread


def prompts(
    paths: shared.Paths,
    model: shared.Model = None,
    phrasing: Annotated[
        list[str] | None,
        typer.Option("--phrasing", help="A sentence to try; repeat it. Default: a handful for each kind of task."),
    ] = None,
    cache: shared.Cache = None,
    device: options.Device = "cpu",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    style: options.Prompts = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Judge a model with several phrasings of its instruction, and with none: scores of each, and their spread.

    Published figures of one model on one set differ by up to 10 points between benchmarks that worded the prompt
    differently. A difference between two models that is smaller than this spread says little.

    \b
    me5 eval prompts data/retrieval/nfcorpus
    me5 eval prompts data/sts --phrasing "Find sentences that mean the same" --phrasing sts
    """
    from me5.evaluation.protocols import texts_of
    from me5.evaluation.sensitivity import phrasings_of, spreads
    from me5.progress import track

    tasks = shared.read_tasks(paths, quiet=quiet or as_json)
    encoder = shared.open_model(
        model, device=device, precision=precision, threads=threads, prompts=style, cache=cache, quiet=quiet or as_json
    )
    tried = phrasings_of(tasks, encoder, phrasing)
    total = sum(map(texts_of, tasks)) * max(map(len, tried.values()))
    with track(total, show=not quiet and not as_json) as advance:
        found = list(spreads(tasks, encoder, tried, advance))
    if as_json:
        told = [
            {
                "side": one.side, "range": one.range, "deviation": one.deviation,
                "phrasings": [{"sentence": p.sentence, "mean": p.mean, "scores": p.scores} for p in one.phrasings],
            }
            for one in found
        ]  # fmt: skip
        print(json.dumps({"model": encoder.name, "spreads": told}, ensure_ascii=False, indent=2))  # noqa: T201
    else:
        _print(found, encoder.name)


def _print(found: "Sequence[Spread]", model: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = streams.console()
    for spread in found:
        sets = list(spread.phrasings[0].scores)
        shown = sets if len(sets) <= 4 else []
        table = Table(title=f"{model}: {len(sets)} set{'s' * (len(sets) > 1)}, prompt of {spread.side} texts, × 100")
        table.add_column("phrasing", overflow="fold")
        for name in [*shown, "mean"]:
            table.add_column(name, justify="right")
        for one in sorted(spread.phrasings, key=lambda phrasing: -phrasing.mean):
            table.add_row(
                escape(one.sentence), *(shared.hundred(one.scores[name]) for name in shown), shared.hundred(one.mean)
            )
        console.print(table)
        if len(spread.told) > 1:
            console.print(
                f"spread of {len(spread.told)} phrasings: {100 * spread.range:.2f} between best and worst, standard "
                f"deviation {100 * spread.deviation:.2f}"
            )
