"""Watch the service's memory for an hour: mixed traffic without a pause, the size of every process every few seconds.

    python benchmarks/soak.py                        # an hour, the bundled model
    python benchmarks/soak.py --minutes 2 --every 0.2
    nice python benchmarks/soak.py --threads 1 --clients 2 --pause 0.5 --every 10   # beside other work

Three loads run at a time: requests of all sizes and lengths (single queries, bulk requests, texts longer than the model
reads, malformed bodies), searches of a store, and the faulty clients of `harness/faulty.py`. Writes
benchmarks/results/soak_NAME_MACHINE_DATE.json: samples (seconds, bytes of the server and of its worker, mapped files
not counted, requests so far), and how far memory strays from its median after the first sixth; the last line on the
screen is the JSON without the samples.
"""

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from harness import machine, results, traffic
from harness.servers import ME5, Server, family, memory
from harness.workloads import bundled_folder, make_texts, mixed_lengths, open_tokenizer, token_limit

COLUMNS = ("seconds", "server_bytes", "worker_bytes", "requests")
WORDS = ("mountain", "river", "bread", "stone", "winter", "Sommer", "village", "langue", "papel", "Brücke", "富士山")


def grouped(texts: list[str], sizes: Iterable[int]) -> list[list[str]]:
    """The texts in order, so many to a group."""
    rest = iter(texts)
    return [list(islice(rest, size)) for size in sizes]


def write_traffic(model: Path, path: Path) -> Path:
    """Two hundred requests of every kind that a service meets."""
    limit = token_limit(model)
    tokenizer = open_tokenizer(model, limit)
    rng = np.random.default_rng(0)
    lengths = [[int(rng.integers(4, 32))] for _ in range(100)]
    lengths += [mixed_lengths(int(size), limit, rng) for size in rng.integers(2, 128, 80)]
    groups = grouped(make_texts(tokenizer, [one for group in lengths for one in group], rng), map(len, lengths))
    # Longer than the model reads: cut, and told.
    words = " ".join(make_texts(tokenizer, [limit], rng))
    groups += [[" ".join([words] * 3)] for _ in range(10)]
    order = rng.permutation(len(groups))
    traffic.write_bodies(path, [groups[index] for index in order], {})
    with path.open("a", encoding="utf-8") as file:
        for body in ('{"input": 3}', '{"input": [""]}', "{", '{"input": "a", "side": "left"}', "[]") * 2:
            file.write(body + "\n")
    return path


def write_bulk(model: Path, path: Path) -> Path:
    """Ten requests whose replies are 5 to 10 megabytes: many short texts, numbers as text."""
    rng = np.random.default_rng(1)
    tokenizer = open_tokenizer(model, token_limit(model))
    sizes = rng.integers(1000, 2000, 10).tolist()
    groups = grouped(make_texts(tokenizer, [8] * sum(sizes), rng), sizes)
    return traffic.write_bodies(path, groups, {"encoding_format": "float"})


def write_searches(path: Path) -> Path:
    """Fifty searches: plain, hybrid, filtered, and two that cannot be."""
    choose = random.Random(2)
    found: list[dict[str, object]] = [{"query": " ".join(choose.choices(WORDS, k=3)), "k": 5} for _ in range(48)]
    for one in found[::3]:
        one["hybrid"] = True
    for one in found[::4]:
        one["filter"] = "kind = 'text'"
    found += [{"query": "a", "filter": "kind ="}, {"query": "a", "k": 1000}]
    path.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
    return path


def make_store(model: Path, scratch: Path) -> Path:
    """Three hundred made-up passages, indexed as the server reads texts."""
    choose, store = random.Random(3), scratch / "store.lance"
    texts = [f"{number}: {' '.join(choose.choices(WORDS, k=60))}." for number in range(300)]
    (scratch / "passages.txt").write_text("\n\n".join(texts), encoding="utf-8")
    command = [sys.executable, "-m", "me5", "index", "add", str(scratch / "passages.txt"), "--into", str(store)]
    subprocess.run([*command, "--model", str(model), "--prompts", "none", "--threads", "1", "--quiet"], check=True)
    return store


