"""`me5 index`: documents into a store, and what that store is like."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from me5.cli import options, terminal

if TYPE_CHECKING:
    from me5.embedder import Embedder
    from me5.search.index import Index
    from me5.search.planning import BadFile, Summary
    from me5.search.recall import Recall

_SHOWN = 20


class _PathsOrCommand(TyperGroup):
    """`me5 index docs/` as well as `me5 index check my.lance`: what is no command's name is a path."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command that takes paths in front of them."""
        asks_for_help = bool({"-h", "--help"} & set(args[:1]))
        if args and args[0] not in self.commands and not asks_for_help:
            args = ["add", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(cls=_PathsOrCommand, no_args_is_help=True)
Store = Annotated[str, typer.Argument(metavar="STORE", help="The store: a folder, or an object-store URL.")]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option", metavar="NAME=VALUE", help="An option of the object store, as LanceDB takes them."
    ),
]
Trusted = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", show_default="the store's",
        help="The store's model by name, where it would come from the hub and me5 does not know it.",
    ),
]  # fmt: skip


@app.callback()
def index() -> None:
    """Index documents for `me5 search`: text, Markdown, HTML, PDF, DOCX, JSONL, CSV, Parquet, code.

    `me5 index PATH… --into STORE` is short for `me5 index add`. Run it again and again: what has not changed costs
    nothing, what has is replaced, what is gone is removed.

    \b
    me5 index docs/ report.pdf --into my.lance
    me5 index articles.parquet --field body --title-field headline --into my.lance
    me5 index check my.lance
    """


@app.command("add")
def add(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, and folders with all that is in them.")],
    into: Annotated[str, typer.Option("--into", metavar="STORE", help="The store: a folder, or an object-store URL.")],
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME", show_default="text", help="The column of the text, or several."),
    ] = None,
    title_field: Annotated[
        str, typer.Option("--title-field", metavar="NAME", help="The column of the title.")
    ] = "title",
    passage_tokens: Annotated[
        int | None,
        typer.Option("--passage-tokens", min=16, show_default="256", help="The longest passage; settled at first."),
    ] = None,
    quantize: Annotated[
        Literal["none", "int8", "binary"] | None,
        typer.Option(
            "--quantize", show_default="none",
            help="How an index over many vectors keeps them; the best are compared again in full. Settled at first.",
        ),
    ] = None,
    index_from: Annotated[
        int, typer.Option("--index-from", min=1, metavar="PASSAGES", help="Index the vectors from here on.")
    ] = 50_000,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Leave out, as in .gitignore: '*.min.js', 'drafts/'."),
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Read what symbolic links in folders point to.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 for files without text too, as long as there are any.")
    ] = False,
    storage_option: StorageOption = None,
    model: options.Model = None,
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    prompts: options.Prompts = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Bring a store up to date with files and folders.

    A run that is cut off goes on where it was when started again. Files and rows that cannot be used are listed at the
    end, in every run until they can; the exit code is then 1. Files without text, such as scans, are listed once. A
    file `.me5ignore` in a folder holds patterns of what to leave out there, as `.gitignore` does.

    \b
    me5 index add docs/ report.pdf --into my.lance
    me5 index add docs/ --exclude drafts/ --exclude '*.log' --into my.lance
    me5 index add site/ --into s3://bucket/my.lance --storage-option region=eu-central-1
    """
    from me5.search.readers.tables import Columns

    opened = _open_or_make(
        into, storage_option, passage_tokens=passage_tokens, quantize=quantize,
        model={"model": model, "precision": precision, "threads": threads, "prompts": prompts, "quiet": quiet},
    )  # fmt: skip
    columns = Columns(tuple(field or ("text",)), title_field)
    summary = opened.add(
        paths, columns=columns, exclude=exclude or (), follow_links=follow_links, show_progress_bar=not quiet
    )
    built = opened.finish(pays_from=index_from)
    if as_json:
        print(terminal.as_json(_as_json(summary, opened, built)))  # noqa: T201
    elif not quiet:
        _tell(summary, opened, built)
    if summary.bad or (strict and (summary.textless or summary.still_textless)):
        raise typer.Exit(1)


@app.command("check")
def check(
    store: Store,
    storage_option: StorageOption = None,
    model: Trusted = None,
    threads: options.Threads = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a store holds, and measure its index over the vectors against exact search.

    \b
    me5 index check my.lance
    """
    from me5.search.recall import Recall

    opened = open_index(store, storage_option, threads=threads, quiet=quiet, model=model)
    measured = opened.check()
    facts = _facts(opened)
    if as_json:
        recall = None if measured is None else _recall_json(measured)
        print(terminal.as_json({**facts, "recall": recall}))  # noqa: T201
        return
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' '):15} {terminal.line(_fact(value))}")
    typer.echo(f"{'search':15} {measured if isinstance(measured, Recall) else 'exact: every vector is compared'}")


@app.command("remove")
def remove(
    store: Store,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="Files or folders, as they were indexed.")],
    storage_option: StorageOption = None,
    quiet: options.Quiet = False,
) -> None:
    """Drop what was indexed from files or folders, also from those that are no longer there.

    \b
    me5 index remove my.lance docs/old report.pdf
    """
    opened = open_index(store, storage_option, threads=None, quiet=quiet)
    dropped = opened.remove(sources)
    opened.finish()
    if not quiet:
        typer.echo(f"{_count(dropped, 'passage')} removed, {len(opened):,} left", err=True)


