"""How far long work is, told on standard error: a bar on a terminal and in notebooks, elsewhere a line a minute."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

Advance = Callable[[int, int], None]
Unit = Literal["texts", "pairs", "rows", "bytes", "tensors", "files", "answers"]

SECONDS_BETWEEN_LINES = 60.0


@contextmanager
def track(
    total: int | None,
    *,
    show: bool,
    description: str = "Embedding",
    unit: Unit = "texts",
    left: Callable[[], float] | None = None,
) -> Iterator[Advance]:
    """Give a function to call with (units done, tokens done) since the last call. `total` None: unknown.

    `left` tells how many tokens are still to come, where units are no measure of the time that they take.
    """
    if not show:
        yield lambda texts, tokens: None  # noqa: ARG005
        return
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules):
        yield _lines(total, description, unit, left)
        return
    # Imported here: it costs 60 ms, and most calls draw nothing.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    remaining = TimeRemainingColumn() if left is None else TextColumn("{task.fields[remaining]}")

    done = (DownloadColumn(),) if unit == "bytes" else (MofNCompleteColumn(), TextColumn(unit))
    columns = (
        TextColumn("{task.description}"), BarColumn(), *done,
        TextColumn("{task.fields[speed]}"), TimeElapsedColumn(), TextColumn("left"), remaining,
    )  # fmt: skip
    started, seen = perf_counter(), 0
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, speed="", remaining="")

        def advance(texts: int, tokens: int) -> None:
            nonlocal seen
            seen += tokens
            rate = seen / (perf_counter() - started)
            speed = f"{rate:,.0f} tokens/s" if seen else ""
            remaining = f"about {duration(left() / rate)}" if seen and left is not None else ""
            bar.update(task, advance=texts, speed=speed, remaining=remaining)

        yield advance


def _lines(total: int | None, description: str, unit: Unit, left: Callable[[], float] | None = None) -> Advance:
    """What tells a line a minute, for logs: work of less than a minute says nothing."""
    started = written = perf_counter()
    done = seen = 0

    def number(units: int) -> str:
        return f"{units / 1e6:,.1f}" if unit == "bytes" else f"{units:,}"

    def advance(units: int, tokens: int) -> None:
        nonlocal written, done, seen
        done, seen, now = done + units, seen + tokens, perf_counter()
        if now - written < SECONDS_BETWEEN_LINES:
            return
        written, seconds = now, now - started
        of = "" if total is None else f" of {number(total)}"
        line = f"{description}: {number(done)}{of} {'MB' if unit == 'bytes' else unit}"
        if seen:
            line += f", {seen / seconds:,.0f} tokens/s"
        if left is not None and seen:
            line += f", about {duration(left() / seen * seconds)} left"
        elif left is None and total is not None and done:
            line += f", {duration(seconds / done * max(total - done, 0))} left"
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    return advance


def duration(seconds: float) -> str:
    """Hours and minutes."""
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
