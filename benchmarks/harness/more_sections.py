"""The sections of the report on memory, training, and the parts of me5."""

from typing import Any

from harness.pictures import OTHERS, OURS, PRECISIONS, SECOND, Bar, Curves, Panel, number
from harness.report import table
from harness.sections import Run, Section, listed, times
from me5.errors import counted

DAMAGE = ("lost", "doubled", "left_behind", "differ", "vectors_that_differ", "processes_left")
TRAINERS = {
    "me5": "me5", "me5-cached": "me5, GradCache",
    "st": "sentence-transformers", "st-cached": "sentence-transformers, GradCache",
}  # fmt: skip


def cold_start(run: Run) -> Section:
    seconds = {name: told["median"] for name, told in run["seconds"].items()}
    rows = [
        [name, *(f"{told[key]:.3f}" for key in ("median", "least", "most"))] for name, told in run["seconds"].items()
    ]
    loading = seconds["load the bundled model"] - seconds["import me5"]
    return Section(
        "Cold start",
        "How long a person waits in a fresh process for the bundled model; "
        f"{counted(run['repeats'], 'repeat')} in turns, files in the page cache.",
        [
            table(["seconds", "median", "least", "most"], rows),
            f"`me5 score` answers after {seconds['me5 score, in all']:.2f} s, of which loading the model takes "
            f"{loading:.2f} s and importing me5 {seconds['import me5'] - seconds['python alone']:.2f} s.",
        ],
        [Panel("seconds in a fresh process", [Bar(name, value) for name, value in seconds.items()])],
    )


def soak(run: Run) -> Section:
    titles = {"server": "HTTP process", "worker": "engine's process"}
    rows, sentences = [], []
    for name, title in titles.items():
        told = run["memory"][name]
        shares = [f"{told[f'{key}_percent']:+.1f} %" for key in ("lowest", "highest", "trend")]
        rows.append([title, f"{told['median_mb']:,.0f}", *shares])
        sentences.append(f"the {title} stays between {shares[0]} and {shares[1]} of its median")
    samples = run["samples"]
    return Section(
        f"Memory of the service: {run['minutes']:.0f} minutes of traffic",
        f"Requests of all sizes, searches and faulty clients at a time, {run['model']}; memory without mapped files, "
        "after the first sixth of the time.",
        [
            table(["memory", "median MB", "lowest", "highest", "trend"], rows),
            f"In {run['requests']:,} requests {' and '.join(sentences)}. Restarts of the engine's process: "
            f"{run['worker_restarts']:.0f}.",
        ],
        Curves(
            f"{run['model']}: {run['requests']:,} requests",
            "MB",
            [seconds / 60 for seconds in samples["seconds"]],
            {title: [size / 1e6 for size in samples[f"{name}_bytes"]] for name, title in titles.items()},
        ),
    )


def hostile(run: Run) -> Section:
    health, mib = run["health_ms"], run["mib"]
    processes = ("HTTP process", "engine's process")
    rows = [[title, *(f"{mib[when][at]:,}" for when in mib)] for at, title in enumerate(processes)]
    statuses = listed(
        [
            f"{count:,} × {status.replace('gave up', 'none, as the client hung up')}"
            for status, count in run["statuses"].items()
        ]
    )
    return Section(
        "Memory of the service: hostile requests",
        f"{run['requests']:,} worst-case requests to {run['model']}, as large, deep, many or wrong as they come "
        f"(`--skew {run['skew']:g}`), in {run['seconds'] / 60:.0f} minutes.",
        [
            table(["MiB", *mib], rows),
            f"Replies: {statuses}. Restarts of the engine's process: {run['worker_restarts']:.0f}. `/health` answered "
            f"within {health['p50']} ms (p50), {health['p99']} (p99), {health['most']} at most; failures of it: "
            f"{len(run['health_failures'])}.",
        ],
        [
            Panel(
                "memory: MiB",
                [
                    Bar(f"{title}, {when}", mib[when][at], (OURS, SECOND)[at])
                    for at, title in enumerate(processes)
                    for when in mib
                ],
            )
        ],
    )


def evaluation_memory(run: Run) -> Section:
    rows = run["rows"]
    cells = [[f"{row['documents']:,}", *(number(row[key]) for key in (
        "corpus_mib", "peak_mib", "evaluation_mib", "seconds"))] for row in rows]  # fmt: skip
    first, last = rows[0], rows[-1]
    return Section(
        "Memory of an evaluation",
        "Peak memory of the retrieval protocol of `me5 eval run` on generated corpora with made-up vectors.",
        [
            table(["documents", "corpus MiB", "peak MiB", "by the evaluation", "s"], cells),
            f"{times(last['documents'] / first['documents'])} the documents take "
            f"{times(last['evaluation_mib'] / first['evaluation_mib'])} the memory.",
        ],
        [Panel("peak memory by the evaluation: MiB", [
            Bar(f"{row['documents']:,} documents", row["evaluation_mib"]) for row in rows
        ])],
    )  # fmt: skip


