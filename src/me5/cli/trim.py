"""`me5 trim`: a model with the vocabulary that some texts need."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from me5.cli import options, output
from me5.cli.export import Kind, Overwrite, Table
from me5.errors import InputError, counted

if TYPE_CHECKING:
    from me5.bulk.source import Source
    from me5.checkpoint import Checkpoint
    from me5.trimming import Int64, Usage

_SAMPLE, _ROWS = 500, 30


def trim(
    model: Annotated[str, typer.Argument(help="A folder, a .gguf file, a hub id, or the bundled model's name.")],
    texts: Annotated[
        list[str],
        typer.Option(
            "--texts",
            metavar="FILE",
            help="Texts like those to come: .txt, .jsonl, .csv, .tsv (also .gz, .bz2, .zst) or .parquet. Repeatable.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder, or a file that ends in .gguf.")],
    cover: Annotated[
        float, typer.Option("--cover", min=0.5, max=1.0, help="Keep the pieces that cover this share of the tokens.")
    ] = 1.0,
    pieces: Annotated[
        int | None,
        typer.Option(
            "--pieces",
            min=16,
            show_default="what --cover needs",
            help="Keep so many: those that cover the texts, then the likeliest of the others.",
        ),
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option("--field", show_default="text", help="The field or column of the text.")
    ] = None,
    language_field: Annotated[
        str | None, typer.Option("--language-field", help="The field or column of the language, for the report.")
    ] = None,
    kind: Kind = None,
    table: Table = None,
    overwrite: Overwrite = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Keep the part of a model's word table that your texts need.

    Special tokens and every character of the texts stay. The report says which share of the tokens stayed whole, by
    language, how much longer texts became, and the cosine between vectors of the two models.

    \b
    me5 trim intfloat/multilingual-e5-large-instruct --texts docs.jsonl --out e5-docs
    me5 trim intfloat/multilingual-e5-small --texts corpus.txt --cover 0.999 --out small.gguf --type q8_0
    """
    from me5.bulk.source import source_of
    from me5.checkpoint import resolve
    from me5.export import check_target, export
    from me5.progress import track
    from me5.trimming import choose, count, trimmed
    from me5.weights import tensor_table

    options.show_warnings(quiet=quiet)
    check_target(out, overwrite=overwrite)
    checkpoint = resolve(model)
    sources = [
        source_of(name, fields=field or (), id_field=language_field, id_option="--language-field") for name in texts
    ]
    with track(None, show=not quiet, description="Counting") as advance:
        usage = count(checkpoint, _pairs(sources, language_field), advance)
    if not usage.counts.any():
        raise InputError(f"{', '.join(texts)}: all texts are empty, so that no piece is needed; expected texts")
    kept = choose(checkpoint, usage, cover=cover, pieces=pieces)
    with (
        trimmed(checkpoint, kept) as (smaller, weights),
        track(len(tensor_table(smaller.config)), show=not quiet, description="Writing", unit="tensors") as advance,
    ):
        export(smaller, out, matrices=kind, words=table, weights=weights, overwrite=overwrite, advance=advance)
    with options.loading(model, quiet=quiet):
        report = _report(checkpoint, out, usage, kept, _sample(sources, language_field, usage.texts))
    if as_json:
        output.print_json(report)
    else:
        _print(report)


def _pairs(sources: "list[Source]", language_field: str | None) -> Iterator[tuple[str, str]]:
    """(language, text) of everything; without a field for it, the file stands for the language."""
    from me5.bulk.read import records

    for source in sources:
        for record in records(source):
            yield (str(record.id) if language_field else source.name), record.text


def _sample(sources: "list[Source]", language_field: str | None, texts: int) -> list[str]:
    """At most a thousand texts from everywhere."""
    step = max(1, texts // _SAMPLE)
    return [text for _, text in islice(_pairs(sources, language_field), 0, None, step)][: 2 * _SAMPLE]


def _report(checkpoint: "Checkpoint", out: Path, usage: "Usage", kept: "Int64", sample: list[str]) -> dict[str, Any]:
    from me5.embedder import Embedder
    from me5.trimming import compare

    before, after = (
        Embedder.load(path, precision="f32", prompts=checkpoint.prompts or "none") for path in (checkpoint.path, out)
    )
    cosines, longer = compare(before, after, sample)
    sizes = [sum(path.stat().st_size for path in files) for files in (checkpoint.weights, after.checkpoint.weights)]
    return {
        "pieces": [checkpoint.config.vocab_size, len(kept)],
        "weights_bytes": sizes,
        "texts": usage.texts,
        "tokens": int(usage.counts.sum()),
        "tokens_kept": float(usage.counts[kept].sum() / usage.counts.sum()),
        "languages": {
            language: {"tokens": int(counts.sum()), "kept": float(counts[kept].sum() / max(int(counts.sum()), 1))}
            for language, counts in sorted(usage.by_language.items(), key=lambda item: -int(item[1].sum()))
        },
        "compared_texts": len(sample),
        "tokens_after": longer,
        "cosine_mean": float(cosines.mean()),
        "cosine_least": float(cosines.min()),
    }


def _print(report: dict[str, Any]) -> None:
    rows = [
        (language, f"{row['tokens']:,}", f"{row['kept']:.3%}")
        for language, row in [*report["languages"].items()][:_ROWS]
    ]
    output.print_table(("language", output.Number("tokens"), output.Number("kept whole")), rows, framed=False)
    if (more := len(report["languages"]) - _ROWS) > 0:
        typer.echo(f"… and {more} more (--json)")
    (pieces, kept), (before, after) = report["pieces"], report["weights_bytes"]
    typer.echo(f"{kept:,} of {counted(pieces, 'piece')}; {after / 1e6:,.1f} MB, before {before / 1e6:,.1f} MB")
    typer.echo(f"{report['tokens_kept']:.3%} of {counted(report['tokens'], 'token')} stayed whole")
    typer.echo(
        f"cosine to the model before: mean {report['cosine_mean']:.4f}, least {report['cosine_least']:.4f}; tokens × "
        f"{report['tokens_after']:.3f} ({counted(report['compared_texts'], 'text')})"
    )
