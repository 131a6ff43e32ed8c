"""Pictures in files of their own: SVG with its style inside, panels side by side, for light and dark."""

from collections.abc import Sequence

from me5.evaluation.report.markup import Node, element, xml

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #3a4048; } .title { font-weight: 600; font-size: 13px; }
.soft { fill: #6b7480; } .grid { stroke: #e3e0da; }
@media (prefers-color-scheme: dark) {
  text { fill: #d5d9de; } .soft { fill: #98a1ab; } .grid { stroke: #2d333b; }
}
"""


def as_file(parts: Sequence[Node], style: str, *, width: int, height: int, label: str) -> str:
    """The picture as XML; `style` comes after what all pictures share, `label` is read out in its place."""
    svg = element(
        "svg", element("style", _STYLE + style), *parts, xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}", role="img", aria_label=label,
    )  # fmt: skip
    return xml(svg) + "\n"


def side_by_side(panels: Sequence[Sequence[Node]], width: int) -> list[Node]:
    """Panels of one width, from left to right."""
    return [element("g", *panel, transform=f"translate({place * width}, 0)") for place, panel in enumerate(panels)]
