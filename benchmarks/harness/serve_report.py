"""The report of serve.py as Markdown: throughput beside the library, latency alone and under bulk work."""

from typing import Any

from harness.report import number, table

METHOD = """\
The load comes from a process of its own over keep-alive connections, and shares the processors with the server under
test. Every contestant is loaded all the time, computes with the same number of threads and takes its turn in every
round, each round beginning with another one; the first round is not counted. **of library**: the server's speed over
that of `Embedder.encode_document` on all texts in one call, in the same round; the median, and the rounds' range.
**p50, p99**: of single queries of 16 tokens, sent one after the other with 20 ms between; **busy**: while eight other
clients send the documents, 64 in a request. **batch**: mean time of a batch in the engine meanwhile (`/metrics`)."""


def render(run: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = [f"# Service: {run['title']}", ""]
    if run["quick"]:
        lines += ["**A quick trial with few texts: not for figures.**", ""]
    if run["load_average"][0] > 0.5:
        lines += [f"**Other work was running (load average {run['load_average'][0]:.1f} at the start): noisy.**", ""]
    lines += [
        f"- machine: {run['machine']}; {run['threads']} threads for every engine",
        f"- date: {run['date']}; {run['rounds']} rounds",
        f"- versions: {run['versions']}",
        "- smallest cosine to the library's vectors, over 32 texts: "
        + ", ".join(f"{name} {value:.5f}" for name, value in run["agreement"].items()),
        f"- command: `{run['command']}`",
        "",
        METHOD,
    ]
    if data := run.get("throughput"):
        lines += ["", f"## Throughput: {data['texts']:,} texts, {data['tokens']:,} tokens", "", throughput_table(data)]
    if data := run.get("latency"):
        lines += ["", f"## A query, alone and beside {data['documents']:,} documents", "", latency_table(data)]
    lines += ["", *(f"- not measured: {name}: {reason}" for name, reason in run["skipped"].items())]
    return "\n".join(lines).rstrip() + "\n"


def throughput_table(data: dict[str, Any]) -> str:
    rows = [
        [
            row["contestant"],
            number(row["clients"]) if row["clients"] else "–",
            number(row["texts_per_request"]),
            number(row["tokens_per_s"]),
            number(row["of_library"], 3),
            f"{row['of_library_least']:.3f}–{row['of_library_most']:.3f}",
        ]
        for row in data["rows"]
    ]
    return table(["contestant", "clients", "texts/request", "tokens/s", "of library", "range"], rows)


def latency_table(data: dict[str, Any]) -> str:
    rows = [
        [
            name,
            number(row["idle"]["p50_ms"], 1),
            number(row["idle"]["p99_ms"], 1),
            number(row["busy"]["p50_ms"], 1),
            number(row["busy"]["p99_ms"], 1),
            number(row["busy"]["requests"]),
            number(row.get("batch_ms"), 1),
            number(row.get("limit_ms"), 1),
            number(row["bulk_seconds"], 1),
            number(row["failures"]),
        ]
        for name, row in data["servers"].items()
    ]
    head = [
        "server",
        "idle p50 ms",
        "p99",
        "busy p50 ms",
        "p99",
        "queries",
        "batch ms",
        "2 batches + 50",
        "bulk s",
        "failed",
    ]
    return table(head, rows)
