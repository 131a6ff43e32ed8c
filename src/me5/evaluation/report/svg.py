"""Small plots. Positions are per cent and letters are of fixed size, so that a plot is readable at any width.

Colours are classes (`c0` … `c5`, `ref`), which the page's style sheet sets for light and dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from me5.errors import counted
from me5.evaluation.report.markup import Node, element

Point = tuple[float, float]


@dataclass(frozen=True)
class Mark:
    """A figure on a track from 0 to 1: its place, its interval, its colour class and what it says when pointed at."""

    value: float
    interval: tuple[float, float] | None
    colour: str
    title: str
    hollow: bool = False


def percent(value: float) -> str:
    """A share as a length."""
    return f"{100 * min(1.0, max(0.0, value)):.2f}%"


def track(marks: Sequence[Mark], *, height: int = 26) -> Node:
    """One line from 0 to 100 with a dot per figure and a bar per interval; hollow dots are published figures."""
    middle = height / 2
    parts: list[Node] = [
        element("line", x1=percent(at), x2=percent(at), y1=0, y2=height, class_="grid")
        for at in (0, 0.25, 0.5, 0.75, 1)
    ]
    for mark in marks:
        if mark.interval is not None:
            low, high = (percent(end) for end in mark.interval)
            parts.append(element("line", x1=low, x2=high, y1=middle, y2=middle, class_=f"interval {mark.colour}"))
    for mark in sorted(marks, key=lambda mark: not mark.hollow):
        kind = "hollow" if mark.hollow else "dot"
        title = element("title", mark.title)
        parts.append(element("circle", title, cx=percent(mark.value), cy=middle, r=5, class_=f"{kind} {mark.colour}"))
    label = "; ".join(mark.title for mark in marks)
    return element("svg", *parts, class_="track", height=height, role="img", aria_label=label)


def axis() -> Node:
    """The numbers under tracks."""
    parts = [
        element("text", str(at), x=f"{at}%", y=11, text_anchor=anchor)
        for at, anchor in ((0, "start"), (25, "middle"), (50, "middle"), (75, "middle"), (100, "end"))
    ]
    return element("svg", *parts, class_="axis", height=14, aria_hidden="true")


@dataclass(frozen=True)
class Curve:
    """A line through points whose both coordinates lie between 0 and 1."""

    points: Sequence[Point]
    colour: str
    title: str
    dots: bool = True


def curves(lines: Sequence[Curve], *, x: str, y: str, label: str) -> Node:
    """Lines in a square of 0 to 1, with both axes named."""
    inner: list[Node] = [element("line", x1=at, x2=at, y1=0, y2=100, class_="grid") for at in (0, 25, 50, 75, 100)] + [
        element("line", x1=0, x2=100, y1=at, y2=at, class_="grid") for at in (0, 25, 50, 75, 100)
    ]
    dots: list[Node] = []
    for line in lines:
        path = " ".join(f"{100 * left:.2f},{100 * (1 - up):.2f}" for left, up in line.points)
        inner.append(element("polyline", element("title", line.title), points=path, class_=f"curve {line.colour}"))
        if line.dots:
            dots += [
                element("circle", element("title", line.title), cx=percent(left), cy=percent(1 - up), r=3.5,
                        class_=f"dot {line.colour}")
                for left, up in line.points
            ]  # fmt: skip
    plot = element(
        "svg", element("svg", *inner, viewBox="0 0 100 100", preserveAspectRatio="none", width="100%", height="100%"),
        *dots, class_="plot", role="img", aria_label=label,
    )  # fmt: skip
    return _framed(plot, x=x, y=y, ends=("0", "1"))


def histogram(right: Sequence[int], wrong: Sequence[int], *, start: float, width: float, label: str) -> Node:
    """Two overlaid histograms, each as shares of its own total."""
    shares = [[count / max(1, sum(column)) for count in column] for column in (right, wrong)]
    top = max((value for column in shares for value in column), default=1) or 1
    step = 100 / len(right)
    bars = [
        element("rect", x=f"{at * step:.2f}", y=f"{100 * (1 - value / top):.2f}", width=f"{step * 0.98:.2f}",
                height=f"{100 * value / top:.2f}", class_=f"bar {name}")
        for name, column in (("wrong", shares[1]), ("right", shares[0]))
        for at, value in enumerate(column) if value
    ]  # fmt: skip
    plot = element(
        "svg",
        *bars,
        class_="plot wide",
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )
    return _framed(plot, x="cosine", y="share", ends=(f"{start:.2f}", f"{start + width * len(right):.2f}"))


def density(points: Sequence[Point], *, x: str, y: str, ends: tuple[str, str], label: str, cells: int = 24) -> Node:
    """How many points (0 to 1 each way) fall into each cell of a square: a scatter plot of any number of points."""
    counts: dict[tuple[int, int], int] = {}
    for left, up in points:
        cell = (min(cells - 1, int(left * cells)), min(cells - 1, int(up * cells)))
        counts[cell] = counts.get(cell, 0) + 1
    top = max(counts.values(), default=1)
    size = 100 / cells
    parts = [
        element("rect", element("title", counted(count, "pair")), x=f"{across * size:.2f}",
                y=f"{100 - (up + 1) * size:.2f}",
                width=f"{size:.2f}", height=f"{size:.2f}", class_="bar right",
                fill_opacity=f"{0.15 + 0.85 * count / top:.2f}")
        for (across, up), count in sorted(counts.items())
    ]  # fmt: skip
    plot = element(
        "svg", *parts, class_="plot", viewBox="0 0 100 100", preserveAspectRatio="none", role="img", aria_label=label
    )
    return _framed(plot, x=x, y=y, ends=ends)


def _framed(plot: Node, *, x: str, y: str, ends: tuple[str, str]) -> Node:
    return element(
        "div",
        element("span", y, class_="y-name"),
        plot,
        element("span", ends[0], class_="x-low"), element("span", x, class_="x-name"),
        element("span", ends[1], class_="x-high"),
        class_="framed",
    )  # fmt: skip
