"""How each step of training goes, on standard error: a bar on a terminal, elsewhere a line a minute."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from me5.cli import output
from me5.progress import SECONDS_BETWEEN_LINES, duration

if TYPE_CHECKING:
    from me5.training.loop import Judgement, Step

    Observe = Callable[[Step | Judgement], None]


@contextmanager
def shown_steps(steps: int, *, quiet: bool) -> "Iterator[Observe]":
    """Give a function that shows how each step went: in a bar on a terminal, in lines elsewhere."""
    if quiet:
        yield lambda entry: None  # noqa: ARG005
    elif sys.stderr.isatty():
        yield from _bar(steps)
    else:
        yield _Lines(steps)


def _bar(steps: int) -> "Iterator[Observe]":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from me5.training.loop import Step

    columns = (
        TextColumn("Training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=output.errors(), speed_estimate_period=600) as bar:
        task: TaskID | None = None

        def observe(entry: "Step | Judgement") -> None:
            nonlocal task
            if not isinstance(entry, Step):
                bar.console.print(_scores(entry), markup=False)
                return
            if task is None:  # a run may resume from the middle
                task = bar.add_task("", total=steps, completed=entry.step - 1, words="")
            bar.update(task, completed=entry.step, words=_in_words(entry, entry.tokens / entry.seconds))

        yield observe


class _Lines:
    """A line at the first step, the last, and every minute."""

    def __init__(self, steps: int) -> None:
        self._steps, self._since, self._tokens, self._seen = steps, time.monotonic(), 0, 0
        self._shown = self._since

    def __call__(self, entry: "Step | Judgement") -> None:
        from me5.training.loop import Step

        if not isinstance(entry, Step):
            typer.echo(_scores(entry), err=True)
            return
        self._tokens += entry.tokens
        self._seen += 1
        now = time.monotonic()
        if self._seen == 1 or now - self._shown >= SECONDS_BETWEEN_LINES or entry.step == self._steps:
            seconds, self._shown = now - self._since, now
            left = seconds / self._seen * (self._steps - entry.step)
            words = _in_words(entry, self._tokens / max(seconds, 1e-9))
            typer.echo(f"step {entry.step:,} of {self._steps:,}  {words}  {duration(left)} left", err=True)


def _in_words(step: "Step", speed: float) -> str:
    return f"loss {step.loss:.4f}  rate {step.rate:.2e}  {speed:,.0f} tokens/s"


def _scores(entry: "Judgement") -> str:
    scores = ", ".join(f"{name} {score * 100:.1f}" for name, score in entry.evaluation.items())
    return f"after step {entry.step:,}: {scores}"
