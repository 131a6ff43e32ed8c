"""`me5 data read`: files of many formats into a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from me5.cli import options
from me5.cli.data import shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from me5.data.dataset import Dataset
    from me5.data.readers import Grouped
    from me5.data.readers.reading import Reading
    from me5.data.writing import Item


def read(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files and folders, also .gz, .bz2 and .zst.")],
    out: shared.Out,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", show_default="recognised",
            help="columns, flagembedding, tevatron, beir, sentence-transformers, simlm, nomic, arctic, trec, parallel, "
            "documents, me5.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", show_default="each file's name", help="What recipes weight it by."),
    ] = None,
    licence: Annotated[str, typer.Option("--licence", metavar="NAME", help="For rows without one.")] = "",
    query_lang: Annotated[str, typer.Option("--query-lang", metavar="CODE", help="For rows without one.")] = "",
    document_lang: Annotated[str, typer.Option("--document-lang", metavar="CODE", help="For rows without one.")] = "",
    instruction: Annotated[
        str,
        typer.Option("--instruction", metavar="SENTENCE", help="What queries are for, in rows that do not say."),
    ] = "",
    teacher: Annotated[
        str | None, typer.Option("--teacher", metavar="NAME", help="The model whose scores the files hold.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="The split of BEIR, MIRACL and Mr.TyDi.")] = "train",
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B,…", help="The columns of sentence-transformers, in order."),
    ] = None,
    positive_from: Annotated[
        float | None, typer.Option("--positive-from", metavar="LABEL", help="The lowest label of a positive pair.")
    ] = None,
    in_batch: Annotated[
        bool, typer.Option("--in-batch", help="Also read rows made for training without in-batch negatives.")
    ] = False,
    skip_empty: Annotated[bool, typer.Option("--skip-empty", help="Skip empty texts, and count them.")] = False,
    conflicts: Annotated[
        Literal["merge", "error"],
        typer.Option("--conflicts", help="For a pair with two different labels: the positive wins, or an error."),
    ] = "merge",
    overwrite: shared.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Read training data of many formats into one dataset, a folder of three Parquet tables.

    A file's format is recognised by its first record, a folder's by its files; docs/data.md describes each. Equal texts
    become one row. Texts are streamed: memory grows with the number of rows, not with their length.

    \b
    me5 data read pairs.jsonl triplets.parquet --out mine --licence CC-BY-4.0
    me5 data read beir/fiqa --split train --query-lang en --document-lang en --out fiqa
    me5 data read news.en news.de --out news
    me5 data read snli.csv --format sentence-transformers --columns premise,hypothesis,label --positive-from 1 --out nli
    """
    from me5.data.readers import group
    from me5.data.readers.reading import Options, Reading
    from me5.progress import track

    chosen = Options(
        source, licence, query_lang, document_lang, instruction, teacher, split,
        tuple(columns.split(",")) if columns else (), positive_from, in_batch, skip_empty,
    )  # fmt: skip
    grouped = group(paths, form)
    with track(_size(paths), show=not (quiet or as_json), description="Reading", unit="bytes") as advance:
        reading = Reading(chosen, advance)
        dataset = _write(out, grouped, reading, conflicts=conflicts, overwrite=overwrite)
    shared.print_summary(dataset, as_json=as_json, quiet=quiet)
    if not quiet and not as_json:
        _print_details(dataset, grouped, reading)


def _write(
    out: Path, grouped: "Grouped", reading: "Reading", *, conflicts: Literal["merge", "error"], overwrite: bool
) -> "Dataset":
    from me5.data.readers import read as items
    from me5.data.writing import sha256, write_dataset

    # Filled while files are read, and written at the end.
    inputs: dict[str, str] = {}

    def read_all() -> "Iterator[Item]":
        yield from items(grouped, reading)
        inputs.update({str(path): sha256(path) for path in reading.files})

    step = {
        "step": "read",
        "settings": {name: value for name, value in vars(reading.options).items() if value},
        "formats": {name: [str(path) for path in found] for name, found in grouped.items()},
        "inputs": inputs,
        "left_out": reading.counts,
    }
    return write_dataset(out, read_all(), step=step, repeats=conflicts, overwrite=overwrite)


def _size(paths: list[Path]) -> int:
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file())


def _print_details(dataset: "Dataset", grouped: "Grouped", reading: "Reading") -> None:
    """Print how files were read, and what was skipped."""
    for name, found in grouped.items():
        typer.echo(f"read as {name}: {', '.join(path.name for path in found[:6])}{' …' * (len(found) > 6)}", err=True)
    step = dataset.steps[-1]
    if reading.unread:
        typer.echo(f"columns not read: {', '.join(reading.unread)}", err=True)
    if reading.counts["empty"]:
        typer.echo(f"skipped, because their text is empty: {reading.counts['empty']:,}", err=True)
    if reading.counts["unknown"]:
        unknown = reading.counts["unknown"]
        typer.echo(f"judgements skipped, because their query or document is missing: {unknown:,}", err=True)
    if step.get("merged"):
        typer.echo(
            f"pairs that occur more than once, with differences: {step['merged']:,} merged, "
            f"{step['contradictions']:,} of them with a positive and a negative label (they are positive now)",
            err=True,
        )
