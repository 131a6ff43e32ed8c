"""`me5 verify`: is a model right on this machine? The checks of `verification`, as a table."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from me5.catalog import BUNDLED
from me5.cli import options, output
from me5.errors import counted

if TYPE_CHECKING:
    from me5.verification import Check


def verify(
    model: Annotated[str, typer.Argument(help="A folder, a .gguf file, a hub id, or me5-small.")] = BUNDLED,
    device: options.Device = "cpu",
    precision: Annotated[
        Literal["all", "f32", "bf16", "f16", "int8", "fp8"],
        typer.Option("--precision", "-p", help="What to check; all is what the device has."),
    ] = "all",
    threads: options.Threads = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare the engine of a model or reranker, at each precision, with a slow float32 reference and published scores.

    The texts are built in, in 25 languages. Exits with 1 when a check fails.

    \b
    me5 verify
    me5 verify intfloat/multilingual-e5-large-instruct --precision bf16
    me5 verify ./my-model --device cuda
    """
    from me5 import verification
    from me5.checkpoint import resolve

    options.show_warnings(quiet=True)  # the golden texts carry prompts, the long text is meant to be cut
    precisions = () if precision == "all" else (precision,)
    with options.loading(f"and measuring {model}", quiet=quiet or as_json):
        checks = list(verification.verify(resolve(model), precisions, threads=threads, device=device))
    failed = sum(check.passed is False for check in checks)
    if as_json:
        result = {"model": model, "passed": not failed, "checks": [asdict(check) for check in checks]}
        output.print_json(result)
    else:
        _print_checks(checks, failed, quiet=quiet)
    if failed:
        raise typer.Exit(1)


def _print_checks(checks: "list[Check]", failed: int, *, quiet: bool) -> None:
    from rich.text import Text

    verdicts = {True: Text("pass", "green"), False: Text("FAIL", "bold red"), None: Text("–")}
    rows: list[list[str | Text]] = [
        [check.precision, check.name, check.measured, check.wanted, verdicts[check.passed]] for check in checks
    ]  # fmt: skip
    if not quiet:
        output.print_table(("precision", "check", "measured", "wanted", ""), rows)
    made = counted(sum(check.passed is not None for check in checks), "check")
    output.print_line((f"{failed} of {made} failed", "bold red") if failed else (f"{made} passed", "green"))
