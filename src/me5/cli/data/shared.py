"""What the subcommands of `me5 data` share: their arguments, opening a dataset, telling what came out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from me5.data.contract import Dataset

Dataset_ = Annotated[Path, typer.Argument(metavar="DATASET", help="A dataset folder, as `me5 data read` writes them.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The dataset folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder where it exists.")]


def told(dataset: "Dataset") -> "dict[str, object]":
    """A dataset and its last step, for `--json`."""
    return {"dataset": str(dataset.folder), "counts": dict(dataset.counts), "step": dict(dataset.steps[-1])}


def summary(counts: "Mapping[str, int]") -> str:
    """Counts in one line."""
    kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in ("positive", "negative", "ignore") if counts[kind])
    return (
        f"{counts['documents']:,} documents, {counts['queries']:,} queries, {counts['relations']:,} relations"
        f"{f' ({kinds})' if kinds else ''}"
    )


def tell(dataset: "Dataset", *, as_json: bool, quiet: bool) -> None:
    """What was written, and what the last step counted."""
    import json

    if as_json:
        print(json.dumps(told(dataset), ensure_ascii=False, indent=2))  # noqa: T201
    elif not quiet:
        typer.echo(f"{dataset.folder}: {summary(dataset.counts)}", err=True)
