"""The picture: tokens per second of every engine, one panel per model, as SVG."""

from pathlib import Path
from typing import Any

from harness.catalogue import ENGINES

OURS = {engine.name for engine in ENGINES if engine.ours}
COLOURS = {"f32": "#7a869a", "f16": "#b08968", "bf16": "#2a78b5", "int8": "#d9822b"}
LIGHT = 0.45  # opacity of the other libraries' bars


def choose_workload(data: dict[str, Any]) -> str | None:
    """The mixed texts if they were measured, else the first workload that has a throughput."""
    names = [name for name in data.get("workloads", {}) if name != "query" and data["engines"]]
    return "mixed" if "mixed" in names else next(iter(names), None)


def draw(run: dict[str, Any], path: Path) -> None:
    """Bars sorted by speed; colour is precision, ours are solid. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "me5"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text: a tenth of the size
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    panels = [(name, data, workload) for name, data in run["models"].items() if (workload := choose_workload(data))]
    if not panels:
        return
    rows = max(len(data["engines"]) for _, data, _ in panels)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(7.5 * len(panels), 1.4 + 0.33 * rows), squeeze=False)
    for axis, (name, data, workload) in zip(axes[0], panels, strict=True):
        speeds = {engine: facts["tokens_per_s"] for engine, facts in data["workloads"][workload]["engines"].items()}
        order = sorted(speeds, key=speeds.__getitem__)
        bars = axis.barh([data["engines"][engine]["title"] for engine in order], [speeds[engine] for engine in order])
        for bar, engine in zip(bars, order, strict=True):
            bar.set_color(COLOURS.get(data["engines"][engine]["precision"], "#999999"))
            bar.set_alpha(1 if engine in OURS else LIGHT)
        axis.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
        axis.margins(x=0.12)
        axis.set_title(f"{name}, {workload}: tokens per second")
        axis.spines[["top", "right"]].set_visible(False)
    used = {facts["precision"] for _, data, _ in panels for facts in data["engines"].values()}
    legend = [Patch(color=colour, label=precision) for precision, colour in COLOURS.items() if precision in used]
    axes[0][-1].legend(handles=legend, loc="lower right", frameon=False)
    figure.suptitle(f"{run['machine']}, {run['threads']} threads", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
