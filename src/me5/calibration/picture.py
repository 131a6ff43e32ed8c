"""The picture of a calibration: both kinds of pairs and the curve, reliability, precision and recall by threshold."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from me5.calibration.applied import Calibration
from me5.calibration.background import ANY, PERCENTILES, Background
from me5.errors import counted
from me5.evaluation.report.markup import Node, element
from me5.evaluation.report.picture import as_file, side_by_side

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 330, 330, 46, 44, 14, 84
_STYLE = """
.even { stroke: #9aa3ad; stroke-dasharray: 3 3; }
.right { fill: #2a7f62; } .wrong { fill: #d9822b; } .bar { fill-opacity: 0.55; }
.line { fill: none; stroke-width: 2; } .line.right { stroke: #2a7f62; } .line.curve { stroke: #2a5fb5; }
.line.wrong { stroke: #d9822b; } .dot { fill: #2a5fb5; } .cut { stroke: #b03a48; stroke-dasharray: 5 3; }
.band { fill: #2a5fb5; fill-opacity: 0.35; }
@media (prefers-color-scheme: dark) {
  .even { stroke: #6b7480; }
  .right { fill: #5cc49d; } .wrong { fill: #f0a05c; } .line { fill: none; } .line.right { stroke: #5cc49d; }
  .line.curve { stroke: #7aa7f0; } .line.wrong { stroke: #f0a05c; } .dot { fill: #7aa7f0; } .cut { stroke: #ec7d8a; }
  .band { fill: #7aa7f0; }
}
"""
Point = tuple[float, float]


def as_svg(figures: Mapping[str, Any], calibration: Calibration | None, title: str) -> str:
    """Three panels, of which the first has the curve where there is one."""
    panels = [_distributions(figures, calibration), _reliability(figures), _thresholds(figures)]
    parts = side_by_side(panels, _WIDTH)
    return as_file(parts, _STYLE, width=_WIDTH * len(panels), height=_HEIGHT, label=title)


def background_svg(background: Background, title: str) -> str:
    """For each pair of languages where its random pairs lie: the middle 50, 90 and 99 % of them."""
    tables = sorted(background.cosines.items(), key=lambda item: (item[0] != ANY, item[0]))
    low = min(values[0] for _, values in tables)
    high = max(values[-1] for _, values in tables)
    span, height = _padded(low, high), 26 * len(tables)
    left, right = 90, 3 * _WIDTH - 30
    parts: list[Node] = [element("text", title, x=14, y=22, class_="title")]
    for at in _ticks(*span):
        x = _between(at, span, left, right)
        parts += [
            element("line", x1=x, x2=x, y1=36, y2=40 + height, class_="grid"),
            element("text", f"{at:.2f}", x=x, y=58 + height, text_anchor="middle", class_="soft"),
        ]
    for row, (name, values) in enumerate(tables):
        y = 52 + 26 * row
        parts.append(element("text", name, x=left - 8, y=y + 4, text_anchor="end"))
        for lower, upper, thick in ((0.0, 100.0, 1.5), (1.0, 99.0, 5), (5.0, 95.0, 9), (25.0, 75.0, 14)):
            ends = [_between(float(np.interp(end, PERCENTILES, values)), span, left, right) for end in (lower, upper)]
            width = max(ends[1] - ends[0], 0.5)
            parts.append(
                element("rect", x=ends[0], y=y - thick / 2, width=round(width, 2), height=thick, class_="band")
            )
    legend = "cosines of random pairs: all of them, and the middle 98, 90 and 50 %"
    parts.append(element("text", legend, x=(left + right) / 2, y=78 + height, text_anchor="middle", class_="soft"))
    return as_file(parts, _STYLE, width=3 * _WIDTH, height=92 + height, label=title)


def _distributions(figures: Mapping[str, Any], calibration: Calibration | None) -> list[Node]:
    """Both kinds as shares of their own number; the curve on a scale of its own, from 0 to 1."""
    counts = figures["histogram"]
    start, width = counts["start"], counts["width"]
    span = (start, start + width * len(counts["right"]))
    shares = {kind: np.array(counts[kind]) / max(sum(counts[kind]), 1) for kind in ("wrong", "right")}
    top = max(float(values.max()) for values in shares.values())
    moved = calibration is not None and calibration.neighbourhood is not None
    name = "cosine, moved to the same neighbourhood" if moved else "cosine"
    parts = _frame("Cosines of relevant and other pairs", name, span, [f"{at:.2f}" for at in _four(span)])
    across, up = _scales(span)
    for kind, values in shares.items():
        for at, share in enumerate(values.tolist()):
            if share:
                left, right = across(start + width * at), across(start + width * (at + 1))
                y = up(share / top * 0.97)
                parts.append(
                    element("rect", x=left, y=y, width=round(max(right - left - 0.4, 0.3), 2),
                            height=round(up(0) - y, 2), class_=f"bar {kind}")
                )  # fmt: skip
    if calibration is not None:
        xs = np.linspace(*span, 200)
        parts.append(
            _line(list(zip(xs.tolist(), calibration.of_placed(xs).tolist(), strict=True)), across, up, "curve")
        )
        for cut in calibration.cuts:
            if cut.cosine is not None and span[0] <= cut.cosine <= span[1]:
                title = element("title", f"at most {100 * cut.risk:g} % irrelevant from cosine {cut.cosine:.4f} on")
                x = across(cut.cosine)
                parts.append(element("line", title, x1=x, x2=x, y1=up(1), y2=up(0), class_="cut"))
    return parts + _legend(
        [("right", "relevant"), ("wrong", "others"), *([("curve", "probability")] if calibration else [])]
    )


def _reliability(figures: Mapping[str, Any]) -> list[Node]:
    parts = _frame("Reliability on held-out questions", "predicted probability", (0, 1), _QUARTERS)
    across, up = _scales((0, 1))
    parts.append(element("line", x1=across(0), y1=up(0), x2=across(1), y2=up(1), class_="even"))
    points = [(one["predicted"], one["observed"]) for one in figures["bins"]]
    parts.append(_line(points, across, up, "curve"))
    for one, (predicted, observed) in zip(figures["bins"], points, strict=True):
        title = element("title", f"{counted(one['pairs'], 'pair')}: {predicted:.3f} predicted, {observed:.3f} relevant")
        parts.append(element("circle", title, cx=across(predicted), cy=up(observed), r=4, class_="dot"))
    error = figures["error"]
    note = f"calibration error {error['value']:.3f} ({error['low']:.3f} to {error['high']:.3f})"
    parts.append(element("text", note, x=_LEFT, y=_HEIGHT - 18, class_="soft"))
    return parts


def _thresholds(figures: Mapping[str, Any]) -> list[Node]:
    parts = _frame("Precision and recall by threshold", "least probability that is shown", (0, 1), _QUARTERS)
    across, up = _scales((0, 1))
    for name, kind in (("recall", "wrong"), ("precision", "right")):
        known = [one for one in figures["thresholds"] if one[name] is not None]
        edge = [(one["probability"], one[name]["high"]) for one in known]
        edge += [(one["probability"], one[name]["low"]) for one in reversed(known)]
        path = " ".join(f"{across(x)},{up(y)}" for x, y in edge)
        parts.append(element("polygon", points=path, class_=kind, fill_opacity=0.2))
        parts.append(_line([(one["probability"], one[name]["value"]) for one in known], across, up, kind))
    return parts + _legend([("right", "precision"), ("wrong", "recall")])


_QUARTERS = ["0", "0.25", "0.5", "0.75", "1"]


def _frame(title: str, name: str, span: tuple[float, float], labels: Sequence[str]) -> list[Node]:
    across, up = _scales(span)
    parts = [element("text", title, x=_LEFT, y=22, class_="title")]
    for step, label in enumerate(labels):
        share = step / (len(labels) - 1)
        x, y = across(span[0] + share * (span[1] - span[0])), up(share)
        parts += [
            element("line", x1=across(span[0]), x2=across(span[1]), y1=y, y2=y, class_="grid"),
            element("text", f"{share:g}", x=_LEFT - 6, y=y + 4, text_anchor="end", class_="soft"),
            element("text", label, x=x, y=up(0) + 18, text_anchor="middle", class_="soft"),
        ]
    parts.append(
        element("text", name, x=(_LEFT + _WIDTH - _RIGHT) / 2, y=up(0) + 36, text_anchor="middle", class_="soft")
    )
    return parts


def _legend(named: Sequence[tuple[str, str]]) -> list[Node]:
    parts = []
    for place, (kind, name) in enumerate(named):
        x, y = _LEFT + 92 * place, _HEIGHT - 22
        mark = (
            element("line", x1=x, x2=x + 14, y1=y, y2=y, class_="line curve") if kind == "curve" else
            element("rect", x=x + 2, y=y - 5, width=10, height=10, class_=kind)
        )  # fmt: skip
        parts += [mark, element("text", name, x=x + 18, y=y + 4)]
    return parts


def _line(points: Sequence[Point], across: Callable[[float], float], up: Callable[[float], float], kind: str) -> Node:
    path = " ".join(f"{across(x)},{up(y)}" for x, y in points)
    return element("polyline", points=path, class_=f"line {kind}")


def _scales(span: tuple[float, float]) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Where a value lies across, and a share of 0 to 1 up."""
    return (
        lambda value: _between(value, span, _LEFT, _WIDTH - _RIGHT),
        lambda share: _between(share, (0, 1), _HEIGHT - _BOTTOM, _TOP),
    )


def _between(value: float, span: tuple[float, float], low: float, high: float) -> float:
    return round(low + (value - span[0]) / (span[1] - span[0]) * (high - low), 2)


def _padded(low: float, high: float) -> tuple[float, float]:
    room = max(0.02 * (high - low), 0.01)
    return low - room, high + room


def _four(span: tuple[float, float]) -> list[float]:
    return [float(at) for at in np.linspace(*span, 5)]


def _ticks(low: float, high: float) -> list[float]:
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / step <= 12)
    return [round(step * at, 2) for at in range(int(np.ceil(low / step)), int(high / step) + 1)]