def open_index(
    store: str, storage_option: list[str] | None, *, threads: int | None, quiet: bool, model: str | None = None
) -> "Index":
    """An existing store, for a command; its model is loaded when it is needed. `model` names one that it may load."""
    from me5.search.index import Index, load
    from me5.search.store import Store as Tables

    storage = storage_options(storage_option)
    tables = Tables.open(store, storage)
    if tables is None:
        return Index.open(store, storage_options=storage)  # says what is wrong

    def loaded() -> "Embedder":
        with options.loading(model or tables.settings.model, quiet=quiet):
            return load(tables.settings, model, threads=threads)

    return Index(tables, loaded)


def storage_options(given: list[str] | None) -> dict[str, str] | None:
    """`NAME=VALUE` as a table."""
    if wrong := [option for option in given or () if "=" not in option]:
        raise typer.BadParameter(f"expected NAME=VALUE, got {wrong[0]!r}", param_hint="--storage-option")
    return dict(option.split("=", 1) for option in given) if given else None


def _open_or_make(
    into: str,
    storage_option: list[str] | None,
    *,
    passage_tokens: int | None,
    quantize: str | None,
    model: dict[str, object],
) -> "Index":
    """The store with its own model unless another one was asked for, which it may refuse."""
    from me5.search.index import Index
    from me5.search.store import Store as Tables

    storage = storage_options(storage_option)
    asked = any(model[name] is not None for name in ("model", "prompts")) or model["precision"] != "auto"
    if not asked and Tables.open(into, storage) is not None:
        opened = open_index(into, storage_option, threads=model["threads"], quiet=bool(model["quiet"]))  # type: ignore[arg-type]
        opened.check_asked(passage_tokens, quantize)
        return opened
    embedder = options.open_embedder(**model)  # type: ignore[arg-type]
    return Index.open(
        into, embedder, create=True, passage_tokens=passage_tokens, quantization=quantize, storage_options=storage  # type: ignore[arg-type]
    )  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _tell(summary: "Summary", index: "Index", built: "Recall | None") -> None:
    """The summary in words, bad files last."""
    rate = f", {summary.tokens / summary.engine_seconds:,.0f} tokens/s in the engine" if summary.tokens else ""
    reused = f" ({summary.reused:,} with the vectors they had)" if summary.reused else ""
    typer.echo(
        f"{_count(summary.indexed, 'file')} indexed, {summary.unchanged:,} unchanged, {summary.removed:,} removed; "
        f"{_count(summary.passages, 'passage')} written{reused} in {summary.seconds:.1f} s{rate}; "
        f"{index.store.uri} holds {_count(len(index), 'passage')}",
        err=True,
    )
    for moved in summary.moved:
        typer.echo(f"moved: {terminal.line(moved)}", err=True)
    if built is not None:
        typer.echo(f"index over the vectors: {built}", err=True)
    if passed := _passed_over(summary):
        typer.echo(f"passed over: {'; '.join(passed)}", err=True)
    _list("without text, told once", summary.textless)
    _list("could not be used", summary.bad)


def _passed_over(summary: "Summary") -> list[str]:
    kinds = ", ".join(f"{number:,} × {terminal.line(suffix)}" for suffix, number in summary.others.most_common(8))
    told = [f"without a reader {kinds}"] if kinds else []
    if summary.excluded:
        told.append(f"excluded {summary.excluded:,}")
    if summary.links:
        told.append(f"{_count(summary.links, 'symbolic link')} (--follow-links reads them)")
    if summary.still_textless:
        told.append(f"{_count(summary.still_textless, 'file')} without text, as before")
    return told


def _list(what: str, files: "list[BadFile]") -> None:
    if files:
        typer.echo(f"{what} ({len(files):,}):", err=True)
    for file in files[:_SHOWN]:
        typer.echo(f"  {terminal.line(str(file))}", err=True)
    if len(files) > _SHOWN:
        typer.echo(f"  … and {len(files) - _SHOWN:,} more; --json lists all", err=True)


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key or 'unknown'} {_fact(inner)}" for key, inner in list(value.items())[:12])
    return f"{value:,}" if isinstance(value, int) else str(value)


def _facts(index: "Index") -> "dict[str, str | int | dict[str, int] | dict[str, str]]":
    settings = index.settings
    return {
        "store": index.store.uri,
        "model": settings.model,
        "weights": settings.fingerprint,
        "precision": settings.precision,
        "quantization": settings.quantization,
        "passage_tokens": settings.passage_tokens,
        "passages": len(index),
        "files": len(index.store.known_files()),
        "roots": index.store.roots(),
        "bytes": index.store.size(),
        "languages": index.store.counts("language"),
        "kinds": index.store.counts("kind"),
    }


def _as_json(summary: "Summary", index: "Index", built: "Recall | None") -> dict[str, object]:
    from dataclasses import asdict, fields

    told = {field.name: getattr(summary, field.name) for field in fields(summary)}
    for name in ("bad", "textless"):
        told[name] = [asdict(file) for file in told[name]]
    told |= {"others": dict(summary.others), "stored": len(index)}
    return {**told, "recall": None if built is None else _recall_json(built)}


def _recall_json(recall: "Recall") -> dict[str, object]:
    from dataclasses import asdict

    return asdict(recall)
