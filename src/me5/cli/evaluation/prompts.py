"""`me5 eval prompts`: how much a score depends on the wording of the prompt."""

from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options, output
from me5.cli.evaluation import shared
from me5.errors import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from me5.evaluation.sensitivity import Spread


@options.with_model(name=shared.Model, without=shared.NOT_OFFERED)
def prompts(
    paths: shared.Paths,
    model: options.ModelOptions,
    phrasing: Annotated[
        list[str] | None,
        typer.Option(
            "--phrasing", show_default="a handful for each kind of task", help="A sentence to try; repeat it."
        ),
    ] = None,
    cache: shared.Cache = None,
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
    encoder = shared.open_model(model, cache=cache, quiet=quiet or as_json)
    tried = phrasings_of(tasks, encoder, phrasing)
    total = sum(map(texts_of, tasks)) * max(map(len, tried.values()))
    with track(total, show=not quiet and not as_json) as advance:
        found = list(spreads(tasks, encoder, tried, advance))
    if as_json:
        listed = [
            {
                "side": one.side, "range": one.range, "deviation": one.deviation,
                "phrasings": [{"sentence": p.sentence, "mean": p.mean, "scores": p.scores} for p in one.phrasings],
            }
            for one in found
        ]  # fmt: skip
        output.print_json({"model": encoder.name, "spreads": listed})
    else:
        _print(found, encoder.name)


def _print(found: "Sequence[Spread]", model: str) -> None:
    for spread in found:
        sets = list(spread.phrasings[0].scores)
        shown = sets if len(sets) <= 4 else []
        rows = [
            [one.sentence, *(shared.hundred(one.scores[name]) for name in shown), shared.hundred(one.mean)]
            for one in sorted(spread.phrasings, key=lambda phrasing: -phrasing.mean)
        ]
        title = f"{model}: {counted(len(sets), 'set')}, prompt of {spread.side} texts, × 100"
        output.print_table(["phrasing", *map(output.Number, [*shown, "mean"])], rows, title=title)
        if len(spread.prompted) > 1:
            output.print_line(
                f"spread of {counted(len(spread.prompted), 'phrasing')}: {100 * spread.range:.2f} between best and "
                f"worst, standard deviation {100 * spread.deviation:.2f}"
            )
