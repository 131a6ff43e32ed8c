"""`me5 index`: documents into a store, and what that store holds."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import index_summary, options, output, terminal
from me5.cli.register import help_of, register, with_default
from me5.errors import counted

if TYPE_CHECKING:
    from me5.embedder import Embedder
    from me5.search.index import Index
    from me5.search.settings import StoreSettings


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
        "--model", "-m", show_default="the store's", rich_help_panel="Model",
        help="The store's model by name, where it would come from the hub and me5 does not know it.",
    ),
]  # fmt: skip
stored_model = options.with_model(
    name=Trusted, without=("revision", "device", "precision", "max_tokens", "truncation", "prompts")
)


def index() -> None:
    """Index documents for `me5 search`: text, HTML, PDF, office documents, EPUB, email, subtitles, tables, code.

    `me5 index PATH… --into STORE` is short for `me5 index add`. Run it again after changes: unchanged files cost
    nothing, changed ones are replaced, deleted ones are removed.

    \b
    me5 index docs/ report.pdf --into my.lance
    me5 index articles.parquet --field body --title-field headline --into my.lance
    me5 index check my.lance
    """


@options.with_model(without=("revision", "max_tokens", "truncation"))
def add(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, and folders with all that is in them.")],
    into: Annotated[str, typer.Option("--into", metavar="STORE", help="The store: a folder, or an object-store URL.")],
    model: options.ModelOptions,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="NAME", show_default="text", help="The column of the text, or several."),
    ] = None,
    title_field: Annotated[
        str, typer.Option("--title-field", metavar="NAME", help="The column of the title.")
    ] = "title",
    passage_tokens: Annotated[
        int | None,
        typer.Option("--passage-tokens", min=16, show_default="256", help="The longest passage; fixed at first."),
    ] = None,
    index_from: Annotated[
        int,
        typer.Option("--index-from", min=1, metavar="PASSAGES", help="Index the vectors when there are so many."),
    ] = 50_000,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="Leave out, as in .gitignore: '*.min.js', 'drafts/'."),
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Read what symbolic links in folders point to.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 for files without text too.")
    ] = False,
    storage_option: StorageOption = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Bring a store up to date with files and folders.

    A run that was interrupted resumes when started again. Files and rows that cannot be used are listed at the end of
    every run until they can; the exit code is then 1. Files without text, such as scans, are listed once. A file
    `.me5ignore` in a folder holds patterns of what to leave out there, as `.gitignore` does.

    \b
    me5 index add docs/ report.pdf --into my.lance
    me5 index add docs/ --exclude drafts/ --exclude '*.log' --into my.lance
    me5 index add site/ --into s3://bucket/my.lance --storage-option region=eu-central-1
    """
    from me5.search.files import check as check_paths
    from me5.search.index import Index
    from me5.search.readers.tables import Columns

    check_paths(paths, exclude or ())  # a name that is wrong makes no store
    # A store opens its own model, unless another one is given, which it may refuse.
    given = model.name is not None or model.prompts is not None or model.precision != "auto"
    with Index.open(
        into, model.open(quiet=quiet) if given else partial(_load, model, quiet=quiet), create=True,
        passage_tokens=passage_tokens, storage_options=storage_options(storage_option),
    ) as opened:  # fmt: skip
        columns = Columns(tuple(field or ("text",)), title_field)
        summary = opened.add(
            paths, columns=columns, exclude=exclude or (), follow_links=follow_links, show_progress_bar=not quiet
        )
        recall = opened.finish(pays_from=index_from)
    if as_json:
        output.print_json(index_summary.as_json(summary, opened, recall))
    else:
        index_summary.tell(summary, opened, recall, quiet=quiet)
    if summary.bad or (strict and (summary.textless or summary.still_textless)):
        raise typer.Exit(1)


