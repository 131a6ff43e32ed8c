"""`me5 data deduplicate`: remove duplicates from a dataset."""

from typing import Annotated

import typer

from me5.cli import options
from me5.cli.data import shared


def deduplicate(
    dataset: shared.Dataset_,
    out: shared.Out,
    near: Annotated[
        float,
        typer.Option("--near", min=0.5, max=1, metavar="SIMILARITY", help="The least similarity of duplicates."),
    ] = 0.8,
    exact: Annotated[bool, typer.Option("--exact", help="Compare letters and digits only.")] = False,
    near_queries: Annotated[bool, typer.Option("--near-queries", help="Find nearly equal queries, too.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the MinHash signatures.")] = 0,
    overwrite: shared.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Remove duplicates from a dataset: texts with equal letters and digits, and documents that are nearly equal.

    The first of each group is kept and takes over the relations of the others, so that no positive is lost. Nearly
    equal is an estimated Jaccard similarity of 5-letter pieces; texts with different numbers never are.

    \b
    me5 data deduplicate pairs --out clean
    me5 data deduplicate pairs --exact --out clean
    """
    from me5.data.dataset import Dataset
    from me5.data.duplicates import DeduplicationSettings
    from me5.data.duplicates import deduplicate as deduplicated

    settings = DeduplicationSettings(None if exact else near, near_queries, seed)
    shown = not (quiet or as_json)
    written = deduplicated(Dataset.open(dataset), out, settings, show_progress_bar=shown, overwrite=overwrite)
    shared.print_summary(written, as_json=as_json, quiet=quiet)
    if not quiet and not as_json:
        step = written.steps[-1]
        for table, counts in step["removed"].items():
            typer.echo(f"{table} removed: {counts.get('equal', 0):,} equal, {counts.get('near', 0):,} near", err=True)
        typer.echo(f"relations that became equal, merged: {step.get('merged', 0):,}", err=True)
