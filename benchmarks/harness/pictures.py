"""The pictures of the report: panels of horizontal bars, or curves over time, as SVG. Drawing needs matplotlib."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OURS, OTHERS, SECOND = "#2a78b5", "#9aa3af", "#d9822b"
PRECISIONS = {"f32": "#7a869a", "f16": "#b08968", "bf16": OURS, "int8": SECOND, "fp8": SECOND}
LIGHT = 0.45  # opacity of the other libraries' bars where the colour is the precision, and of tails


@dataclass(frozen=True)
class Bar:
    """A label and its value; `tail` is a larger value behind it, such as p99; `told` stands for the number."""

    label: str
    value: float
    colour: str = OURS
    light: bool = False
    tail: float | None = None
    told: str = ""


@dataclass(frozen=True)
class Panel:
    """Bars below a title, the first above; the legend has label -> colour."""

    title: str
    bars: list[Bar]
    legend: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Curves:
    """Lines over the minutes of a run, from zero on."""

    title: str
    unit: str
    minutes: list[float]
    lines: dict[str, list[float]]


def number(value: float) -> str:
    """Three digits, or all before the point."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if round(value, digits) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:#.2g}"


def draw(picture: list[Panel] | Curves, path: Path) -> None:
    """Write one picture."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "me5"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text: a tenth of the size
    mpl.rcParams["axes.spines.top"] = mpl.rcParams["axes.spines.right"] = False
    mpl.rcParams["font.size"] = 9
    mpl.rcParams["axes.titlesize"] = 10
    from matplotlib import pyplot

    figure = _curves(picture) if isinstance(picture, Curves) else _bars(picture)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _bars(panels: list[Panel]) -> Any:
    """One panel below the other, all bars of the same thickness."""
    from matplotlib import pyplot

    counts = [len(panel.bars) for panel in panels]
    figure, axes = pyplot.subplots(
        len(panels), 1, squeeze=False, layout="constrained", figsize=(8, sum(0.75 + 0.27 * count for count in counts)),
        height_ratios=[count + 0.5 for count in counts],
    )  # fmt: skip
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _panel(axis, panel)
    return figure


def _panel(axis: Any, panel: Panel) -> None:
    from matplotlib.patches import Patch

    rows = range(len(panel.bars))
    ends = [max(bar.value, bar.tail or 0) for bar in panel.bars]
    for row, bar, end in zip(rows, panel.bars, ends, strict=True):
        if bar.tail is not None:
            axis.barh(row, bar.tail, color=bar.colour, alpha=LIGHT, height=0.7)
        axis.barh(row, bar.value, color=bar.colour, alpha=LIGHT if bar.light else 1, height=0.7)
        tail = "" if bar.tail is None else f" – {number(bar.tail)}"
        axis.annotate(
            bar.told or number(bar.value) + tail,
            (end, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.set_yticks(rows, [bar.label for bar in panel.bars])
    if any(bar.light or bar.colour == OTHERS for bar in panel.bars):  # beside others, ours stand out
        for label in axis.get_yticklabels():
            label.set_fontweight("bold" if label.get_text().startswith("me5") else "normal")
    axis.set_ylim(len(panel.bars) - 0.4, -0.6)
    axis.set_xlim(0, 1.15 * max(ends) or 1)  # room for the numbers
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=7)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.set_title(panel.title, loc="left")
    if panel.legend:
        patches = [Patch(color=colour, label=label) for label, colour in panel.legend.items()]
        axis.legend(handles=patches, loc="lower right", frameon=False, fontsize=8)


def _curves(picture: Curves) -> Any:
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 3.2), layout="constrained")
    for (label, values), colour in zip(picture.lines.items(), (SECOND, OURS), strict=False):
        axis.plot(picture.minutes, values, label=label, color=colour, linewidth=1)
    axis.set(xlabel="minutes", ylabel=picture.unit)
    axis.set_title(picture.title, loc="left")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False)
    return figure
