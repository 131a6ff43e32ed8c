"""Watch the service's memory for an hour: mixed traffic without a pause, the size of every process once a second.

    python benchmarks/soak.py                        # an hour, the bundled model
    python benchmarks/soak.py --minutes 2 --every 0.2

Requests of all sizes and lengths come from eight clients: single queries, bulk requests, texts longer than the model
reads, and malformed bodies. Writes benchmarks/results/soak_NAME_MACHINE_DATE.csv (seconds, bytes of the server and of
its worker, requests so far) and .svg; the last line on the screen is the JSON with the growth between the first tenth
after the warm-up and the last tenth.
"""

import argparse
import csv
import datetime
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from harness import machine, traffic
from harness.servers import ME5, Server, family, resident
from harness.workloads import make_texts, mixed_lengths, open_tokenizer, token_limit

RESULTS = Path(__file__).resolve().parent / "results"
BUNDLED = Path(__file__).resolve().parents[1] / "src" / "me5" / "models" / "mini"
COLUMNS = ("seconds", "server_bytes", "worker_bytes", "requests")


def write_traffic(model: Path, path: Path) -> Path:
    """Two hundred requests of every kind that a service meets."""
    limit = token_limit(model)
    tokenizer = open_tokenizer(model, limit)
    rng = np.random.default_rng(0)
    groups = [make_texts(tokenizer, [int(rng.integers(4, 32))], rng) for _ in range(100)]
    groups += [make_texts(tokenizer, mixed_lengths(int(size), limit, rng), rng) for size in rng.integers(2, 128, 80)]
    # Longer than the model reads: cut, and told.
    words = " ".join(make_texts(tokenizer, [limit], rng))
    groups += [[" ".join([words] * 3)] for _ in range(10)]
    order = rng.permutation(len(groups))
    traffic.write_bodies(path, [groups[index] for index in order], {})
    with path.open("a", encoding="utf-8") as file:
        for body in ('{"input": 3}', '{"input": [""]}', "{", '{"input": "a", "side": "left"}', "[]") * 2:
            file.write(body + "\n")
    return path


def sample(server: Server, began: float) -> tuple[float, int, int, int]:
    """One line of the CSV."""
    parent, *children = family(server.process.pid)
    requests = int(server.metric("me5_requests_total"))
    return round(time.monotonic() - began, 1), resident(parent), sum(map(resident, children)), requests


def watch(server: Server, bodies: Path, minutes: float, every: float) -> tuple[list[tuple], traffic.Outcome]:
    """Samples while the traffic runs."""
    job = traffic.Job(server.port, server.kind.path, str(bodies), clients=8, seconds=60 * minutes)
    load, began, samples = traffic.start(job), time.monotonic(), []
    while not load.over:
        samples.append(sample(server, began))
        time.sleep(every)
    return samples, traffic.finish(load)


def growth(samples: list[tuple]) -> dict[str, float]:
    """Bytes more in the median of the last tenth than in the tenth that follows the first fifth."""
    values = np.array(samples, np.float64)
    tenth = max(1, len(values) // 10)
    early, late = values[2 * tenth : 3 * tenth], values[-tenth:]
    return {name: float(np.median(late[:, at]) - np.median(early[:, at])) for at, name in enumerate(COLUMNS[:3]) if at}


def draw(samples: list[tuple], title: str, path: Path) -> None:
    """The two curves. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "me5"
    mpl.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    values = np.array(samples, np.float64)
    figure, axis = pyplot.subplots(figsize=(8, 3.2))
    for at, label, colour in ((2, "engine worker", "#2a78b5"), (1, "HTTP process", "#d9822b")):
        axis.plot(values[:, 0] / 60, values[:, at] / 1e6, label=label, color=colour, linewidth=1)
    axis.set(xlabel="minutes", ylabel="resident MB", title=title)
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED, help="folder (default: the bundled model)")
    parser.add_argument("--name", default="me5-mini", help="the model's name in the file names")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two samples")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    stem = args.out / f"soak_{args.name}_{machine.slug()}_{datetime.date.today().isoformat()}"
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="me5-soak-") as scratch:
        bodies = write_traffic(args.model, Path(scratch) / "bodies.jsonl")
        server = Server(ME5, sys.executable, args.model.absolute(), machine.cpus(), [], Path(scratch) / "server.log")
        try:
            samples, outcome = watch(server, bodies, args.minutes, args.every)
            restarts = server.metric("me5_worker_restarts_total")
        finally:
            server.stop()
    with stem.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *samples])
    title = f"{args.name}: {len(outcome.requests):,} requests in {outcome.seconds / 60:.0f} minutes"
    draw(samples, title, stem.with_suffix(".svg"))
    result = {
        "benchmark": "soak",
        "machine": machine.describe(),
        "minutes": args.minutes,
        "requests": len(outcome.requests),
        "statuses": outcome.statuses,
        "worker_restarts": restarts,
        "growth_bytes": growth(samples),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
