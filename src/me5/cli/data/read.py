"""`me5 data read`: files of many formats into a dataset."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from me5.cli import options
from me5.cli.data import shared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from me5.data.contract import Dataset
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
        typer.Option("--source", metavar="NAME", show_default="each file's name", help="What a recipe weighs it by."),
    ] = None,
    licence: Annotated[str, typer.Option("--licence", metavar="NAME", help="Where rows tell none.")] = "",
    query_lang: Annotated[str, typer.Option("--query-lang", metavar="CODE", help="Where rows tell none.")] = "",
    document_lang: Annotated[str, typer.Option("--document-lang", metavar="CODE", help="Where rows tell none.")] = "",
    instruction: Annotated[
        str,
        typer.Option("--instruction", metavar="SENTENCE", help="What queries are for, where rows say nothing."),
    ] = "",
    teacher: Annotated[
        str | None, typer.Option("--teacher", metavar="NAME", help="The model whose scores the files hold.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of BEIR, MIRACL and Mr.TyDi: whose judgements.")] = "train",
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="A,B,…", help="Of sentence-transformers: which count, in order."),
    ] = None,
    positive_from: Annotated[
        float | None, typer.Option("--positive-from", metavar="LABEL", help="Pairs from this label on are positive.")
    ] = None,
    in_batch: Annotated[
        bool, typer.Option("--in-batch", help="Read rows that ask for training without in-batch negatives too.")
    ] = False,
    skip_empty: Annotated[bool, typer.Option("--skip-empty", help="Leave empty texts out, and count them.")] = False,
    conflicts: Annotated[
        Literal["merge", "error"],
        typer.Option("--conflicts", help="A pair that is given twice, and not alike: the positive wins, or an error."),
    ] = "merge",
    overwrite: shared.Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Read training data of many formats into one dataset, a folder of three Parquet tables.

    A file's format is recognised by its first record, a folder's by its files; docs/data.md tells each. Equal texts
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
        _tell(dataset, grouped, reading)


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


def _tell(dataset: "Dataset", grouped: "Grouped", reading: "Reading") -> None:
    """What else its owner should know."""
    for name, found in grouped.items():
        typer.echo(f"read as {name}: {', '.join(path.name for path in found[:6])}{' …' * (len(found) > 6)}", err=True)
    step = dataset.steps[-1]
    if reading.unread:
        typer.echo(f"columns that were not read: {', '.join(reading.unread)}", err=True)
    if reading.counts["empty"]:
        typer.echo(f"left out, for their text is empty: {reading.counts['empty']:,}", err=True)
    if reading.counts["unknown"]:
        unknown = reading.counts["unknown"]
        typer.echo(f"judgements left out, for their query or document is not there: {unknown:,}", err=True)
    if step.get("merged"):
        typer.echo(
            f"pairs given more than once, and not alike: {step['merged']:,} became one with another, "
            f"{step['contradictions']:,} of them positive here and negative there (they are positive now)",
            err=True,
        )
