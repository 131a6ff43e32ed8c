"""The report of gpu.py: what was reached of what was aimed at, and tables per workload."""

from typing import Any

from harness.report import number, table, versions
from harness.results import without_paths

TITLES = {
    "mixed": "many short texts and a few long ones: 8 tokens to the model's limit, log-normal, median 67",
    "16": "texts of 16 tokens",
    "128": "texts of 128 tokens",
    "512": "texts of 512 tokens, or of the model's limit",
    "query": "texts of 16 tokens, one at a time",
}
METHOD = """\
Text in, unit vectors out. tokens/s counts the real tokens of the texts, specials included, never padding. **from ids**:
the same texts, tokenized before the clock starts. **ceiling**: the share that these tokens/s make of the measured speed
of the matrix products of one layer alone, in the same precision; attention counts as work, padding does not. Every
engine runs in a process of its own; the engines take turns, round by round, and each figure is the median over all
passes. **peak**: the most device memory that torch held for the process. **cosine**: the smallest, to the float32
vectors of sentence-transformers on the same device. "× best peer": over the fastest other library."""


def share(run: dict[str, Any], workload: str, engine: str, figures: dict[str, Any]) -> float | None:
    """The part of its precision's ceiling that an engine reaches."""
    ceiling = run["device"]["ceilings"].get(run["data"]["engines"][engine]["precision"])
    operations = run["device"]["operations_per_token"].get(workload)
    if not ceiling or not operations:
        return None
    return figures["tokens_per_s"] * operations / (ceiling * 1e12)


def best_peer(run: dict[str, Any], workload: str) -> float | None:
    """tokens/s of the fastest other library in fewer than 32 bits."""
    engines = run["data"]["engines"]
    rates = [
        figures["tokens_per_s"]
        for name, figures in run["data"]["workloads"][workload]["engines"].items()
        if not name.startswith("me5") and engines[name]["precision"] != "f32"
    ]
    return max(rates, default=None)


def goals(run: dict[str, Any]) -> list[tuple[str, str, float | None, bool | None]]:
    """(what, wanted, measured, reached); None where it was not measured."""
    workloads = run["data"]["workloads"]

    def of(workload: str, engine: str) -> dict[str, Any]:
        return workloads.get(workload, {}).get("engines", {}).get(engine, {})

    mixed, eight = of("mixed", "me5-bf16"), of("mixed", "me5-fp8")
    peer = best_peer(run, "mixed") if "mixed" in workloads else None
    long = of("512", "me5-bf16")
    ids = mixed.get("tokens_per_s_from_ids")
    figures = [
        ("bf16, mixed: tokens/s", 600_000, mixed.get("tokens_per_s")),
        ("fp8, mixed: tokens/s", 1_000_000, eight.get("tokens_per_s")),
        ("bf16, 512: share of the ceiling", 0.65, share(run, "512", "me5-bf16", long) if long else None),
        ("bf16, mixed: × best peer", 3, mixed["tokens_per_s"] / peer if mixed and peer else None),
        ("bf16, mixed: text in, over from ids", 0.9, mixed["tokens_per_s"] / ids if ids else None),
    ]
    return [
        (what, f"≥ {wanted:,}", value, None if value is None else value >= wanted) for what, wanted, value in figures
    ]


def goals_table(run: dict[str, Any]) -> str:
    words = {True: "yes", False: "no", None: "not measured"}
    if run["trial"]:  # with a small model or few texts the figures are no answer
        words = dict.fromkeys(words, "–")
    rows = [
        [what, wanted, "–" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}", words[reached]]
        for what, wanted, value, reached in goals(run)
    ]
    return table(["aim (one H200, XLM-R-large)", "wanted", "measured", "reached"], rows)


def details(run: dict[str, Any], name: str) -> str:
    """One workload."""
    workload, engines = run["data"]["workloads"][name], run["data"]["engines"]
    if name == "query":
        head = ["engine", "precision", "median ms", "p95 ms", "cosine min"]
    else:
        head = ["engine", "precision", "tokens/s", "from ids", "ceiling", "× best peer", "cosine min"]
    peer = best_peer(run, name)
    rows = []
    for engine, figures in workload["engines"].items():
        row = [engines[engine]["title"], engines[engine]["precision"]]
        if name == "query":
            row += [number(figures["median_ms"], 2), number(figures["p95_ms"], 2)]
        else:
            part = share(run, name, engine, figures)
            row += [number(figures["tokens_per_s"]), number(figures.get("tokens_per_s_from_ids"))]
            row += ["–" if part is None else f"{part:.0%}"]
            row += [number(figures["tokens_per_s"] / peer if peer else None, 2)]
        rows.append([*row, number(figures.get("cosine_min"), 6)])
    size = f"{workload['texts']:,} texts, {workload['tokens']:,} tokens"
    return f"### {name}: {size}\n\n{TITLES[name]}\n\n{table(head, rows)}"


def training(run: dict[str, Any]) -> str:
    """Forward and backward of the encoder that training uses."""
    ceiling = run["device"]["ceilings"]["bf16"]
    rows = [
        [
            name,
            f"{figures['tokens']:,}",
            number(figures["tokens_per_s"]),
            number(figures["tflops"], 3),
            f"{figures['tflops'] / ceiling:.0%}",
            number(figures["gpu_peak_bytes"] / 1e6),
        ]
        for name, figures in run["device"]["steps"].items()
    ]
    head = ["step", "tokens", "tokens/s", "TFLOP/s", "MFU (of the bf16 ceiling)", "peak MB"]
    return f"## Training step: forward and backward, bf16 by autocast, mixed lengths\n\n{table(head, rows)}"


def markdown(run: dict[str, Any]) -> str:
    """The whole report."""
    lines = ["# Encoding on a GPU: text in, vectors out", ""]
    if run["trial"]:
        lines += [f"**A trial, not for figures: {run['trial']}.**", ""]
    ceilings = ", ".join(f"{name} {value:,.3g}" for name, value in run["device"]["ceilings"].items())
    lines += [
        f"- device: {run['device']['name']}; host: {run['machine']}",
        f"- model: {run['model']}",
        f"- date: {run['date']}; {run['repeats']} rounds; load average at the start {run['load_average'][0]:.1f}",
        f"- matrix ceilings, TFLOP/s: {ceilings}",
        f"- versions: {versions({'model': run['data']})}",
        f"- command: `{run['command']}`",
        "",
        METHOD,
        "",
        goals_table(run),
    ]
    for workload in run["data"]["workloads"]:
        lines += ["", details(run, workload)]
    peaks = [
        [facts["title"], facts["precision"], number(facts["load_s"], 1), number(facts["gpu_peak_bytes"] / 1e6)]
        for facts in run["data"]["engines"].values()
    ]
    lines += ["", "## Load and memory", "", table(["engine", "precision", "load s", "peak MB on the device"], peaks)]
    lines += ["", training(run)]
    if run["data"]["skipped"]:
        lines += ["", "Skipped:", ""]
        lines += [f"- {engine}: {without_paths(reason)}" for engine, reason in run["data"]["skipped"].items()]
    return "\n".join(lines) + "\n"
