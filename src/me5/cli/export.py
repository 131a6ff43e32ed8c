"""`me5 export`: a model in another form."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from me5.cli import options

Kind = Annotated[
    Literal["f32", "f16", "bf16", "q8_0", "q4_0"] | None,
    typer.Option(
        "--type", show_default="f32 in folders, q8_0 in files",
        help="How numbers are stored; bf16, q8_0 and q4_0 in .gguf files only.",
    ),
]  # fmt: skip
Table = Annotated[
    Literal["f32", "f16", "bf16", "q8_0", "q4_0"] | None,
    typer.Option("--table", show_default="as --type", help="How the word table is stored, in .gguf files."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def export(
    model: Annotated[str, typer.Argument(help="A folder, a .gguf file, a hub id, or the bundled model's name.")],
    to: Annotated[
        Path, typer.Option("--to", help="A folder to write, in Hugging Face's layout; or a file that ends in .gguf.")
    ],
    kind: Kind = None,
    table: Table = None,
    overwrite: Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a model as a folder for transformers, or as one GGUF file for llama.cpp, Ollama and LM Studio.

    \b
    me5 export intfloat/multilingual-e5-small --to e5-small.gguf --type q8_0
    me5 export intfloat/multilingual-e5-large-instruct --to e5.gguf --type q8_0 --table q4_0
    me5 export downloaded.gguf --to folder --type f16
    """
    from me5.checkpoint import resolve
    from me5.export import check_target
    from me5.export import export as write
    from me5.progress import track
    from me5.weights import tensor_table

    options.show_warnings(quiet=quiet)
    check_target(to, overwrite=overwrite)
    checkpoint = resolve(model)
    with track(len(tensor_table(checkpoint.config)), show=not quiet, unit="tensors") as advance:
        write(checkpoint, to, matrices=kind, words=table, overwrite=overwrite, advance=advance)
    if not quiet:
        size = to.stat().st_size if to.is_file() else sum(path.stat().st_size for path in to.rglob("*"))
        typer.echo(f"{checkpoint.name} → {to}, {size / 1e6:,.1f} MB", err=True)
