"""What `me5 eval speed` found, as JSON, as a table and as a picture: quality against speed and against size."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from me5.evaluation.report.markup import Node, element
from me5.evaluation.report.picture import as_file, side_by_side
from me5.evaluation.speed import Point

HEADINGS = ("precision", "vectors", "bytes / vector", "tokens / s", "quality", "kept")
_WIDTH, _HEIGHT, _MARGIN = 760, 330, 48
_STYLE = """
.f32 { fill: #7a869a; } .bf16 { fill: #2a78b5; } .int8 { fill: #d9822b; }
.float32 { fill: #7a869a; } .binary { fill: #4b8b3b; }
@media (prefers-color-scheme: dark) {
  .f32, .float32 { fill: #a3adba; } .bf16 { fill: #6cb2ea; } .int8 { fill: #f0a05c; } .binary { fill: #8cc97a; }
}
"""


def content_of(points: Sequence[Point], model: str, *, texts: int) -> dict[str, Any]:
    """The content of the JSON file. `kept` is the share of the first point's quality."""
    whole = points[0].quality or 1.0
    return {
        "model": model,
        "texts": texts,
        "points": [
            {
                "precision": point.precision,
                "dim": point.reduction.dim,
                "vectors": point.reduction.kind,
                "bytes_per_vector": point.reduction.bytes_per_vector,
                "tokens_per_second": round(point.tokens_per_second, 1),
                "quality": round(point.quality, 5),
                "kept": round(point.quality / whole, 4),
                "by_task": {name: round(value, 5) for name, value in point.by_task.items()},
            }
            for point in points
        ],
    }


def rows(content: Mapping[str, Any]) -> list[list[str]]:
    """The cells of the table."""
    return [
        [
            point["precision"], f"{point['dim']} × {point['vectors']}", f"{point['bytes_per_vector']:,}",
            f"{point['tokens_per_second']:,.0f}", f"{100 * point['quality']:.2f}", f"{100 * point['kept']:.1f} %",
        ]
        for point in content["points"]
    ]  # fmt: skip


def as_markdown(content: Mapping[str, Any]) -> str:
    """The table, and the tasks that quality is the mean of."""
    lines = [
        f"# {content['model']}: quality, speed and size",
        "",
        "Quality is the mean of the tasks' main figures × 100; kept is the share of the first row's. Speed is the "
        f"median of passes over {content['texts']:,} texts, precisions taking turns.",
        "",
        "| " + " | ".join(HEADINGS) + " |",
        "|---|---|--:|--:|--:|--:|",
        *("| " + " | ".join(row) + " |" for row in rows(content)),
        "",
        "Tasks of the first row: "
        + ", ".join(f"{name} {100 * value:.1f}" for name, value in content["points"][0]["by_task"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def as_svg(content: Mapping[str, Any]) -> str:
    """Two panels: quality by tokens per second of each precision, quality by bytes per vector of each reduction."""
    points = content["points"]
    first = points[0]
    whole = [point for point in points if point["dim"] == first["dim"] and point["vectors"] == "float32"]
    reduced = [point for point in points if point["precision"] == first["precision"]]
    low = min(point["quality"] for point in points)
    high = max(point["quality"] for point in points)
    span = (max(0.0, low - 0.1 * (high - low) - 0.005), high + 0.1 * (high - low) + 0.005)
    size = _WIDTH // 2
    panels = [
        _panel(whole, "tokens_per_second", "tokens / s", span, [point["precision"] for point in whole], "precision"),
        _panel(
            reduced, "bytes_per_vector", "bytes / vector", span, [str(point["dim"]) for point in reduced], "vectors"
        ),
    ]
    titles = ("Quality by speed", f"Quality by size ({first['precision']}; numbers: dimensions)")
    headings = [element("text", title, x=_MARGIN, y=20, class_="title") for title in titles]
    parts = side_by_side([[heading, *panel] for heading, panel in zip(headings, panels, strict=True)], size)
    for place, kind in enumerate(("float32", "int8", "binary")):
        at = size + _MARGIN + place * 90
        parts += [
            element("circle", cx=at, cy=_HEIGHT - 8, r=5, class_=kind),
            element("text", kind, x=at + 10, y=_HEIGHT - 4),
        ]
    label = f"{content['model']}: quality by speed and by size"
    return as_file(parts, _STYLE, width=_WIDTH, height=_HEIGHT, label=label)


def _panel(
    points: Sequence[Mapping[str, Any]],
    key: str,
    name: str,
    span: tuple[float, float],
    labels: Sequence[str],
    kind: str,
) -> list[Node]:
    """Dots with labels; the horizontal axis starts at 0."""
    left, right, top, bottom = _MARGIN, _WIDTH // 2 - 40, 40, _HEIGHT - 60
    most = 4 * _step(max(point[key] for point in points) * 1.05 / 4)
    parts: list[Node] = []
    for step in range(5):
        share = step / 4
        y, x = bottom - share * (bottom - top), left + share * (right - left)
        value = span[0] + share * (span[1] - span[0])
        parts += [
            element("line", x1=left, x2=right, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"),
            element("text", f"{100 * value:.0f}", x=left - 6, y=f"{y + 4:.1f}", text_anchor="end", class_="soft"),
            element("text", f"{share * most:,.0f}", x=f"{x:.1f}", y=bottom + 18, text_anchor="middle", class_="soft"),
        ]
    parts.append(element("text", name, x=(left + right) / 2, y=bottom + 36, text_anchor="middle", class_="soft"))
    for place, (point, label) in enumerate(zip(points, labels, strict=True)):
        x = left + point[key] / most * (right - left)
        y = bottom - (point["quality"] - span[0]) / (span[1] - span[0]) * (bottom - top)
        # By turns above and below, for precisions often lie side by side.
        text_y = y - 10 if kind == "vectors" or place % 2 == 0 else y + 20
        title = element("title", f"{label}: {point[key]:,.0f} {name}, {100 * point['quality']:.2f}")
        parts += [
            element("circle", title, cx=f"{x:.1f}", cy=f"{y:.1f}", r=6, class_=point[kind]),
            element("text", label, x=f"{x:.1f}", y=f"{text_y:.1f}", text_anchor="middle"),
        ]
    return parts


def _step(least: float) -> float:
    """The smallest round number that is not below `least`: 1, 2, 2.5 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(least))
    return float(next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= least))
