"""The sections of the report on encoding, search, the service and bulk jobs, of the figures of one file each."""

from dataclasses import dataclass
from typing import Any

from harness.catalogue import MODELS
from harness.pictures import OTHERS, OURS, PRECISIONS, SECOND, Bar, Curves, Panel, number
from harness.report import overview, table
from harness.serve_report import latency_table, throughput_table
from me5.errors import counted

Run = dict[str, Any]
# What the parts of a search are called; the others are called by their keys.
WAYS = {
    "exact": "vectors, exact", "index": "vectors, the index alone", "both": "vectors and words",
    "both, model included": "the same, with the model", "both, model and best sentence": "and with the best sentence",
}  # fmt: skip


@dataclass(frozen=True)
class Section:
    """What the report says of one file: the heading, what is measured, tables and sentences, the picture."""

    heading: str
    measured: str
    body: list[str]
    picture: list[Panel] | Curves


def listed(parts: list[str]) -> str:
    """Such as "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def times(ratio: float) -> str:
    """Such as "4.2 times"."""
    return f"{ratio:.{0 if ratio >= 10 else 1 if ratio >= 2 else 2}f} times"


def ours(name: str) -> bool:
    return name.startswith("me5")


def encode(run: Run) -> Section:
    ((name, data),) = run["models"].items()
    mixed = [f"{facts['texts']:,} texts ({key})" for key, facts in data["workloads"].items() if key != "query"]
    if "query" in data["workloads"]:
        mixed.append("queries of 16 tokens, one at a time")
    measured = f"Text in, unit vectors out, tokenizing included: {listed(mixed)}; {counted(run['threads'], 'thread')}, "
    measured += f"{counted(run['repeats'], 'round')} in turns, medians."
    return _encoding(f"Encoding: {MODELS[name][0]}", measured, data)


def gpu(run: Run) -> Section:
    measured = f"Text in, unit vectors out on one {run['device']['name']}: {run['model']}; "
    measured += f"{counted(run['repeats'], 'round')} in turns."
    engines = {
        name: facts | {"peak_bytes": facts["gpu_peak_bytes"] or facts["peak_bytes"]}
        for name, facts in run["data"]["engines"].items()
    }
    made = _encoding("Encoding on a GPU", measured, run["data"] | {"engines": engines})
    steps = [
        [name, number(told["tokens_per_s"]), number(told["tflops"]), number(told["gpu_peak_bytes"] / 1e6)]
        for name, told in run["device"]["steps"].items()
    ]
    training = table(["training step, bf16", "tokens/s", "TFLOP/s", "peak MB"], steps)
    trial = [f"**A trial, not for figures: {run['trial']}.**"] if run["trial"] else []
    return Section(made.heading, made.measured, [*trial, *made.body, training], made.picture)


def _encoding(heading: str, measured: str, data: Run) -> Section:
    """Any encoding: all workloads in one table; tokens per second, and the time of a query, as pictures."""
    workloads, engines = data["workloads"], data["engines"]
    shown = ["mixed"] if "mixed" in workloads else [name for name in workloads if name != "query"]
    shown += ["query"] if "query" in workloads else []
    beside = [told for name in shown if (told := _fastest(name, workloads[name]["engines"], engines))]
    body = [overview(data)]
    if beside:
        body.append("Beside the fastest other library of the same precision, or of any where none has it:")
        body.append("\n".join(beside))
    lowest: dict[str, float] = {}
    for workload in workloads.values():
        for name, row in workload["engines"].items():
            if ours(name) and row.get("cosine_min") is not None:
                lowest[name] = min(row["cosine_min"], lowest.get(name, 1))
    if lowest:
        apart = workloads[shown[0]]["different_texts_cosine"]
        told = listed([f"{engines[name]['title']} {value:.5f}" for name, value in lowest.items()])
        body.append(f"Smallest cosine to the float32 vectors of sentence-transformers: {told}"
                    f" (two different texts: {apart:.2f}).")  # fmt: skip
    if data["skipped"]:
        body.append(f"Not measured: {listed(list(data['skipped']))}.")
    panels = [_engines(name, workloads[name]["engines"], engines) for name in shown]
    return Section(heading, measured, body, panels)


def _engines(name: str, rows: Run, engines: Run) -> Panel:
    """One workload's engines, the fastest first; the colour is the precision."""
    key = "median_ms" if name == "query" else "tokens_per_s"
    title = "one query of 16 tokens: milliseconds" if name == "query" else f"{_texts(name)}: tokens per second"
    order = sorted(rows, key=lambda engine: rows[engine]["tokens_per_s"], reverse=True)
    precisions = {engine: engines[engine]["precision"] for engine in order}
    bars = [
        Bar(engines[engine]["title"], rows[engine][key], PRECISIONS.get(precisions[engine], OTHERS), not ours(engine))
        for engine in order
    ]
    used = {precision: colour for precision, colour in PRECISIONS.items() if precision in precisions.values()}
    return Panel(title, bars, {} if name == "query" else used)


