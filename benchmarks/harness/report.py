"""What encode.py tells, as Markdown, and the tables that report.py takes from it."""

import math
from typing import Any

from harness.catalogue import MODELS, WORKLOADS
from harness.results import without_paths

METHOD = """\
Text in, unit vectors out: tokenizing, batching and pooling are part of every figure. tokens/s counts the real tokens of
the texts, specials included, never padding. Every engine runs in a process of its own, held to the same processors; the
engines take turns, round by round, and each figure is the median over all passes. **load**: from the first constructor
to the first vector, libraries imported and files in the page cache. **peak**: the most memory that the process held,
mapped files included. **cosine**: to the float32 vectors of sentence-transformers for the same texts; "different texts"
is the mean cosine between two texts of the workload, to read it against. "× best peer": speed over that of the fastest
other library that computes in the same precision."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: list[str]) -> str:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def number(value: float | None, digits: int = 0, suffix: str = "") -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.{digits}f}{suffix}"


def overview(data: dict[str, Any]) -> str:
    """One row per engine over all workloads, with load time and memory."""
    head = ["engine", "precision"]
    for name in data["workloads"]:
        head.append("query ms" if name == "query" else f"{name} tok/s")
    rows = []
    for engine, facts in data["engines"].items():
        row = [facts["title"], facts["precision"]]
        for workload in data["workloads"].values():
            figures = workload["engines"][engine]
            row.append(number(figures["median_ms"], 1) if "median_ms" in figures else number(figures["tokens_per_s"]))
        row += [number(facts["load_s"], 1), number(facts["peak_bytes"] / 1e6)]
        rows.append(row)
    return table([*head, "load s", "peak MB"], rows)


def details(data: dict[str, Any], name: str) -> str:
    """One workload: speed, ratios and closeness to the truth."""
    workload = data["workloads"][name]
    one_by_one = name == "query"
    speed = ["median ms", "p95 ms"] if one_by_one else ["tokens/s", "range"]
    head = ["engine", "precision", *speed, "× ST installed", "× ST f32", "× best peer", "cosine min", "mean"]
    rows = []
    for engine, figures in workload["engines"].items():
        facts = data["engines"][engine]
        if one_by_one:
            cells = [number(figures["median_ms"], 1), number(figures["p95_ms"], 1)]
        else:
            cells = [number(figures["tokens_per_s"]), f"{figures['slowest']:,.0f}–{figures['fastest']:,.0f}"]
        cells += [number(figures.get(key), 2) for key in ("x_installed", "x_st_f32", "x_best_peer")]
        cells += [number(figures.get(key), 5) for key in ("cosine_min", "cosine_mean")]
        rows.append([facts["title"], facts["precision"], *cells])
    size = f"{workload['texts']} texts, {workload['tokens']:,} tokens, longest {workload['longest']}"
    apart = number(workload["different_texts_cosine"], 3)
    return f"### {name}: {size}\n\n{WORKLOADS[name]}; different texts: cosine {apart}\n\n{table(head, rows)}"


def versions(models: dict[str, Any]) -> str:
    """Library and version; engines in an environment of their own are named where they differ."""
    users: dict[str, dict[str, list[str]]] = {}
    for data in models.values():
        for engine, facts in data.get("engines", {}).items():  # none for a model that is missing
            for package, version in facts["versions"].items():
                names = users.setdefault(package, {}).setdefault(version, [])
                if engine not in names:
                    names.append(engine)
    parts = []
    for package, by_version in sorted(users.items()):
        common = max(by_version, key=lambda version: len(by_version[version]))
        others = [f"{version} for {', '.join(names)}" for version, names in by_version.items() if version != common]
        parts.append(f"{package} {common}" + (f" ({'; '.join(others)})" if others else ""))
    return "; ".join(parts)


def markdown(run: dict[str, Any]) -> str:
    """The whole report."""
    lines = ["# Encoding: text in, vectors out", ""]
    if run["quick"]:
        lines += ["**A quick trial with few texts: not for figures.**", ""]
    if run["load_average"][0] > 0.5:
        lines += [f"**Other work was running (load average {run['load_average'][0]:.1f} at the start): noisy.**", ""]
    lines += [
        f"- machine: {run['machine']}; {run['threads']} threads for every engine",
        f"- date: {run['date']}; {run['repeats']} rounds",
        f"- versions: {versions(run['models'])}",
        f"- command: `{run['command']}`",
        "",
        METHOD,
    ]
    for name, data in run["models"].items():
        lines += ["", f"## {name}: {MODELS[name][0]}"]
        if "missing" in data:
            lines += ["", f"not measured: {data['missing']}"]
            continue
        lines += ["", overview(data)]
        for workload in data["workloads"]:
            lines += ["", details(data, workload)]
        if data["skipped"]:
            lines += ["", "Skipped:", ""]
            lines += [f"- {engine}: {without_paths(reason)}" for engine, reason in data["skipped"].items()]
    return "\n".join(lines) + "\n"
