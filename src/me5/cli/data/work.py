"""What `filter`, `mine` and `score` share: the options of a job that can be resumed, models, and the report."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from me5.cli import options, output
from me5.cli.data import shared

if TYPE_CHECKING:
    from me5.data.jobs import Workspace
    from me5.data.teachers import EmbeddingTeacher, Teacher

Job = Annotated[
    Path | None,
    typer.Option(
        "--job", metavar="FOLDER", show_default="OUT.job",
        help="Where intermediate results are kept: after an interruption the same command resumes from there. Delete "
        "it afterwards, or keep it to try other settings on the same vectors.",
    ),
]  # fmt: skip
Restart = Annotated[
    bool,
    typer.Option("--restart", help="Discard what earlier runs made there with other settings or data."),
]
Dtype = Annotated[
    Literal["float16", "float32"],
    typer.Option("--dtype", help="The numbers of stored vectors; float16 moves a cosine by about 0.00001."),
]


def workplace(
    out: Path, job: Path | None, *, restart: bool, quiet: bool, dtype: Literal["float16", "float32"] = "float16"
) -> "Workspace":
    """The folder of a command's jobs."""
    from me5.data.jobs import Workspace

    folder = job or out.with_name(f"{out.name}.job")
    return Workspace(folder, restart=restart, dtype=dtype, show_progress_bar=not quiet)


def open_model(model: options.ModelOptions, *, task: str | None, quiet: bool) -> "EmbeddingTeacher":
    """The checkpoint that searches; `quiet` silences warnings too."""
    from me5.data.teachers import CheckpointTeacher
    from me5.errors import TruncationWarning

    embedder = model.open(quiet=quiet)
    warnings.simplefilter("ignore", TruncationWarning)  # for every shard: a corpus always has long texts
    return CheckpointTeacher(embedder, task=task)


def open_judge(model: options.ModelOptions, *, task: str | None = None, quiet: bool) -> "Teacher":
    """The teacher of pairs: see `teachers.open_teacher`."""
    from me5.checkpoint import resolve
    from me5.data.teachers import CROSS_ENCODER, open_teacher

    ours = not (model.name or "").startswith(CROSS_ENCODER)
    if ours and resolve(model.name, revision=model.revision).config.head is None:
        return open_model(model, task=task, quiet=quiet)
    options.show_warnings(quiet=quiet)
    with options.loading(model.name, quiet=quiet):
        return open_teacher(
            model.name, device=model.device, precision=model.precision, threads=model.threads,
            max_tokens=model.max_tokens, task=task, revision=model.revision,
        )  # fmt: skip


def report(
    out: Path,
    place: "Workspace",
    sources: Sequence[str],
    columns: Sequence[tuple[str, Sequence[str]]],
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print what was written: as JSON, or as a table by source of `columns`, each a head and a cell per source."""
    from me5.data.dataset import Dataset

    if not quiet and not as_json:
        rows = [[source or "(none)", *(cells[row] for _, cells in columns)] for row, source in enumerate(sources)]
        output.print_table(["source", *(output.Number(head) for head, _ in columns)], rows, framed=False)
    shared.print_summary(Dataset.open(out), as_json=as_json, quiet=quiet)
    if not quiet and not as_json:
        typer.echo(f"{place.folder} can be deleted, or kept to try other settings", err=True)


def share(part: int, whole: int) -> str:
    """A part of something in per cent."""
    return f"{100 * part / whole:.1f} %" if whole else "–"
