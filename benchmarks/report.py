"""Make the report of all results: results/README.md, and a picture beside every JSON file that it is made of.

    python benchmarks/report.py
    python benchmarks/report.py --no-pictures

Of files that differ in the date alone the newest counts; the others are named, to be removed. Pictures need
matplotlib.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from harness import more_sections as more
from harness import sections
from harness.pictures import draw
from harness.results import RESULTS
from harness.sections import Section

# Benchmark -> its section, in the order of the report.
SECTIONS: dict[str, Callable[[dict[str, Any]], Section]] = {
    "encode": sections.encode,
    "gpu": sections.gpu,
    "search": sections.search,
    "serve": sections.serve,
    "bulk": sections.bulk,
    "cold_start": more.cold_start,
    "soak": more.soak,
    "hostile": more.hostile,
    "evaluation_memory": more.evaluation_memory,
    "loss_memory": more.loss_memory,
    "train": more.train,
    "ceiling": more.ceiling,
    "same_bits": more.same_bits,
    "front_end": more.front_end,
    "extraction": more.extraction,
    "kills": more.kills,
}
# Of a benchmark's variants these come first.
FIRST = ("encode_small", "encode_large_", "encode_minilm", "serve_minilm")
HEAD = """\
# Results

All that is measured, each benchmark in the newest run that there is. `benchmarks/report.py` makes this page and its
pictures of the JSON files beside it, which have all figures. [How it is measured](../README.md).

The machine, where a section names no other: {machine}.
Ratios within a section hold; absolute figures of two sections cannot be compared where other work ran beside one of
them (a load average above 0.5 at its start).{missing}
"""


def newest(folder: Path) -> tuple[dict[str, dict[str, Any]], list[Path]]:
    """Name without date -> its newest run, in the report's order; and the files that are superseded."""
    found: dict[str, Path] = {}
    superseded = []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stem[-10:]):
        name = path.stem[:-11]
        superseded += [found[name]] if name in found else []
        found[name] = path
    runs = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in found.values()}
    order = list(SECTIONS)

    def rank(stem: str) -> tuple[int, int, str]:
        first = [at for at, start in enumerate(FIRST) if stem.startswith(start)]
        return order.index(runs[stem]["benchmark"]), first[0] if first else len(FIRST), stem

    return {stem: runs[stem] for stem in sorted(runs, key=rank)}, superseded


def page(runs: dict[str, dict[str, Any]], made: dict[str, Section]) -> str:
    """The whole report."""
    usual = Counter(run["machine"] for run in runs.values()).most_common(1)[0][0]
    last = max(date.fromisoformat(run["date"]) for run in runs.values())
    missing = [name for name in SECTIONS if name not in {run["benchmark"] for run in runs.values()}]
    told = f"\n\nNot measured yet: {', '.join(f'`{name}.py`' for name in missing)}." if missing else ""
    lines = [HEAD.format(machine=usual, missing=told)]
    for stem, run in runs.items():
        section = made[stem]
        lines += [f"## {section.heading}", section.measured, *section.body, f"![{section.heading}]({stem}.svg)"]
        lines += [origin(stem, run, usual, last)]
    return "\n\n".join(line.strip("\n") for line in lines) + "\n"


def origin(stem: str, run: dict[str, Any], usual: str, last: date) -> str:
    """When, where and how a section was measured."""
    told = [run["date"]]
    age = (last - date.fromisoformat(run["date"])).days
    told += [f"**{age} days older than the newest results here**"] if age > 1 else []
    told += ["**a quick trial, not for figures**"] if run.get("quick") else []
    told += [f"on **{run['machine']}**"] if run["machine"] != usual else []
    if load := run.get("load_average"):
        loads = zip(load, ("before", "after"), strict=False)  # of some old runs the second is not known
        told.append("load average " + ", ".join(f"{each:.1f} {when}" for each, when in loads))
    told += [f"me5 at {run['commit']}"] if run.get("commit") else []
    command = run.get("command", f"python benchmarks/{run['benchmark']}.py")
    return f"{'; '.join(told)}. All figures: [{stem}.json]({stem}.json). `{command}`"


def sections_of(runs: dict[str, dict[str, Any]]) -> dict[str, Section]:
    """Each run's section. Where two would have the same heading, the later ones have what tells their files apart."""
    made: dict[str, Section] = {}
    for stem, run in runs.items():
        section = SECTIONS[run["benchmark"]](run)
        if section.heading in {each.heading for each in made.values()}:
            variant = re.sub(rf"^{run['benchmark']}_|_?[^_]*_[^_]*$", "", stem)
            section = Section(f"{section.heading} ({variant})", section.measured, section.body, section.picture)
        made[stem] = section
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=RESULTS, help="of the JSON files")
    parser.add_argument("--no-pictures", action="store_true")
    options = parser.parse_args()
    runs, superseded = newest(options.folder)
    made = sections_of(runs)
    (options.folder / "README.md").write_text(page(runs, made), encoding="utf-8")
    if not options.no_pictures:
        for stem, section in made.items():
            draw(section.picture, options.folder / f"{stem}.svg")
    for path in superseded:
        print(f"superseded, to be removed with its picture: {path.name}")


if __name__ == "__main__":
    main()
