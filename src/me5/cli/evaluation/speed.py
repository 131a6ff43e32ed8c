"""`me5 eval speed`: quality against tokens per second and bytes per vector."""

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options, output
from me5.cli.evaluation import shared

if TYPE_CHECKING:
    from me5.evaluation.encoders.base import Encoder


class Precision(StrEnum):
    """A precision to measure."""

    f32 = "f32"
    bf16 = "bf16"
    f16 = "f16"
    int8 = "int8"
    fp8 = "fp8"


@options.with_model(without=("precision", *shared.NOT_OFFERED))
def speed(
    paths: shared.Paths,
    model: options.ModelOptions,
    precisions: Annotated[
        list[Precision] | None,
        typer.Option("--precision", "-p", show_default="all that this machine has", help="Repeat it for several."),
    ] = None,
    dims: Annotated[
        list[int] | None,
        typer.Option("--dim", show_default="all, half, a quarter", help="Keep the first N dimensions; repeat it."),
    ] = None,
    texts: Annotated[int, typer.Option("--texts", min=1, help="How many texts to measure the speed on.")] = 2000,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", help="Write PATH.json, PATH.md and PATH.svg."),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure what lower precisions and smaller vectors cost in quality, and what they save.

    Tokens per second are medians of passes over the same texts, precisions taking turns. The first dimensions, int8 and
    sign vectors are judged at the first precision. Most models were not trained to have
    their vectors cut (Matryoshka).

    \b
    me5 eval speed data/retrieval data/sts
    me5 eval speed data/sts --dim 128 --dim 64 -o speed
    """
    from me5.evaluation.protocols import texts_of
    from me5.evaluation.report.tradeoff import as_markdown, as_svg, content_of
    from me5.evaluation.speed import points, rates
    from me5.progress import track

    output.check_files(out)
    tasks = shared.read_tasks(paths, quiet=quiet or as_json)
    encoders = _encoders(model, precisions, quiet=quiet or as_json)
    speeds = rates(encoders, tasks, texts=texts)
    total = sum(map(texts_of, tasks)) * len(encoders)
    with track(total, show=not quiet and not as_json) as advance:
        found = points(encoders, tasks, speeds, dims=dims, advance=advance)
    name = next(iter(encoders.values())).name.rpartition(" (")[0]
    content = content_of(found, name, texts=texts)
    if out is not None:
        output.write_files(out, json.dumps(content, indent=1) + "\n", as_markdown(content), as_svg(content))
    if as_json:
        output.print_json(content)
    else:
        _print(content)


def _encoders(model: options.ModelOptions, wanted: list[Precision] | None, *, quiet: bool) -> "dict[str, Encoder]":
    from me5.engine import precisions
    from me5.errors import EngineError

    found: dict[str, Encoder] = {}
    for precision in [one.value for one in wanted] if wanted else precisions(model.device):
        try:
            found[precision] = shared.open_model(replace(model, precision=precision), quiet=quiet)
        except EngineError:
            if wanted:  # by name
                raise
    return found


def _print(content: "dict[str, object]") -> None:
    from me5.evaluation.report.tradeoff import HEADINGS, rows

    heads = [*HEADINGS[:2], *map(output.Number, HEADINGS[2:])]
    output.print_table(heads, rows(content), title=str(content["model"]))
