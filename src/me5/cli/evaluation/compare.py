"""`me5 eval compare`: two runs side by side, with a paired test."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options, output
from me5.cli.evaluation import shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from me5.evaluation.comparison import Row
    from me5.evaluation.results import Result


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Results of one model: its folder below --out, or a file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Results of the other.")],
    as_json: options.Json = False,
) -> None:
    """Compare two runs on the same sets: B minus A, its 95 % interval, and whether it is more than chance.

    Examples are paired: p comes from a permutation test, corrected for the number of sets of a task (Holm).
    Exits with 0 whatever comes out.

    \b
    me5 eval compare "results/BM25" "results/me5-small (bf16)"
    me5 eval compare old/"me5-small (bf16)"/sts.json new/"me5-small (bf16)"/sts.json
    """
    from me5.evaluation.comparison import compare as compared

    first, second = (_one_model(path) for path in (a, b))
    with output.status("comparing"):
        rows = compared(first, second)
    if as_json:
        listed = [
            {
                "set": row.name, "sets": row.sets, "figure": row.main, "a": row.a, "b": row.b,
                "difference": row.delta.value, "interval": row.delta.interval, "p": row.delta.p, "p_corrected": row.p,
            }
            for row in rows
        ]  # fmt: skip
        output.print_json({"a": first[0].model, "b": second[0].model, "rows": listed})
    else:
        _print(rows, first[0].model, second[0].model)


def _one_model(path: Path) -> "list[Result]":
    from me5.errors import InputError
    from me5.evaluation.results import by_model, read

    models = by_model(read(path))
    if len(models) > 1:
        raise InputError(f"{path} holds results of {', '.join(models)}; name the folder of one of them")
    return next(iter(models.values()))


def _print(rows: "Sequence[Row]", a: str, b: str) -> None:
    lines: list[list[str] | None] = []
    for row in rows:
        name = row.name if row.sets == 1 else f"{row.name}, mean of {row.sets}"
        verdict = ("B" if row.delta.value > 0 else "A") if row.certain else ""
        if row.sets > 1:
            lines.append(None)
        lines.append([
            f"{name} ({row.main})", shared.hundred(row.a), shared.hundred(row.b), f"{100 * row.delta.value:+.2f}",
            shared.between(row.delta.interval), f"{row.p:.4f}", verdict,
        ])  # fmt: skip
    heads = ["set", *map(output.Number, ("A", "B", "B − A", "95 %", "p")), "better"]
    output.print_table(heads, lines, caption=f"A: {a}   B: {b}   × 100; p corrected for the sets of a task")
