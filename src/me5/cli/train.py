"""`me5 train`: a recipe -> a checkpoint folder."""

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options, output
from me5.cli.train_progress import shown_steps
from me5.errors import counted
from me5.progress import duration, track

if TYPE_CHECKING:
    from me5.training.plan import TrainingPlan
    from me5.training.recipe import Recipe
    from me5.training.run import Run


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe.toml; docs/training.md lists its keys.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="RUN", show_default="runs/NAME", help="The folder of the run."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="FOLDER",
            show_default="cache beside RUN",
            help="Token ids and teacher's vectors, shared by all runs.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only estimate what it would need: memory, hours, texts that are cut.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            show_default="none on a CPU, one per core for a GPU",
            help="Processes that prepare batches. Batches are the same with any number.",
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a model from a recipe; the same command resumes a run that was stopped.

    Ctrl-C and SIGTERM let it finish the step and save; a second one does not. Needs the extra `train`. On several
    GPUs: python -m torch.distributed.run --nproc-per-node 2 -m me5 train RECIPE

    \b
    me5 train recipe.toml --plan
    me5 train recipe.toml --out runs/first
    me5 embed texts.txt --model runs/first/model -o vectors.npy
    """  # fmt: skip
    from me5.training import distributed
    from me5.training.recipe import read_recipe
    from me5.training.run import Run

    settings = read_recipe(recipe)
    out = out or Path("runs") / settings.name
    cache = cache or out.parent / "cache"
    distributed.start()
    quiet = quiet or distributed.rank() > 0
    options.show_warnings(quiet=quiet)
    try:
        if plan:
            from me5.training.plan import make_plan

            with _shown_parts(quiet=quiet) as show:
                made = make_plan(settings, cache, tell=show)
            if not quiet:
                _print_plan(made)
        else:
            _train(settings, Run(out, recipe), cache, workers=workers, quiet=quiet)
    finally:
        distributed.stop()


@contextmanager
def _shown_parts(*, quiet: bool) -> "Iterator[Callable[[str], None]]":
    """Give a function that shows which part of the work begins: on a terminal in place, elsewhere a line each."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with output.status("planning") as update:
            yield update
    else:
        yield lambda part: typer.echo(part, err=True)


def _train(recipe: "Recipe", run: "Run", cache: Path, *, workers: int | None, quiet: bool) -> None:
    from me5.training.loop import Trainer

    with track(None, show=not quiet, description="Reading") as advance:
        trainer = Trainer(recipe, cache, advance=advance, workers=workers)
    with shown_steps(trainer.steps, quiet=quiet) as observe, _signal(quiet=quiet) as signalled:
        finished = trainer.fit(run, observe=observe, asked_to_stop=lambda: signalled() > 0)
    if not finished:
        if not quiet:
            typer.echo(f"stopped, and saved in {run.folder}; the same command resumes it", err=True)
        raise typer.Exit(128 + (signalled() or signal.SIGTERM))  # another process may have got it
    if not quiet:
        command = 'score -q "…" -d "…" -d "…"' if recipe.loss.ranks else "demo"
        typer.echo(f"the model is {run.model}; try it: me5 {command} --model {run.model}", err=True)


@contextmanager
def _signal(*, quiet: bool) -> "Iterator[Callable[[], int]]":
    """Give a function that returns the number of the first Ctrl-C or SIGTERM, else 0. A second one acts as ever."""
    came = 0

    def take(number: int, _: object) -> None:
        nonlocal came
        came = number
        restore()
        if not quiet:  # a signal may interrupt print, which cannot be entered again
            os.write(2, b"\nstopping after this step, which is saved; once more: at once\n")

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    wanted = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, take) for number in wanted}
    try:
        yield lambda: came
    finally:
        restore()


def _print_plan(plan: "TrainingPlan") -> None:
    from me5.errors import Me5Warning

    work = plan.workload
    output.print_line(f"{counted(plan.parameters, 'parameter')}, {plan.trained:,} of them trained, on {plan.device}")
    total = sum(plan.memory.values())
    memory = [*plan.memory.items(), None, ("together", total)]
    if plan.available is not None:
        memory.append(("free here", plan.available))
    output.print_table(("memory", output.Number("MiB")), [row and (row[0], f"{row[1] / 2**20:,.0f}") for row in memory])
    times = [*plan.seconds.items(), None, ("together", sum(plan.seconds.values()))]
    output.print_table(("a step", output.Number("seconds")), [row and (row[0], f"{row[1]:,.2f}") for row in times])
    hours = duration(plan.hours * 3600)
    output.print_line(
        f"{counted(work.steps, 'step')} of {work.tokens:,.0f} tokens: {hours}, evaluations and a teacher's work apart"
    )
    about = "about " if work.sampled else ""
    output.print_line(
        f"of {about}{counted(work.texts, 'text')} {about}{work.cut:,} are longer than what is read of them, and are cut"
    )
    if work.sampled:
        output.print_line("lengths are those of the first texts of each dataset: its token ids are not made yet")
    if plan.available is not None and not plan.fits:
        warnings.warn(
            f"this needs about {total / 2**30:.1f} GiB, {plan.available / 2**30:.1f} GiB are free. Lower "
            "batch.tokens for less of activations, batch.size for vectors and loss; model.checkpointing trades time "
            "for activations, model.lora does without most gradients and moments",
            Me5Warning,
            stacklevel=2,
        )
