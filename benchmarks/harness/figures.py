"""From seconds and vectors to the figures of the report: medians, ratios and cosines, as plain data."""

from typing import Any

import numpy as np

from harness.catalogue import AS_INSTALLED, REFERENCE
from harness.measure import Measured
from harness.workloads import Workload


def cosines(result: Measured, reference: Measured | None, name: str) -> dict[str, float]:
    """How near this engine's vectors are to the float32 ones of sentence-transformers, text by text."""
    if reference is None or name not in reference.vectors:
        return {}
    ours, truth = result.vectors[name].astype(np.float64), reference.vectors[name].astype(np.float64)
    if ours.shape != truth.shape:
        return {"cosine_min": float("nan"), "cosine_mean": float("nan")}
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(truth, axis=1)
    each = (ours * truth).sum(axis=1) / lengths
    return {"cosine_min": float(each.min()), "cosine_mean": float(each.mean())}


def spread(reference: Measured | None, name: str) -> float | None:
    """Mean cosine of two different texts: what a cosine to the truth has to be read against."""
    if reference is None or len(reference.vectors.get(name, ())) < 2:
        return None
    vectors = reference.vectors[name].astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return float((vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].mean())


def speed(result: Measured, workload: Workload) -> dict[str, Any]:
    """Throughput of the median pass, and its range; for one text at a time the latency too."""
    seconds = np.array(result.seconds[workload.name])
    if workload.one_by_one:
        per_text = workload.tokens / len(workload.texts)
        latency = {"median_ms": float(np.median(seconds)) * 1e3, "p95_ms": float(np.percentile(seconds, 95)) * 1e3}
        return {"tokens_per_s": per_text / float(np.median(seconds)), "passes": len(seconds)} | latency
    rates = workload.tokens / seconds
    return {
        "tokens_per_s": workload.tokens / float(np.median(seconds)),
        "slowest": float(rates.min()),
        "fastest": float(rates.max()),
        "passes": len(seconds),
    } | from_ids(result, workload)


def from_ids(result: Measured, workload: Workload) -> dict[str, float]:
    """Throughput without the tokenizer, where it was measured."""
    seconds = result.seconds.get(f"{workload.name} from ids")
    return {"tokens_per_s_from_ids": workload.tokens / float(np.median(seconds))} if seconds else {}


def add_ratios(rows: dict[str, dict[str, Any]], results: list[Measured]) -> None:
    """Speed as a multiple of sentence-transformers, and of the fastest other library of the same precision."""
    best: dict[str, float] = {}
    for result in results:
        if not result.engine.ours:
            rate = rows[result.engine.name]["tokens_per_s"]
            best[result.precision] = max(rate, best.get(result.precision, 0))
    for result in results:
        row = rows[result.engine.name]
        for key, other in (("x_installed", AS_INSTALLED), ("x_st_f32", REFERENCE)):
            if other in rows:
                row[key] = row["tokens_per_s"] / rows[other]["tokens_per_s"]
        if result.precision in best:
            row["x_best_peer"] = row["tokens_per_s"] / best[result.precision]


def summarize(workloads: list[Workload], results: list[Measured]) -> dict[str, Any]:
    """Everything about one model as JSON data: workloads -> engines -> figures, then what is true of each engine."""
    had = [result for result in results if not result.skipped]
    reference = next((result for result in had if result.engine.name == REFERENCE), None)
    by_workload = {}
    for workload in workloads:
        rows = {
            result.engine.name: speed(result, workload) | cosines(result, reference, workload.name) for result in had
        }
        add_ratios(rows, had)
        by_workload[workload.name] = {
            "texts": len(workload.texts),
            "tokens": workload.tokens,
            "longest": max(workload.counts),
            "different_texts_cosine": spread(reference, workload.name),
            "engines": rows,
        }
    engines = {
        result.engine.name: {
            "title": result.engine.title,
            "precision": result.precision,
            "import_s": float(np.median([load["import_s"] for load in result.loads])),
            "load_s": float(np.median([load["load_s"] + load["first_s"] for load in result.loads])),
            "loads": len(result.loads),
            "peak_bytes": result.peak_bytes,
            "gpu_peak_bytes": result.gpu_peak_bytes,
            "versions": result.versions,
        }
        for result in had
    }
    skipped = {result.engine.name: result.skipped for result in results if result.skipped}
    return {"workloads": by_workload, "engines": engines, "skipped": skipped}
