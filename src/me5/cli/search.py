"""`me5 search`: questions to a store, or to a service that searches one; one question or many."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from me5.cli import options, output, terminal
from me5.cli.index import StorageOption, open_index, stored_model
from me5.errors import InputError, ServiceError

if TYPE_CHECKING:
    from rich.text import Text

    from me5.search import Index

# Characters shown before and after the best sentence.
_AROUND = 300
# Other places of a passage, and languages of a store, that are named.
_COPIES, _LANGUAGES = 3, 12

# A question -> hits; the passages of each language.
Ask = Callable[[str], list[dict[str, Any]]]
Languages = Callable[[], Mapping[str, int]]


@stored_model
def search(
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE", help="A folder, an object-store URL, or the http:// address of a `me5 serve --search`."
        ),
    ],
    model: options.ModelOptions,
    question: Annotated[
        str | None,
        typer.Argument(metavar="[QUESTION]", help="In any language. Without one: interactive, or a line each."),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="How many passages.")] = 5,
    where: Annotated[
        str | None,
        typer.Option("--filter", metavar="FILTER", help="Only passages that fit, such as \"language = 'de'\"."),
    ] = None,
    task: options.Task = None,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Vectors and full text, joined by their scores.")] = False,
    weight: Annotated[
        float, typer.Option("--weight", min=0, max=1, help="Of the vectors with --hybrid; words have the rest.")
    ] = 0.4,
    group: Annotated[
        Literal["document"] | None,
        typer.Option("--group", show_default="none", help="document: the best passage of each document only."),
    ] = None,
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Show passages that say the same once, with the other places.")
    ] = True,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every vector, index or not.")] = False,
    storage_option: StorageOption = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Ask a store that `me5 index` made; answers come in any language.

    A running service answers in a fraction of the time that a new process needs to load the store and its model.

    Columns for --filter: source, title, text, start, end, at, language, kind, modified, id, and json_get_string, _int,
    _float and _bool for fields of the metadata; with =, !=, <, >, IN, LIKE, BETWEEN, IS NULL, AND, OR, NOT.

    \b
    me5 search my.lance "how tall is K2?"
    me5 search my.lance "wie hoch ist der K2?" --filter "language = 'ja'" --k 3
    me5 search my.lance "error E1042" --hybrid --filter "source LIKE '%.pdf'"
    me5 search my.lance "K2" --filter "json_get_string(metadata, 'author') = 'Ann'" --json
    me5 search my.lance
    me5 search http://127.0.0.1:8080 "how tall is K2?"
    """
    asking = {"task": task, "hybrid": hybrid, "weight": weight, "group": group, "fold": fold, "highlight": True}
    with ExitStack() as opened:
        if store.startswith(("http://", "https://")):
            local = {
                "--exact": exact,
                "--threads": model.threads,
                "--storage-option": storage_option,
                "--model": model.name,
            }
            if given := [name for name, value in local.items() if value]:
                raise typer.BadParameter("only where the store is opened here, not by a service", param_hint=given[0])
            ask, languages = opened.enter_context(_service(store, {**asking, "k": k, "filter": where}))
        else:
            index = open_index(store, storage_option, model, quiet=quiet)
            ask, languages = _opened(index, {**asking, "k": k, "where": where, "exact": exact})
        _answer(question, ask, languages, as_json=as_json)


def _opened(index: "Index", fields: dict[str, Any]) -> tuple[Ask, Languages]:
    """How a store is asked, and how it tells which languages there are."""

    def ask(question: str) -> list[dict[str, Any]]:
        return [{**asdict(hit), "place": hit.place} for hit in index.search(question, **fields)]

    return ask, partial(index.store.counts, "language")


@contextmanager
def _service(url: str, fields: dict[str, Any]) -> Iterator[tuple[Ask, Languages]]:
    """The same of a service."""
    from me5.client import Client

    with Client(url) as client:

        def ask(question: str) -> list[dict[str, Any]]:
            try:
                hits: list[dict[str, Any]] = client.search(question, **fields)["hits"]
            except ServiceError as error:
                if error.status != 404:
                    raise
                raise InputError(f"{url} searches no store; start it with `me5 serve --search STORE`") from error
            return hits

        yield ask, lambda: client.store()["languages"]


def _answer(question: str | None, ask: Ask, languages: Languages, *, as_json: bool) -> None:
    """Ask one question, or those that are typed or piped in, and show what is found."""
    interactive = question is None and sys.stdin.isatty()
    for asked in [question] if question is not None else _asked(interactive):
        try:
            hits = ask(asked)
        except InputError as error:
            if not interactive:
                raise
            typer.echo(f"error: {error}", err=True)
            continue
        if as_json:
            answer = {"question": asked, "hits": [{**hit, "best_sentence": _best_sentence(hit)} for hit in hits]}
            output.print_json(answer, indent=2 if question is not None else None)
        else:
            _show(hits, languages)


def _best_sentence(hit: Mapping[str, Any]) -> str:
    return "" if hit["best"] is None else hit["text"][slice(*hit["best"])]


def _asked(interactive: bool) -> Iterator[str]:
    """Questions typed at a prompt, or the lines of standard input."""
    if not interactive:
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    import readline  # noqa: F401 (gives the prompt a history and its keys)

    typer.echo("Ask in any language; an empty line ends.", err=True)
    while True:
        try:
            line = input("? ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not line:
            return
        yield line


def _show(hits: list[dict[str, Any]], languages: Languages) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console = output.console()
    if not hits:
        output.print_line(f"nothing found{_there(languages())}")
    for number, hit in enumerate(hits, 1):
        head = Text(f"{number}. ", style="bold")
        head.append(f"{hit['score']:.3f}", style="green")
        head.append(f"  {hit['language'] or '?'}  ", style="magenta")
        head.append(_near(hit["place"]), style="cyan")
        if hit["title"]:
            head.append(f"  {terminal.line(hit['title'])}", style="bold")
        body = Text(terminal.body(hit["text"]))
        if hit["best"] is not None:
            body.stylize("bold yellow", *hit["best"])
        console.print(head, soft_wrap=True)
        console.print(Padding(_shortened(body, hit), (0, 0, 0, 3), expand=False))
        if hit["also"]:
            console.print(Padding(Text(_copies(hit["also"]), style="dim"), (0, 0, 0, 3), expand=False))
        console.print()


def _there(languages: Mapping[str, int]) -> str:
    """Which languages there are, for whom a filter left nothing."""
    named = [f"{code or 'unknown'} {count:,}" for code, count in list(languages.items())[:_LANGUAGES]]
    more = [f"{len(languages) - _LANGUAGES:,} more languages"] if len(languages) > _LANGUAGES else []
    return f"; the store has passages in {', '.join(named + more)}" if named else "; the store is empty"


def _near(place: str) -> str:
    """A place, relative to here where it lies below."""
    return terminal.line(place.removeprefix(str(Path.cwd()) + "/"))


def _copies(also: list[dict[str, str]]) -> str:
    places = "; ".join(_near(copy["place"]) for copy in also[:_COPIES])
    more = len(also) - _COPIES
    return f"also in {places}{f' and {more:,} more' if more > 0 else ''}"


def _shortened(body: "Text", hit: Mapping[str, Any]) -> "Text":
    """A long passage around its best sentence."""
    from rich.text import Text

    start, end = hit["best"] or (0, 0)
    first, last = max(0, start - _AROUND), min(len(hit["text"]), end + _AROUND)
    return Text("… " * (first > 0)) + body[first:last] + Text(" …" * (last < len(hit["text"])))
