"""Send `me5 serve` the requests that cost the most, at random, and watch what they cost.

    python benchmarks/hostile.py                        # 2,000 requests, a few minutes
    python benchmarks/hostile.py --requests 100000 --skew 8   # large bodies rarer: 3 % above a megabyte, not 20 %

Starts a service of the bundled model (or asks the one at --url), sends every route bodies that are as large, as deep,
as many or as wrong as they come, and asks /health all the while. A client hangs up after --patience seconds, as hostile
ones do. Prints counts by status, percentiles of /health, and the memory of both processes before, at most, and after,
and writes them to benchmarks/results/hostile_NAME_MACHINE_DATE.json.
Ends with status 1 where a reply was a 500, the worker was restarted, or the service is gone. tests/service/test_cost.py
holds the worst bodies against limits.
"""

import argparse
import contextlib
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from harness import results
from harness.bodies import MIB, RERANK, ROUTES, SEARCH, random_request

GAVE_UP = "gave up"
PAUSE_S = 0.2  # between two looks at /health


@dataclass
class Watch:
    """/health and the memory of the processes, looked at until `over` is set. Bytes are (HTTP process, worker).

    `late` is by how much each pause of `PAUSE_S` was too long: what this process, or a busy machine, adds to a look.
    """

    url: str
    seconds: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    first: tuple[int, int] = (0, 0)
    most: tuple[int, int] = (0, 0)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self.first = self.most = resident(self.url)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()

    def _run(self) -> None:
        paused = time.perf_counter()
        while not self.over.wait(PAUSE_S):
            began = time.perf_counter()
            self.late.append(began - paused - PAUSE_S)
            try:
                status, _ = get(f"{self.url}/health")
                if status != 200:
                    self.failures.append(f"status {status}")
                self.seconds.append(time.perf_counter() - began)
                self.most = tuple(map(max, zip(self.most, resident(self.url), strict=True)))
            except OSError as error:
                self.failures.append(repr(error))
            paused = time.perf_counter()


def percentiles(seconds: list[float]) -> dict[str, int]:
    """Milliseconds within which half, 99 of 100, and all of them were."""
    ordered = sorted(seconds) or [0.0]
    shares = {"p50": 0.5, "p99": 0.99, "most": 1}
    return {
        name: round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]) for name, share in shares.items()
    }


def get(url: str) -> tuple[int, str]:
    """(status, text)."""
    try:
        with urllib.request.urlopen(url, timeout=600) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def resident(url: str) -> tuple[int, int]:
    """Bytes in memory of the HTTP process and of the worker."""
    text = get(f"{url}/metrics")[1]
    names = ("process_resident_memory_bytes", "me5_worker_process_resident_memory_bytes")
    first, second = (int(metric(text, name)) for name in names)
    return first, second


def post(url: str, path: str, content: bytes, patience: float = 600) -> tuple[int | str, str]:
    """(status, the reply's beginning); `GAVE_UP` after the seconds of patience; else the name of the error."""
    request = urllib.request.Request(f"{url}{path}", content, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=patience) as reply:
            return reply.status, reply.read(2000).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(2000).decode("utf-8", "replace")
    except TimeoutError:
        return GAVE_UP, ""
    except OSError as error:
        if isinstance(getattr(error, "reason", None), TimeoutError):
            return GAVE_UP, ""
        return type(error).__name__, str(error)


def failed(status: int | str) -> bool:
    """Whether that is no answer that a service may give."""
    return status == 500 or (isinstance(status, str) and status != GAVE_UP)


def send(url: str, requests: int, clients: int, patience: float, seed: int, skew: float) -> Counter[int | str]:
    """Send random requests from several threads; counts by status."""
    counts: Counter[int | str] = Counter()
    served = get(f"{url}/openapi.json")[1]
    routes = (*ROUTES, *(route for route in (SEARCH, *RERANK) if f'"{route[0]}"' in served))
    numbers, lock, began = iter(range(requests)), threading.Lock(), time.monotonic()

    def client() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            path, content = random_request(random.Random(seed * 1_000_003 + number), routes, skew=skew)
            status, text = post(url, path, content, patience)
            with lock:
                counts[status] += 1
                if failed(status):
                    print(f"request {number}, {path}, {len(content):,} bytes: {status} {text[:200]}", flush=True)
                if (done := counts.total()) % 100 == 0:
                    print(f"{done:,} requests, {time.monotonic() - began:.0f} s: {dict(counts)}", flush=True)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def started() -> tuple[subprocess.Popen[bytes], str]:
    """A service of its own on a free port, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "me5", "serve", "--port", str(port), "--threads", "1", "--log-level", "error"]
    process, url = subprocess.Popen(command, stdin=subprocess.DEVNULL), f"http://127.0.0.1:{port}"
    while process.poll() is None:
        with contextlib.suppress(OSError):
            if get(f"{url}/health")[0] == 200:
                return process, url
        time.sleep(0.2)
    raise SystemExit("the service did not start")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--patience", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skew", type=float, default=1.0, help="above 1, large bodies are rarer")
    parser.add_argument("--url", help="a running service; without it, one is started")
    parser.add_argument("--name", default="me5-small", help="the model's name in the file name")
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    asked = parser.parse_args()
    run, start = results.begin("hostile"), time.monotonic()
    process, url = (None, asked.url) if asked.url else started()
    try:
        post(url, "/tokenize", b'{"inputs": "a"}')  # loads what is loaded once: no growth under traffic
        with Watch(url) as watch:
            counts = send(url, asked.requests, asked.clients, asked.patience, asked.seed, asked.skew)
        time.sleep(1)
        restarts = metric(get(f"{url}/metrics")[1], "me5_worker_restarts_total")
        after = resident(url)
    finally:
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    run |= {
        "model": asked.name,
        "requests": asked.requests,
        "skew": asked.skew,
        "seconds": round(time.monotonic() - start),
        "statuses": {str(status): count for status, count in sorted(counts.items(), key=str)},
        "health_ms": percentiles(watch.seconds),
        "pause_late_ms": percentiles(watch.late),
        "health_failures": watch.failures[:5],
        "mib": {
            name: [round(size / MIB) for size in sizes]
            for name, sizes in (("before", watch.first), ("most", watch.most), ("after", after))
        },
        "worker_restarts": restarts,
    }
    results.save(run, asked.out, asked.name)
    print(json.dumps(run, indent=1))
    bad = restarts or watch.failures or any(map(failed, counts))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