def loss_memory(run: Run) -> Section:
    rows = run["rows"]
    names = {"plain": "plain autograd", "me5": "me5"}
    cells = [
        [f"{names[row['way']]}, {row['texts']:,}", number(row["mebibytes"]), number(row["wall"]), number(row["cpu"]),
         row["note"]]
        for row in rows
    ]  # fmt: skip
    most = max(row["texts"] for row in rows)
    largest = {row["way"]: row for row in rows if row["texts"] == most}
    plain, mine = largest["plain"], largest["me5"]
    return Section(
        "Memory of the training loss",
        f"Forward and backward of the loss alone, queries × documents, {run['dim']} dimensions, float32, "
        f"{counted(run['threads'], 'thread')}; memory beside the vectors.",
        [
            table(["way, texts of a side", "peak MiB", "s", "processor s", ""], cells),
            f"At {most:,} texts plain autograd ({plain['note']}) needs {times(plain['mebibytes'] / mine['mebibytes'])} "
            f"the memory of me5's loss, and {times(plain['cpu'] / mine['cpu'])} its processor time.",
        ],
        [Panel(f"{most:,} × {most:,}: peak MiB", [
            Bar(f"plain autograd, {plain['note']}", plain["mebibytes"], OTHERS), Bar("me5", mine["mebibytes"])
        ])],
    )  # fmt: skip


def train(run: Run) -> Section:
    body, panels = [], []
    device = next((row["device"] for rows in run["figures"].values() for row in rows.values() if "device" in row), "")
    for precision, found in run["figures"].items():
        rows = {name: row for name, row in found.items() if "failed" not in row}
        peaks = {name: row.get("peak_device_bytes", row["peak_bytes"]) for name, row in rows.items()}
        cells = [
            [TRAINERS[name], *(number(row[key]) for key in ("tokens_per_second", "step_tokens_per_second")),
             number(peaks[name] / 1e6)]
            for name, row in rows.items()
        ]  # fmt: skip
        body.append(table([precision, "tokens/s", "of the steps alone", "peak MB"], cells))
        body.append(" ".join(_trained(rows, peaks, precision)))
        failed = {name: row["failed"] for name, row in found.items() if "failed" in row}
        body += [f"- {TRAINERS[name]} failed: {why}" for name, why in failed.items()]
        for key, title in (("tokens_per_second", "tokens per second"), ("", "peak memory, MB")):
            panels.append(Panel(f"{precision}: {title}", [
                Bar(TRAINERS[name], row[key] if key else peaks[name] / 1e6, OURS if name.startswith("me5") else OTHERS)
                for name, row in rows.items()
            ]))  # fmt: skip
    where = f"on one {device}" if device else f"on {counted(run['threads'], 'thread')}"
    return Section(
        "Training" + (f" on one {device}" if device else f" on a processor: {run['machine'].split(' (')[0]}"),
        f"me5's trainer beside sentence-transformers' ({run['model']}, {run['batch']:,} pairs a step, "
        f"{counted(run['repeats'], 'round')}) {where}: the same pairs, precision, optimizer and dropout.",
        body,
        panels,
    )


def _trained(rows: Run, peaks: dict[str, float], precision: str) -> list[str]:
    def ratio(one: str, other: str) -> float:
        return rows[one]["tokens_per_second"] / rows[other]["tokens_per_second"]

    told = []
    if {"me5", "st"} <= rows.keys():
        told.append(f"At {precision} me5 trains {times(ratio('me5', 'st'))} as fast as sentence-transformers, in "
                    f"{peaks['me5'] / peaks['st']:.0%} of its memory.")  # fmt: skip
    if {"me5-cached", "st-cached"} <= rows.keys():
        told.append(f"With GradCache it is {times(ratio('me5-cached', 'st-cached'))} as fast.")
    if {"me5", "me5-cached"} <= rows.keys():
        told.append(f"GradCache takes me5 {times(ratio('me5', 'me5-cached'))} the time of plain training.")
    return told


def ceiling(run: Run) -> Section:
    speeds = run["gflops"]
    titles = {"int8": "int8, levels fixed", "int8 group": "int8, a scale per group"}
    rows = [[titles.get(name, name), f"{speed:,}", f"{speed / speeds['bf16']:.2f}"] for name, speed in speeds.items()]
    told = [f"{name} run at {times(speeds[name] / speeds['bf16'])}" for name in speeds if name != "bf16"]
    return Section(
        f"The ceiling: matrix products alone, {counted(run['threads'], 'thread')}",
        "The matrix products of one XLM-R-large layer at the size of a packed batch, which no encoder here can exceed.",
        [table(["", "GFLOP/s", "of bf16"], rows), f"Products of {listed(told)} the speed of bf16's."],
        [Panel("GFLOP/s", [
            Bar(titles.get(name, name), speed, PRECISIONS[name.split()[0]]) for name, speed in speeds.items()
        ])],
    )  # fmt: skip