@stored_model
def check(
    store: Store,
    model: options.ModelOptions,
    storage_option: StorageOption = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what a store holds, and measure its index over the vectors against exact search.

    \b
    me5 index check my.lance
    """
    opened = open_index(store, storage_option, model, quiet=quiet)
    recall = opened.check()
    if as_json:
        output.print_json({**index_summary.facts(opened), "recall": None if recall is None else asdict(recall)})
    else:
        output.print_facts(index_summary.facts_in_words(opened, recall))


@options.with_model(without=("revision", "max_tokens", "truncation"))
def attach(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A Parquet file, or a LanceDB database.")],
    into: Annotated[str, typer.Option("--into", metavar="STORE", help="The store: a folder, or an object-store URL.")],
    model: options.ModelOptions,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", show_default="the only one", help="The table in LanceDB.")
    ] = None,
    field: Annotated[str, typer.Option("--field", metavar="NAME", help="The column of the text.")] = "text",
    vector_field: Annotated[
        str, typer.Option("--vector-field", metavar="NAME", help="The column of the vectors.")
    ] = "vector",
    title_field: Annotated[
        str, typer.Option("--title-field", metavar="NAME", help="The column of the title.")
    ] = "title",
    storage_option: StorageOption = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Take a table of texts and vectors into a store, without embedding the texts again.

    The vectors must be those of the store's model; some are made again and compared. Every row becomes a passage, and
    its other columns metadata.

    \b
    me5 index attach vectors.parquet --into my.lance --model intfloat/multilingual-e5-base
    me5 index attach lancedb/ --table notes --field body --vector-field embedding --into my.lance
    """
    from me5.search.attaching import AttachedColumns
    from me5.search.attaching import check as check_table
    from me5.search.foreign import opened as opened_table
    from me5.search.index import Index

    given = model.name is not None or model.prompts is not None or model.precision != "auto"
    load = model.open(quiet=quiet) if given else partial(_load, model, quiet=quiet)
    options_of_store = storage_options(storage_option)
    columns = AttachedColumns(field, vector_field, title_field)

    def before(embedder: "Embedder") -> None:  # what is refused makes no store
        check_table(embedder, opened_table(source, table, options_of_store), columns)

    with Index.open(into, load, create=True, storage_options=options_of_store, before=before) as opened:
        summary = opened.attach(
            source, table=table, columns=columns, storage_options=options_of_store, show_progress_bar=not quiet
        )
        recall = opened.finish()
    if as_json:
        output.print_json(index_summary.as_json(summary, opened, recall))
    else:
        index_summary.tell(summary, opened, recall, quiet=quiet)
    if summary.bad:
        raise typer.Exit(1)


@options.with_model(without=("revision", "max_tokens", "truncation"))
def migrate(
    store: Store,
    model: options.ModelOptions,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Drop what an unfinished migration has made, and keep the old model.")
    ] = False,
    storage_option: StorageOption = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Bring a store over to another model or precision, without its files.

    Its passages are embedded anew; searches find what the old model finds until all are there. A run that was
    interrupted resumes when started again. What has the store open, such as `me5 serve`, is to be started again at the
    end.

    \b
    me5 index migrate my.lance --model intfloat/multilingual-e5-base
    me5 index migrate my.lance --model intfloat/multilingual-e5-base --precision int8
    me5 index migrate my.lance --give-up
    """
    opened = open_index(store, storage_option, model, quiet=quiet)
    if give_up:
        next_one = opened.store.successor()
        if next_one is None:
            raise typer.BadParameter("no migration is under way", param_hint="--give-up")
        next_one.drop()
        return
    done = opened.migrate(model.open(quiet=quiet), show_progress_bar=not quiet)
    if as_json:
        output.print_json(asdict(done))
    elif not quiet:
        index_summary.tell_migration(done, opened)


def remove(
    store: Store,
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE…", help="Files or folders, as they were indexed.")],
    storage_option: StorageOption = None,
    quiet: options.Quiet = False,
) -> None:
    """Remove what was indexed from files or folders, also from those that no longer exist.

    Exits with 1 where the store has nothing of one of the names; the others are removed.

    \b
    me5 index remove my.lance docs/old report.pdf
    """
    with open_index(store, storage_option, options.ModelOptions(), quiet=quiet) as opened:
        absent = [name for name, found in opened.named(sources).items() if not found]
        removed = opened.remove(sources)
    if not quiet:
        typer.echo(f"{counted(removed, 'passage')} removed, {len(opened):,} left", err=True)
    for name in absent:
        output.complain("error", f"{terminal.line(name)}: nothing in {store} was indexed from it")
    if absent:
        raise typer.Exit(1)


app = typer.Typer(cls=with_default("add"), no_args_is_help=True)
app.callback(help=help_of(index))(index)
register(app, add=add, attach=attach, check=check, migrate=migrate, remove=remove)


def open_index(store: str, storage_option: list[str] | None, model: options.ModelOptions, *, quiet: bool) -> "Index":
    """An existing store, for a command; its model is loaded when it is needed."""
    from me5.search.index import Index

    load = partial(_load, model, quiet=quiet)
    return Index.open(store, load, storage_options=storage_options(storage_option))


def storage_options(given: list[str] | None) -> dict[str, str] | None:
    """`NAME=VALUE` as a table."""
    if wrong := [option for option in given or () if "=" not in option]:
        raise typer.BadParameter(f"expected NAME=VALUE, got {wrong[0]!r}", param_hint="--storage-option")
    return dict(option.split("=", 1) for option in given) if given else None


def _load(model: options.ModelOptions, settings: "StoreSettings | None", *, quiet: bool) -> "Embedder":
    """The model of a store; of a new one that of the options."""
    from me5.search.index import load

    if settings is None:
        return model.open(quiet=quiet)
    options.show_warnings(quiet=quiet)
    with options.loading(model.name or settings.model, quiet=quiet):
        return load(settings, model.name, device=model.device, threads=model.threads)
