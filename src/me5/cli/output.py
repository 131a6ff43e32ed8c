"""What commands print: tables, facts and JSON on standard output; complaints and spinners on standard error.

The one place that knows whether standard output is a terminal, whose width tables fit, or a pipe or file, where each
row is one line.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from me5.cli import terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_UNLIMITED = 1 << 16
# Of a word in a table, so many characters stay together.
_WORD = 16
_REPORT = (".json", ".md", ".svg")


class Number(str):
    """The head of a column of numbers: they are aligned right, and no digit of them is cut."""

    __slots__ = ()


def console() -> "Console":
    """Standard output for text with colours: as wide as a terminal on one, without limit elsewhere."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _UNLIMITED)


def has_colours() -> bool:
    """Whether colours and their borders can be seen on standard output."""
    shown = console()
    return shown.color_system is not None and not shown.no_color


def errors() -> "Console":
    """Standard error, for text with colours."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_line(*parts: "str | Text | tuple[str, str]") -> None:
    """Print a line of texts, some with a style, which a terminal wraps where it will."""
    from rich.text import Text

    console().print(Text.assemble(*parts), soft_wrap=True)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print JSON, as `--json` asks for."""
    print(terminal.as_json(value, indent=indent), flush=True)  # noqa: T201


def print_table(
    heads: Sequence[str],
    rows: "Iterable[Sequence[str | Text] | None]",
    *,
    title: str | None = None,
    caption: str | None = None,
    framed: bool = True,
) -> None:
    """Print rows under their heads; None in place of a row draws a line. Strings are never read as markup.

    On a terminal that is too narrow for that each cell has a line, behind its head.
    """
    from rich.box import HEAVY_HEAD, SIMPLE_HEAD
    from rich.table import Table

    box = HEAVY_HEAD if framed else SIMPLE_HEAD
    table = Table(box=box, show_edge=framed, pad_edge=framed, caption_justify="left")
    table.title, table.caption = title and _text(title), caption and _text(caption)
    listed = list(rows)
    room = console().width - (3 * len(heads) + 1 if framed else 3 * len(heads) - 3)
    columns = [[head, *(row[at] for row in listed if row is not None)] for at, head in enumerate(heads)]
    widths = _widths(columns, room)
    if sum(widths) > room:
        _print_list(heads, listed, title, caption)
        return
    for head, width in zip(heads, widths, strict=True):
        justify: Literal["left", "right"] = "right" if isinstance(head, Number) else "left"
        table.add_column(_text(head), justify=justify, overflow="fold", width=width)
    for row in listed:
        if row is None:
            table.add_section()
        else:
            table.add_row(*map(_text, row))
    console().print(table)


def _widths(columns: "Sequence[Sequence[str | Text]]", room: int) -> list[int]:
    """The width of each column, its head first: what it takes on one line, or where there is less room, on several.

    Numbers stand whole, and of texts and heads every word that is not long; the sum may be more than there is room for.
    """
    from rich.cells import cell_len

    def longest(parts: Iterable[str]) -> int:
        return max(map(cell_len, parts), default=0)

    full = [longest(line for cell in column for line in str(cell).splitlines()) for column in columns]
    if sum(full) <= room:
        return full
    widths = []
    for head, *cells in columns:
        words = (word for cell in cells for word in str(cell).split())
        least = longest(map(str, cells)) if isinstance(head, Number) else min(longest(words), _WORD)
        widths.append(max(longest(str(head).split()), least))
    while sum(widths) < room:  # the narrowest first
        at = min((at for at, width in enumerate(widths) if width < full[at]), key=widths.__getitem__)
        widths[at] += 1
    return widths


def _print_list(
    heads: Sequence[str], rows: "Iterable[Sequence[str | Text] | None]", title: str | None, caption: str | None
) -> None:
    """Rows one below the other, a line for each cell."""
    width = max(map(len, heads)) + 2
    for text in (title, *rows, caption):
        if text is None:
            continue
        if isinstance(text, str):
            print_line((text, "italic"))
            continue
        for head, cell in zip(heads, text, strict=True):
            print_line((head.ljust(width), "bold"), *_text(cell).split())
        print_line("")


def print_facts(facts: "Mapping[str, str]") -> None:
    """Print a name and a value per line."""
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        print_line((name.ljust(width), "bold"), value)


def check_files(name: str | Path | None, *inputs: Path) -> None:
    """Raise `InputError`, before any work, where `write_files` could not write, or would replace an input."""
    from me5.files.atomic import check_file

    for suffix in _REPORT if name is not None else ():
        check_file(Path(f"{name}{suffix}"), *inputs)


def write_files(name: str | Path, content: str, markdown: str, picture: str) -> None:
    """Write the figures of a report as NAME.json, its text as NAME.md and its picture as NAME.svg."""
    from me5.files.atomic import write_text

    for suffix, text in zip(_REPORT, (content, markdown, picture), strict=True):
        write_text(Path(f"{name}{suffix}"), text)


def complain(kind: str, text: str) -> None:
    """Print an `error` or a `warning` on standard error."""
    from rich.text import Text

    colour = "red" if kind == "error" else "yellow"
    errors().print(Text.assemble((f"{kind}:", f"bold {colour}"), " ", text))


@contextmanager
def status(text: str, *, show: bool = True) -> "Iterator[Callable[[str], None]]":
    """A spinner beside a text on standard error, where that is a terminal; what it gives changes the text."""
    on = errors() if show else None
    if on is None or not on.is_terminal:
        yield lambda _: None
        return
    with on.status(text) as shown:
        yield shown.update


def _text(cell: "str | Text") -> "Text":
    from rich.text import Text

    return cell if isinstance(cell, Text) else Text(cell)