def sample(server: Server, began: float) -> tuple[float, int, int, int]:
    """One row of `COLUMNS`."""
    parent, *children = family(server.process.pid)
    requests = int(server.metric("me5_requests_total"))
    return round(time.monotonic() - began, 1), memory(parent), sum(map(memory, children)), requests


def watch(server: Server, loads: list[traffic.Load], every: float) -> list[tuple]:
    """Samples while the traffic runs."""
    began, samples = time.monotonic(), []
    while not all(load.over for load in loads):
        with contextlib.suppress(OSError):  # no answer in time on a busy machine: the next one tells as much
            samples.append(sample(server, began))
        time.sleep(every)
    return samples


def flatness(samples: list[tuple]) -> dict[str, dict[str, float]]:
    """After the first sixth: the median in MB, the lowest and the highest beside it and the slope, in per cent."""
    values = np.array(samples, np.float64)
    late = values[values[:, 0] >= values[-1, 0] / 6]
    result = {}
    for at, name in ((1, "server"), (2, "worker")):
        sizes, median = late[:, at], float(np.median(late[:, at]))
        drift = np.polyfit(late[:, 0], sizes, 1)[0] * (late[-1, 0] - late[0, 0])
        shares = {"lowest": sizes.min() - median, "highest": sizes.max() - median, "trend": drift}
        result[name] = {"median_mb": round(median / 1e6, 1)}
        result[name] |= {f"{key}_percent": round(100 * float(share) / median, 1) for key, share in shares.items()}
    return result


def soak(args: argparse.Namespace, scratch: Path) -> tuple[list[tuple], dict[str, traffic.Outcome], float]:
    """Samples, what each load met, and how often the worker was restarted."""
    model, log = (args.model or bundled_folder()).absolute(), scratch / "server.log"
    files = {
        "mixed": write_traffic(model, scratch / "mixed.jsonl"),
        "search": write_searches(scratch / "search.jsonl"),
        "faulty": write_bulk(model, scratch / "faulty.jsonl"),
    }
    options = ["--search", str(make_store(model, scratch))]
    server = Server(ME5, sys.executable, model, machine.cpus()[: args.threads], options, log)

    def start(name: str, path: str, clients: int, pause: float, module: str = "harness.traffic") -> traffic.Load:
        job = traffic.Job(server.port, path, str(files[name]), clients, 60 * args.minutes, pause)
        return traffic.start(job, module)

    try:
        loads = {
            "mixed": start("mixed", ME5.path, args.clients, args.pause),
            "search": start("search", "/v1/search", 1, max(1.0, args.pause)),
            "faulty": start("faulty", ME5.path, args.clients, args.pause, "harness.faulty"),
        }
        samples = watch(server, list(loads.values()), args.every)
        restarts = server.metric("me5_worker_restarts_total")
    finally:
        server.stop()
    return samples, {name: traffic.finish(load) for name, load in loads.items()}, restarts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder (default: the bundled model)")
    parser.add_argument("--name", default="me5-small", help="the model's name in the file names")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two samples")
    parser.add_argument("--threads", type=int, default=len(machine.cpus()), help="of the engine, and processors")
    parser.add_argument("--clients", type=int, default=8, help="that send what is right, and as many faulty ones")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two requests of a client")
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    args = parser.parse_args()
    run = results.begin("soak") | {"model": args.name, "minutes": args.minutes}
    with tempfile.TemporaryDirectory(prefix="me5-soak-") as scratch:
        samples, outcomes, restarts = soak(args, Path(scratch))
    run |= {
        "requests": samples[-1][-1],
        "statuses": {name: outcome.statuses for name, outcome in outcomes.items()},
        "worker_restarts": restarts,
        "memory": flatness(samples),
    }
    results.save(run | {"samples": dict(zip(COLUMNS, zip(*samples, strict=True), strict=True))}, args.out, args.name)
    print(json.dumps(run))


if __name__ == "__main__":
    main()
