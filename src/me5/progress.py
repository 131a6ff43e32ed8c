"""A progress bar with texts, rows or bytes, tokens per second and time left, drawn on standard error when asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

Advance = Callable[[int, int], None]


@contextmanager
def track(
    total: int | None,
    *,
    show: bool,
    description: str = "Embedding",
    unit: Literal["texts", "rows", "bytes"] = "texts",
) -> Iterator[Advance]:
    """Give a function to call with (units done, tokens done) since the last call. `total` None: unknown."""
    if not show:
        yield lambda texts, tokens: None  # noqa: ARG005
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

    done = (DownloadColumn(),) if unit == "bytes" else (MofNCompleteColumn(), TextColumn(unit))
    columns = (
        TextColumn("{task.description}"), BarColumn(), *done,
        TextColumn("{task.fields[speed]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    started, seen = perf_counter(), 0
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total, speed="")

        def advance(texts: int, tokens: int) -> None:
            nonlocal seen
            seen += tokens
            speed = f"{seen / (perf_counter() - started):,.0f} tokens/s" if seen else ""
            bar.update(task, advance=texts, speed=speed)

        yield advance