def _texts(name: str) -> str:
    return {"mixed": "texts of mixed lengths", "sentences": "sentences"}.get(name, f"texts of {name} tokens")


def _fastest(name: str, rows: Run, engines: Run) -> str:
    """Each of me5's precisions beside the fastest other library in the same, or of all where none computes in it."""
    peers = [engine for engine in rows if not ours(engine)]
    parts = []
    for engine in filter(ours, rows if peers else ()):
        same = [peer for peer in peers if engines[peer]["precision"] == engines[engine]["precision"]]
        best = max(same or peers, key=lambda peer: rows[peer]["tokens_per_s"])
        took = f"takes {number(rows[engine]['median_ms'])} ms and is" if name == "query" else "is"
        ratio = times(rows[engine]["tokens_per_s"] / rows[best]["tokens_per_s"])
        parts.append(f"{engines[engine]['title']} {took} {ratio} as fast as {engines[best]['title']}")
    if not parts:
        return ""
    return f"- {'one query' if name == 'query' else _texts(name)}: {'; '.join(parts)}"


def search(run: Run) -> Section:
    texts, asked = run["collect"], run["search"]
    ways = {name: told for name, told in asked["ways"].items() if name != "look for a newer version"}
    rows = [
        [WAYS.get(name, name), *(number(told[key]) for key in ("p50_ms", "p99_ms", "fastest_ms", "processor_ms"))]
        for name, told in ways.items()
    ]
    both, index, exact = (asked["ways"][name] for name in ("both", "index", "exact"))
    body = [
        table(["one question at a time, ms", "p50", "p99", "fastest", "processor"], rows),
        f"Vectors and words together take {number(both['p50_ms'])} ms (p99 {number(both['p99_ms'])}), with the model "
        f"{number(asked['ways']['both, model included']['p50_ms'])}. The index over the vectors finds "
        f"{asked['recall_at_10']:.1%} of the ten best and is {times(exact['p50_ms'] / index['p50_ms'])} as fast as "
        f"exact search.",
    ]
    bars = [Bar(WAYS.get(name, name), told["p50_ms"], tail=told["p99_ms"]) for name, told in ways.items()]
    panels = [Panel(f"{texts['passages']:,} passages: milliseconds of a question, p50 – p99", bars)]
    found = {name: run[name] for name in ("chroma", "usearch", "sqlite-vec", "tantivy") if name in run}
    if found:
        body += _others(run, found)
        panels.append(Panel("beside others, each in turns with me5: milliseconds, p50 – p99", [
            Bar(label, told["ways"][way]["p50_ms"], OURS if way == "me5" else OTHERS, tail=told["ways"][way]["p99_ms"])
            for name, told in found.items()
            for way, label in (("other", f"{name} {told['version']}"), ("me5", f"me5, beside {name}"))
        ]))  # fmt: skip
    body += _building(run)
    return Section(
        f"Search: {texts['passages']:,} passages",
        f"`me5 search` over {texts['passages']:,} real passages in {texts['languages']} languages with the bundled "
        f"model, {asked['questions']} titles as questions, one after the other.",
        body,
        panels,
    )


def _others(run: Run, found: Run) -> list[str]:
    rows, sentences = [], []
    for name, told in found.items():
        other, mine = told["ways"]["other"], told["ways"]["me5"]
        recall = told.get("recall_at_10")
        rows.append([
            f"{name} {told['version']}", "–" if recall is None else f"{recall:.3f}", number(other["p50_ms"]),
            number(mine["p50_ms"]), number(told["build"]["processor_seconds"]), number(told["mb"]),
        ])  # fmt: skip
        part = "for words" if recall is None else f"for vectors (recall {recall:.3f}; me5 {told['me5_recall']:.3f})"
        sentences.append(f"{name} takes {times(other['p50_ms'] / mine['p50_ms'])} as long as me5 {part}")
    head = ["beside others", "recall@10", "p50 ms", "me5's p50 ms", "building, processor s", "MB"]
    built = run["build"]["vectors"]["processor_seconds"], run["build"]["vectors_and_tuning"]["processor_seconds"]
    told = f"me5's own index over the vectors is built in {number(built[0])} s of processor time, "
    return [table(head, rows), f"{'; '.join(sentences)}. {told}{number(built[1])} with its tuning."]


def _building(run: Run) -> list[str]:
    """Sizes, and what indexing took where it was measured."""
    built, made = run["build"], run.get("index")
    told = f"The store takes {number(built['store_mb'])} MB, of which {number(built['vector_index_mb'])} are the index "
    told += f"over the vectors and {number(built['words_index_mb'])} that over the words."
    if made:
        told += f" `me5 index` spent {made['engine_share']:.0%} of its time in the engine and held at most "
        told += f"{number(made['peak_memory_mb'])} MB; the same files again, unchanged, took "
        told += f"{number(made['again_seconds'])} s."
    return [told]


