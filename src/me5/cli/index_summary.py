"""What a run of `me5 index` has done, and what a store holds: in words and as JSON."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from me5.cli import terminal
from me5.errors import counted

if TYPE_CHECKING:
    from me5.search.index import Index
    from me5.search.migration import Migration
    from me5.search.planning import BadFile, Summary
    from me5.search.recall import Recall

_SHOWN = 20


def tell(summary: "Summary", index: "Index", recall: "Recall | None", *, quiet: bool) -> None:
    """Print the summary of a run on standard error, bad files last; `quiet` leaves only files that are not in."""
    if not quiet:
        _tell_success(summary, index, recall)
    _list("without text, listed once", summary.textless)
    _list("could not be used", summary.bad)


def _tell_success(summary: "Summary", index: "Index", recall: "Recall | None") -> None:
    rate = f", {summary.tokens / summary.engine_seconds:,.0f} tokens/s in the engine" if summary.tokens else ""
    reused = f" ({summary.reused:,} with the vectors they had)" if summary.reused else ""
    typer.echo(
        f"{counted(summary.indexed, 'file')} indexed, {summary.unchanged:,} unchanged, {summary.removed:,} removed; "
        f"{counted(summary.passages, 'passage')} written{reused} in {summary.seconds:.1f} s{rate}; "
        f"{index.store.uri} holds {counted(len(index), 'passage')}",
        err=True,
    )
    for moved in summary.moved:
        typer.echo(f"moved: {terminal.line(moved)}", err=True)
    if recall is not None:
        typer.echo(f"index over the vectors: {recall}", err=True)
    if passed := _passed_over(summary):
        typer.echo(f"passed over: {'; '.join(passed)}", err=True)


def tell_migration(done: "Migration", index: "Index") -> None:
    """Print on standard error what a migration has done."""
    kept = f", {done.kept:,} from an earlier run" if done.kept else ""
    typer.echo(
        f"{counted(done.passages, 'passage')} embedded by {done.model} at {done.precision}{kept}, "
        f"{counted(done.tokens, 'token')} in {done.seconds:.1f} s; {index.store.uri} holds "
        f"{counted(len(index), 'passage')}",
        err=True,
    )
    if done.truncated:
        typer.echo(
            f"{counted(done.truncated, 'passage')} longer than the model reads: their ends are found by words only; "
            "index the files into a new store to have them cut for it",
            err=True,
        )
    if done.recall is not None:
        typer.echo(f"index over the vectors: {done.recall}", err=True)


def _passed_over(summary: "Summary") -> list[str]:
    kinds = ", ".join(f"{number:,} × {terminal.line(suffix)}" for suffix, number in summary.others.most_common(8))
    parts = [f"without a reader {kinds}"] if kinds else []
    if summary.excluded:
        parts.append(f"excluded {summary.excluded:,}")
    if summary.links:
        parts.append(f"{counted(summary.links, 'symbolic link')} (--follow-links reads them)")
    if summary.still_textless:
        parts.append(f"{counted(summary.still_textless, 'file')} without text, as before")
    return parts


def _list(what: str, files: "list[BadFile]") -> None:
    if files:
        typer.echo(f"{what} ({len(files):,}):", err=True)
    for file in files[:_SHOWN]:
        typer.echo(f"  {terminal.line(str(file))}", err=True)
    if len(files) > _SHOWN:
        typer.echo(f"  … and {len(files) - _SHOWN:,} more; --json lists all", err=True)


def facts(index: "Index") -> "dict[str, str | int | dict[str, int] | dict[str, str]]":
    """What a store holds and how it was made."""
    settings = index.settings
    new = index.store.successor()
    moving = {} if new is None else {"migrating_to": f"{new.settings.model}, {new.count():,} of {len(index):,} there"}
    return {
        "store": index.store.uri,
        "model": settings.model,
        "weights": settings.fingerprint,
        "precision": settings.precision,
        "passage_tokens": settings.passage_tokens,
        "passages": len(index),
        "files": len(index.store.known_files()),
        "roots": index.store.roots(),
        "bytes": index.store.size(),
        "languages": index.store.counts("language"),
        "kinds": index.store.counts("kind"),
        **moving,
    }


def facts_in_words(index: "Index", recall: "Recall | None") -> dict[str, str]:
    """The same for people, with how well the index over the vectors finds."""
    words = {name.replace("_", " "): terminal.line(_in_words(value)) for name, value in facts(index).items()}
    return words | {"search": "exact: every vector is compared" if recall is None else str(recall)}


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key or 'unknown'} {_in_words(inner)}" for key, inner in list(value.items())[:12])
    return f"{value:,}" if isinstance(value, int) else str(value)


def as_json(summary: "Summary", index: "Index", recall: "Recall | None") -> dict[str, object]:
    """The summary of a run, for `--json`."""
    return {
        **asdict(summary),
        "others": dict(summary.others),
        "stored": len(index),
        "recall": None if recall is None else asdict(recall),
    }
