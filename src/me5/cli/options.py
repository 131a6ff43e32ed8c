"""The options that several commands share, each declared once; the model that they choose, opened."""

import functools
import inspect
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from me5.cli import output
from me5.errors import CheckpointError, InputError, Me5Error, Me5Warning

if TYPE_CHECKING:
    from me5.embedder import Embedder
    from me5.reranker import Reranker

_PANEL = "Model"
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", envvar="ME5_MODEL", show_default="the bundled me5-small", rich_help_panel=_PANEL,
        help="A folder, a .gguf file, a hub id such as intfloat/multilingual-e5-large-instruct, or me5-small.",
    ),
]  # fmt: skip
Revision = Annotated[
    str | None,
    typer.Option(
        "--revision", show_default="the pinned one, else main", rich_help_panel=_PANEL,
        help="The revision of a model from the hub: a commit, tag or branch.",
    ),
]  # fmt: skip
Device = Annotated[
    str,
    typer.Option(
        "--device", envvar="ME5_DEVICE", rich_help_panel=_PANEL,
        help="cpu, cuda (every visible GPU), cuda:N (one of them), or torch-cpu (what a GPU computes, slowly). All but "
        "cpu need the extra gpu.",
    ),
]  # fmt: skip
Precision = Annotated[
    Literal["auto", "f32", "bf16", "f16", "int8", "fp8"],
    typer.Option(
        "--precision", "-p", rich_help_panel=_PANEL,
        help="What the engine computes in: f32, bf16, int8 (CPU), f16, fp8 (GPU). auto is bf16 where the hardware has "
        "it, else f32 (CPU) or f16 (GPU).",
    ),
]  # fmt: skip
Threads = Annotated[
    int | None,
    typer.Option("--threads", min=1, show_default="every core", rich_help_panel=_PANEL, help="CPU threads."),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", min=3, show_default="the model's limit", rich_help_panel=_PANEL,
        help="Read at most this many tokens per text.",
    ),
]  # fmt: skip
Truncation = Annotated[
    Literal["end", "start", "chunk", "error"],
    typer.Option(
        "--truncation", rich_help_panel=_PANEL,
        help="What to do with a text that is longer: cut its end, cut its start, read it in chunks and average their "
        "vectors, or stop with an error.",
    ),
]  # fmt: skip
Prompts = Annotated[
    Literal["instruct", "prefix", "none"] | None,
    typer.Option(
        "--prompts", show_default="the model's own", rich_help_panel=_PANEL, help="Override the style of its prompts."
    ),
]
Task = Annotated[
    str | None,
    typer.Option(
        "--task", "-t", show_default="web-search for queries, sts for both sides",
        help="What queries are for: a name (web-search, question-answering, bitext, sts, …), an evaluation task "
        "(NFCorpus, …), or a sentence. Instruct models only.",
    ),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only: no progress, no summary, no warnings.")]


@dataclass(frozen=True)
class ModelOptions:
    """Which model a command opens, and how it is run. `with_model` gives a command these options."""

    name: Model = None
    revision: Revision = None
    device: Device = "cpu"
    precision: Precision = "auto"
    threads: Threads = None
    max_tokens: MaxTokens = None
    truncation: Truncation = "end"
    prompts: Prompts = None

    def open(self, *, quiet: bool = False) -> "Embedder":
        """Load the model; `quiet` silences its warnings too."""
        from me5.embedder import Embedder

        show_warnings(quiet=quiet)
        with loading(self.name, quiet=quiet):
            return Embedder.load(
                self.name, revision=self.revision, device=self.device, precision=self.precision, threads=self.threads,
                max_tokens=self.max_tokens, truncation=self.truncation, prompts=self.prompts,
            )  # fmt: skip

    def open_reranker(self, *, quiet: bool = False) -> "Reranker":
        """Load the model as a reranker; `quiet` silences its warnings too."""
        from me5.reranker import Reranker

        show_warnings(quiet=quiet)
        with loading(self.name, quiet=quiet):
            return Reranker.load(
                self.name or "", revision=self.revision, device=self.device, precision=self.precision,
                threads=self.threads, max_tokens=self.max_tokens, truncation=self.truncation,
            )  # fmt: skip


def with_model(
    *, without: Collection[str] = (), name: Any = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes `model: ModelOptions` an option for each field of it.

    `without` are the fields that mean nothing to this command; `name` is the option of the model's name, where that
    is not `Model`.
    """
    hints = ModelOptions.__annotations__ | ({} if name is None else {"name": name})
    offered = {f"model_{field.name}": field for field in fields(ModelOptions) if field.name not in without}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        parameters = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.annotation is not ModelOptions:
                parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
            else:
                parameters += [
                    inspect.Parameter(
                        key, parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
                    )
                    for key, field in offered.items()
                ]  # fmt: skip

        @functools.wraps(command)
        def run(**given: Any) -> None:
            model = ModelOptions(**{field.name: given.pop(key) for key, field in offered.items() if key in given})
            command(**given, model=model)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def exit_status(error: Me5Error) -> int:
    """The exit code that tells scripts what went wrong."""
    return 3 if isinstance(error, CheckpointError) else 2 if isinstance(error, InputError) else 1


def show_warnings(*, quiet: bool = False) -> None:
    """Show each of our warnings, and not only the first from a line of code; or none of them."""
    warnings.simplefilter("ignore" if quiet else "always", Me5Warning)


@contextmanager
def loading(name: str | None, *, quiet: bool) -> Iterator[None]:
    """Show on a terminal that a model is loading."""
    with output.status(f"loading {name or 'me5-small'}", show=not quiet):
        yield
