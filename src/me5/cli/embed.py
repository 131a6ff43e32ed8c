"""`me5 embed`: texts from one file, vectors into another."""

import sys
import warnings
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from me5.cli import options
from me5.errors import TruncationWarning, counted

if TYPE_CHECKING:
    from me5.bulk.one_file import Summary
    from me5.bulk.source import Source
    from me5.bulk.write import Target

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Texts: .txt (one per line), .jsonl, .csv, .tsv (also .gz, .bz2, .zst) or .parquet; - is standard input.",
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="FILE",
        help="Vectors: .npy, .parquet or .jsonl; - is JSON lines on standard output.",
    ),
]  # fmt: skip
Side = Annotated[
    Literal["query", "document", "both"],
    typer.Option("--side", help="What the texts are; both is symmetric use, such as similarity or clustering."),
]
Field = Annotated[
    list[str] | None,
    typer.Option(
        "--field", metavar="NAME", show_default="text",
        help="The field or column of the text. Several are joined by a space: --field title --field text.",
    ),
]  # fmt: skip
IdField = Annotated[
    str | None,
    typer.Option(
        "--id-field", metavar="NAME", show_default="row number from 0", help="The field or column of the ids."
    ),
]
Format = Annotated[
    Literal["text", "jsonl", "csv", "tsv", "parquet"] | None,
    typer.Option("--format", show_default="by suffix; text for -", help="The format of the texts."),
]
KeepText = Annotated[bool, typer.Option("--keep-text", help="Write the texts beside the vectors.")]
Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="NAME", show_default="none", help="A field or column to write beside the vectors."),
]
Dtype = Annotated[Literal["float32", "float16"], typer.Option("--dtype", help="The numbers in .npy and .parquet.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]


@options.with_model()
def embed(
    file: File,
    out: Output,
    model: options.ModelOptions,
    side: Side = "document",
    task: options.Task = None,
    field: Field = None,
    id_field: IdField = None,
    format: Format = None,  # noqa: A002
    keep_text: KeepText = False,
    keep: Keep = None,
    dtype: Dtype = "float32",
    overwrite: Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Embed a file of texts, of any size, into a file of vectors.

    In plain text every line is one text, blank lines too: line n becomes row n.
    A row that cannot be used is an error, never left out. The output appears when everything is done. What was killed
    goes on when the same command is given again.

    \b
    me5 embed docs.jsonl --field text --id-field id -o vectors.parquet
    me5 embed docs.jsonl --id-field id --keep title --keep url -o vectors.parquet
    me5 embed queries.txt --side query --task question-answering -o queries.npy
    me5 embed docs.jsonl --device cuda -o vectors.npy
    cat lines.txt | me5 embed - -o vectors.jsonl
    """
    from me5.bulk.one_file import check_pair, embed_file
    from me5.bulk.read import check
    from me5.bulk.source import source_of
    from me5.bulk.write import target_of
    from me5.progress import track

    source = source_of(file, format=format, fields=field or (), id_field=id_field, keep=keep or ())
    target = target_of(out, dtype=dtype, keep_text=keep_text, keep=keep or (), overwrite=overwrite)
    check_pair(source, target)
    total = check(source)
    embedder = model.open(quiet=quiet)
    warnings.simplefilter("ignore", TruncationWarning)  # the summary counts them
    # No bar among JSON lines on the same terminal.
    show = not quiet and not (target.path is None and sys.stdout.isatty())
    with track(total, show=show) as advance:
        summary = embed_file(embedder, source, target, side, task=task, advance=advance)
    if not quiet:
        typer.echo(_in_words(summary, source, target), err=True)


def _in_words(summary: "Summary", source: "Source", target: "Target") -> str:
    """The summary in words: one line, and a second where texts were truncated."""
    texts = counted(summary.texts, "text")
    lost = f", {summary.truncated:,} truncated ({counted(summary.lost, 'token')} lost)" if summary.truncated else ""
    shape = f"{summary.texts:,} × {summary.dim}" + ("" if target.format == "jsonl" else f" {target.dtype}")
    speed = f"{summary.tokens / summary.seconds:,.0f} tokens/s"
    line = f"{texts}, {counted(summary.tokens, 'token')}{lost}, {speed} → {target.name} ({shape})"
    if not summary.truncated:
        return line
    places = ", ".join(f"{at:,}" for at in summary.cut) + (", …" if summary.truncated > len(summary.cut) else "")
    kind = "rows (from 0)" if source.format == "parquet" else "lines"
    return f"{line}\ntruncated: {kind} {places}; --truncation chunk reads them whole"