def serve(run: Run) -> Section:
    body, panels = [], []
    if data := run.get("throughput"):
        by: dict[str, list[Run]] = {}
        for row in data["rows"]:
            by.setdefault(row["contestant"], []).append(row)
        parts = [
            f"{name} {listed([format(row['of_library'], '.2f') for row in rows])}"
            for name, rows in by.items() if name != "library"
        ]  # fmt: skip
        clients = listed([str(row["clients"]) for row in by["me5"]])
        body += [throughput_table(data), f"Of the library's own speed, {clients} clients get: {'; '.join(parts)}."]
        panels.append(Panel("tokens per second", [
            Bar(name if name == "library" else f"{name}, {counted(row['clients'], 'client')}",
                row["tokens_per_s"], {"me5": OURS, "library": SECOND}.get(name, OTHERS))
            for name, rows in by.items() for row in rows
        ]))  # fmt: skip
    if data := run.get("latency"):
        parts = [
            f"{number(told['idle']['p50_ms'])} ms at {name} (p99 {number(told['idle']['p99_ms'])}), and "
            f"{number(told['busy']['p50_ms'])} ms (p99 {number(told['busy']['p99_ms'])}) beside bulk work"
            for name, told in data["servers"].items()
        ]
        body += [latency_table(data), f"A single query takes {'; '.join(parts)}."]
        for key, title in (
            ("idle", "a query alone: ms, p50 – p99"),
            ("busy", "a query beside bulk work: ms, p50 – p99"),
        ):
            panels.append(Panel(title, [
                Bar(name, told[key]["p50_ms"], OURS if name == "me5" else OTHERS, tail=told[key]["p99_ms"])
                for name, told in data["servers"].items()
            ]))  # fmt: skip
    return Section(
        f"The service: {run['title']}",
        "`me5 serve` beside the library and other servers: the same texts, model and "
        f"{counted(run['threads'], 'thread')}, {counted(run['rounds'], 'round')} in turns.",
        body,
        panels,
    )


def bulk(run: Run) -> Section:
    body, panels, sentences = [], [], []
    if share := run.get("share"):
        sentences.append(f"The engine takes {share['engine_share']:.1%} of the time of a job in one process "
                         f"({share['passages']:,} passages at {share['precision']}).")  # fmt: skip
    if ray := run.get("ray"):
        more, worker = ray["overhead"]["seconds"], ray["overhead"]["cpu_seconds_of_the_worker"]
        sentences.append(f"One worker on Ray takes {times(1 + more)} as long for the same {ray['parts']} parts, and "
                         f"{times(1 + worker)} the processor time.")  # fmt: skip
        medians = {way: sorted(ray["seconds"][way])[len(ray["seconds"][way]) // 2] for way in ("plain", "ray")}
        panels.append(Panel(f"{ray['passages']:,} passages in {ray['parts']} parts: seconds", [
            Bar("one process", medians["plain"]), Bar("one worker on Ray", medians["ray"], SECOND),
        ]))  # fmt: skip
    if memory := run.get("memory"):
        peaks = {int(count): told["peak_mb"] for count, told in memory["jobs"].items()}
        told = listed([f"{peak:,.0f} MB with {count:,} texts" for count, peak in peaks.items()])
        sentences.append(f"Without an engine a job's peak memory is {told}.")
        panels.append(Panel("peak memory without an engine: MB", [
            Bar(f"{count:,} texts", peak) for count, peak in peaks.items()
        ]))  # fmt: skip
    if jobs := run.get("jobs"):
        names, columns = list(jobs["jobs"]), list(jobs["jobs"].values())
        steps = [key for key, value in columns[-1].items() if isinstance(value, dict)]
        rows = [[key.replace("_", " "), *(number(one[key]["seconds"]) for one in columns)] for key in steps]
        parts = [["parts", *(f"{one['parts']:,}" for one in columns)]]
        body.append(table(["beside the texts, s", *names], parts + rows))
        large = columns[-1]
        sentences.append(f"A job of {names[-1]} in {large['parts']:,} parts is planned in "
                         f"{number(large['plan']['seconds'])} s and resumed in "
                         f"{number(large['resume']['seconds'])}.")  # fmt: skip
        panels.append(Panel(f"{names[-1]}, without an engine: seconds", [
            Bar(key.replace("_", " "), large[key]["seconds"]) for key in steps
        ]))  # fmt: skip
    return Section(
        "Bulk jobs",
        "`me5 bulk`: the engine's share of the time, Ray, memory, and what parts cost beside their texts.",
        [*body, " ".join(sentences)],
        panels,
    )
