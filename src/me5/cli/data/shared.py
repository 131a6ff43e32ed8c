"""What the subcommands of `me5 data` share: their arguments, and the summary of a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import output
from me5.errors import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from me5.data.dataset import Dataset

Dataset_ = Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder, as `me5 data read` writes them.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The dataset folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder where it exists.")]


def summary(counts: "Mapping[str, int]") -> str:
    """Counts in one line."""
    kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in ("positive", "negative", "ignore") if counts[kind])
    return (
        f"{counted(counts['documents'], 'document')}, {counted(counts['queries'], 'query', 'queries')}, "
        f"{counted(counts['relations'], 'relation')}"
        f"{f' ({kinds})' if kinds else ''}"
    )


def print_summary(dataset: "Dataset", *, as_json: bool, quiet: bool) -> None:
    """Print what was written; as JSON with what the last step counted."""
    if as_json:
        step = dict(dataset.steps[-1])
        output.print_json({"dataset": str(dataset.folder), "counts": dict(dataset.counts), "step": step})
    elif not quiet:
        typer.echo(f"{dataset.folder}: {summary(dataset.counts)}", err=True)
