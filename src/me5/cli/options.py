"""The options that several commands share, each declared once."""

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from me5.errors import CheckpointError, InputError, Me5Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from me5.embedder import Embedder

Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", envvar="ME5_MODEL", show_default="the bundled me5-mini",
        help="A folder, a .gguf file, a hub id such as intfloat/multilingual-e5-large-instruct, or me5-mini.",
    ),
]  # fmt: skip
Precision = Annotated[
    Literal["auto", "f32", "bf16", "f16", "int8", "fp8"],
    typer.Option(
        "--precision", "-p",
        help="What the engine computes in: f32, bf16, int8 (CPU), f16, fp8 (GPU). auto is bf16 where the hardware has "
        "it, else f32 (CPU) or f16 (GPU).",
    ),
]  # fmt: skip
Device = Annotated[
    str,
    typer.Option(
        "--device", envvar="ME5_DEVICE",
        help="cpu, cuda (every visible GPU), cuda:N (one of them), or torch-cpu (what a GPU computes, slowly). All but "
        "cpu need the extra gpu.",
    ),
]  # fmt: skip
Threads = Annotated[int | None, typer.Option("--threads", min=1, show_default="every core", help="CPU threads.")]
Truncation = Annotated[
    Literal["end", "start", "chunk", "error"],
    typer.Option(
        "--truncation", help="Texts longer than the model reads: lose the end, the start, read in chunks, or refuse."
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", min=3, show_default="the model's limit", help="Read at most this many tokens per text."
    ),
]
Prompts = Annotated[
    Literal["instruct", "prefix", "none"] | None,
    typer.Option("--prompts", show_default="what the model is known for", help="Override the style of prompts."),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task", "-t", show_default="web-search for queries, sts for both sides",
        help="What queries are for: a name (web-search, question-answering, bitext, sts, …), an evaluation task "
        "(NFCorpus, …), or a sentence. Instruct models only.",
    ),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary, no warnings; errors only.")]


def exit_status(error: Me5Error) -> int:
    """The exit code that tells scripts what went wrong."""
    return 3 if isinstance(error, CheckpointError) else 2 if isinstance(error, InputError) else 1


@contextmanager
def loading(name: str | None, *, quiet: bool) -> "Iterator[None]":
    """Show that a model is loading, on a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(f"loading {name or 'me5-mini'}"):
        yield


def open_embedder(
    model: str | None,
    *,
    device: str = "cpu",
    precision: Precision = "auto",
    threads: int | None = None,
    truncation: Truncation = "end",
    max_tokens: int | None = None,
    prompts: Prompts = None,
    quiet: bool = False,
) -> "Embedder":
    """Load a model for a command; `quiet` silences warnings too."""
    import warnings

    from me5.embedder import Embedder
    from me5.errors import Me5Warning

    warnings.simplefilter("ignore" if quiet else "always", Me5Warning)
    with loading(model, quiet=quiet):
        return Embedder.load(
            model, device=device, precision=precision, threads=threads, truncation=truncation, max_tokens=max_tokens,
            prompts=prompts,
        )  # fmt: skip