def same_bits(run: Run) -> Section:
    rows = {(row["workload"], row["way"]): row for row in run["figures"]}
    ways = {"anywhere": "anywhere", "even": "at even cells (me5)", "float32": "anywhere, attention in float32"}
    cells = [
        [
            f"{name}: {ways[way]}",
            number(row["rate"]) if "rate" in row else "–",
            f"{row['ratio']:.3f}",
            f"{row['equal']:.1%}",
        ]
        for (name, way), row in rows.items()
    ]

    def span(way: str) -> str:
        found = [row["ratio"] for (_, each), row in rows.items() if each == way]
        return f"{min(found):.2f} to {max(found):.2f}"

    equal = min(row["equal"] for (_, way), row in rows.items() if way == "anywhere")
    return Section(
        f"The same vector in any company: {run['model']}",
        "What it costs at bf16 that a text has the same vector, to the bit, whatever it is batched with; "
        f"{counted(run['repeats'], 'round')} in turns.",
        [
            table(["where sequences start", "tokens/s", "ratio", "equal to the bit"], cells),
            f"Even starts have {span('even')} of the speed of any start, where as few as {equal:.0%} of the vectors "
            f"are equal; attention in float32, as on processors with AMX, has {span('float32')}.",
        ],
        [Panel("speed, of that of any start", [
            Bar(f"{name}: {ways[way]}", row["ratio"], {"even": OURS, "float32": SECOND}.get(way, OTHERS),
                told=f"{row['ratio']:.3f}")
            for (name, way), row in rows.items()
        ])],
    )  # fmt: skip


def front_end(run: Run) -> Section:
    names = ("kitoken", "tokenizers")
    keys = ("tokens_per_second", "open_and_drop_seconds", "resident_mb")
    rows = [[name, *(number(run[name][key]) for key in keys)] for name in names]
    return Section(
        "The tokenizer alone",
        f"kitoken, as me5 uses it, against `tokenizers`: {run['texts']:,} lines, {run['tokens']:,} tokens, one thread.",
        [
            table(["", "tokens/s", "open and drop, s", "MB"], rows),
            f"kitoken is {times(run['ratio'])} as fast. Texts whose ids differ: {run['differ']}; texts left to it: "
            f"{run['left']}.",
        ],
        [Panel("tokens per second, one thread", [
            Bar(name, run[name]["tokens_per_second"], colour)
            for name, colour in zip(names, (OURS, OTHERS), strict=True)
        ])],
    )  # fmt: skip


def extraction(run: Run) -> Section:
    body: list[str] = []
    panels: list[Panel] = []
    for form, named in run["results"].items():
        keys = ("precision", "recall", "f1", "worst_f1", "ms")
        rows = [[name, *(f"{row[key]:.1f}" for key in keys)] for name, row in named.items()]
        mine = next(name for name in named if name.startswith("me5"))
        best = max((name for name in named if name != mine), key=lambda name, named=named: named[name]["f1"])
        body += [
            table([form.upper() if form == "pdf" else "HTML", "precision", "recall", "F1", "worst F1", "ms"], rows)
        ]
        body += [f"{mine} reaches F1 {named[mine]['f1']:.1f}, the best other, {best}, {named[best]['f1']:.1f}; the "
                 f"worst document {named[mine]['worst_f1']:.1f} and {named[best]['worst_f1']:.1f}."]  # fmt: skip
        panels.append(
            Panel(f"{form.upper()}: F1 over words, per cent", [_share(name, row) for name, row in named.items()])
        )
    return Section(
        "Text of documents",
        f"How much of the text of {run['documents']} documents readers find, as pages of a site and as PDFs; the "
        "Markdown that they were made of is the truth. Milliseconds are of processor time.",
        body,
        panels,
    )


def _share(name: str, row: dict[str, Any]) -> Bar:
    return Bar(name, row["f1"], OURS if name.startswith("me5") else OTHERS, told=f"{row['f1']:.1f}")


def kills(run: Run) -> Section:
    def name(case: Run) -> str:
        return case["case"] + (f", {counted(case['writers'], 'writer')}" if "writers" in case else "")

    cases = run["cases"]
    rows = [[name(case), str(case["kills"]), *(str(case.get(key, "–")) for key in DAMAGE)] for case in cases]
    harmed = sum(case.get(key, 0) for case in cases for key in DAMAGE)
    return Section(
        "Kills",
        "Commands, and the service's engine under load, killed at random moments and completed, beside runs without "
        "a kill.",
        [
            table(["case", "kills", *(key.replace("_", " ") for key in DAMAGE)], rows),
            f"In {sum(case['kills'] for case in cases)} kills "
            + (f"{harmed} things were lost, doubled, left behind or changed." if harmed else
               "nothing was lost, doubled or left behind, and every bit is as without a kill."),
        ],
        [Panel("kills without damage", [
            Bar(name(case), case["kills"], SECOND if any(case.get(key) for key in DAMAGE) else OURS) for case in cases
        ])],
    )  # fmt: skip
