"""Hits of `me5 search` on a terminal: the passage around its best sentence, with its place and its copies."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from me5.cli import output, terminal
from me5.errors import counted

if TYPE_CHECKING:
    from rich.text import Text

# Characters shown before and after the best sentence.
_AROUND = 300
# Other places of a passage, and languages of a store, that are named.
_COPIES, _LANGUAGES = 3, 12

# The number of passages in each language of a store.
Languages = Callable[[], Mapping[str, int]]


def print_hits(hits: Sequence[Mapping[str, Any]], languages: Languages, *, strict: bool = False) -> None:
    """Print hits, the best first. Where there is none: that nothing fits, or which languages there are."""
    from rich.padding import Padding
    from rich.text import Text

    console = output.console()
    if not hits and strict:
        output.print_line("nothing here fits: no passage answers as probably as was asked for")
    elif not hits:
        output.print_line(f"nothing found{_there(languages())}")
    for number, hit in enumerate(hits, 1):
        head = Text(f"{number}. ", style="bold")
        head.append(f"{hit['score']:.3f}", style="green")
        head.append(_meaning(hit), style="green")
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


def _meaning(hit: Mapping[str, Any]) -> str:
    """The probability of a hit, or else where it lies among random pairs; nothing where nobody knows."""
    if (probability := hit.get("probability")) is not None:
        return f"  {100 * probability:.0f} %"
    percentile = hit.get("percentile")  # a service of an older me5 sends neither
    return "" if percentile is None else f"  above {percentile:.4g} % of random pairs"


def _there(languages: Mapping[str, int]) -> str:
    """The languages of the store, for those whose filter left nothing."""
    named = [f"{code or 'unknown'} {count:,}" for code, count in list(languages.items())[:_LANGUAGES]]
    more = [counted(len(languages) - _LANGUAGES, "more language")] if len(languages) > _LANGUAGES else []
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
