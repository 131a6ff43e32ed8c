"""What the subcommands of `me5 eval` share: their options, reading data, opening the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from me5.evaluation.encoders.base import Encoder
    from me5.evaluation.task import Task

# What `open_encoder` does not take.
NOT_OFFERED = ("max_tokens", "truncation")
Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH…", help="Evaluation sets: folders or files, or folders of them.")
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", envvar="ME5_MODEL", show_default="the bundled me5-small", rich_help_panel="Model",
        help="A folder, a .gguf file, a hub id or me5-small; st:NAME for sentence-transformers; or a service, "
        "http://HOST/v1#MODEL (OpenAI's dialect) or http://HOST (text-embeddings-inference's), its key in ME5_API_KEY.",
    ),
]  # fmt: skip
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache", envvar="ME5_CACHE", metavar="FOLDER",
        help="Store vectors there and reuse them, so that an interrupted run resumes.",
    ),
]  # fmt: skip
Task_ = Annotated[
    str | None,
    typer.Option(
        "--task", "-t", show_default="what the set's authors used, else the sentence of its type",
        help="The task of instruct models: a name (web-search, …), an evaluation task (NFCorpus, …) or a sentence.",
    ),
]  # fmt: skip
Name = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", show_default="the model's, or that of its run, and the precision",
        help="The model's name in results. Two models of one name cannot share a folder of results.",
    ),
]  # fmt: skip


def read_tasks(paths: "Sequence[Path]", *, quiet: bool = False) -> "list[Task]":
    """The tasks of all paths, in order; `quiet` silences warnings."""
    from me5.evaluation.readers import read_all

    options.show_warnings(quiet=quiet)
    return read_all(paths)


def open_model(model: options.ModelOptions, *, cache: Path | None = None, quiet: bool = False) -> "Encoder":
    """Load the model that is judged; `quiet` silences warnings too."""
    from me5.evaluation.encoders import open_encoder

    options.show_warnings(quiet=quiet)
    with options.loading(model.name, quiet=quiet):
        return open_encoder(
            model.name, revision=model.revision, device=model.device, precision=model.precision, threads=model.threads,
            prompts=model.prompts, cache=cache,
        )  # fmt: skip


def hundred(value: float) -> str:
    """A figure as papers print it, × 100."""
    return f"{100 * value:.2f}"


def between(interval: tuple[float, float] | None) -> str:
    """An interval, × 100."""
    return "" if interval is None else f"{100 * interval[0]:.1f} – {100 * interval[1]:.1f}"
