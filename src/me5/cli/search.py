"""`me5 search`: questions to a store, one or many."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from me5.cli import options
from me5.cli.index import StorageOption, Store, Trusted, open_index
from me5.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

    from me5.search.hits import Hit

# Characters shown before and after the best sentence.
_AROUND = 300


def search(
    store: Store,
    question: Annotated[
        str | None,
        typer.Argument(metavar="[QUESTION]", help="In any language. Without one: interactive, or a line each."),
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="How many passages.")] = 5,
    where: Annotated[
        str | None,
        typer.Option("--filter", metavar="SQL", help="Only passages that fit, such as \"language = 'de'\"."),
    ] = None,
    task: options.Task = None,
    hybrid: Annotated[bool, typer.Option("--hybrid", help="Vectors and full text, joined by their scores.")] = False,
    weight: Annotated[
        float, typer.Option("--weight", min=0, max=1, help="Of the vectors with --hybrid; words have the rest.")
    ] = 0.4,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with every vector, index or not.")] = False,
    storage_option: StorageOption = None,
    model: Trusted = None,
    threads: options.Threads = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Ask a store that `me5 index` made; answers come in any language.

    Columns for --filter: source, title, text, at, language, kind, modified, metadata.

    \b
    me5 search my.lance "how tall is K2?"
    me5 search my.lance "wie hoch ist der K2?" --filter "language = 'ja'" --k 3
    me5 search my.lance "error E1042" --hybrid --filter "source LIKE '%.pdf'"
    me5 search my.lance "K2" --filter "json_get_string(metadata, 'author') = 'Ann'" --json
    me5 search my.lance
    """
    index = open_index(store, storage_option, threads=threads, quiet=quiet, model=model)
    interactive = question is None and sys.stdin.isatty()
    for asked in [question] if question is not None else _asked(interactive):
        try:
            hits = index.search(
                asked, k, where=where, task=task, hybrid=hybrid, highlight=True, exact=exact, weight=weight
            )
        except InputError as error:
            if not interactive:
                raise
            typer.echo(f"error: {error}", err=True)
            continue
        if as_json:
            told = {"question": asked, "hits": [{**asdict(hit), "best_sentence": hit.best_sentence} for hit in hits]}
            typer.echo(json.dumps(told, ensure_ascii=False, indent=2 if question is not None else None))
        else:
            _show(hits)


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


def _show(hits: "list[Hit]") -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    if not hits:
        console.print("nothing found")
    for number, hit in enumerate(hits, 1):
        head = Text(f"{number}. ", style="bold")
        head.append(f"{hit.score:.3f}", style="green")
        head.append(f"  {hit.language or '?'}  ", style="magenta")
        head.append(_near(hit), style="cyan")
        if hit.title:
            head.append(f"  {hit.title}", style="bold")
        body = Text(hit.text)
        if hit.best is not None:
            body.stylize("bold yellow", *hit.best)
        console.print(head, soft_wrap=True)
        console.print(Padding(_shortened(body, hit), (0, 0, 1, 3)))


def _near(hit: "Hit") -> str:
    """The place, relative to here where it lies below."""
    here = str(Path.cwd()) + "/"
    return hit.place.removeprefix(here)


def _shortened(body: "Text", hit: "Hit") -> "Text":
    """A long passage around its best sentence."""
    from rich.text import Text

    start, end = hit.best or (0, 0)
    first, last = max(0, start - _AROUND), min(len(hit.text), end + _AROUND)
    return Text("… " * (first > 0)) + body[first:last] + Text(" …" * (last < len(hit.text)))
