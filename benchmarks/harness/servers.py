"""The servers under test: how each is started, asked and ended, and how much memory its processes hold."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.processes import EngineError, environment, last_line

MODEL = "benchmark"  # the name that every server serves the model under
START_S = 180.0


@dataclass(frozen=True)
class Kind:
    """How to start one server: its command behind the interpreter, and where it takes requests for embeddings."""

    name: str
    title: str
    command: tuple[str, ...]  # {model}, {port} and {threads} are filled in
    path: str
    health: str
    packages: tuple[str, ...]


_ME5 = (
    "-m", "me5", "serve", "--model", "{model}", "--served-name", MODEL, "--port", "{port}", "--threads", "{threads}",
    "--prompts", "none",
)  # fmt: skip
ME5 = Kind("me5", "me5 serve", _ME5, "/v1/embeddings", "/health", ("me5", "openvino", "uvicorn"))
_INFINITY = (
    "-c", "from infinity_emb.cli import cli; cli()", "v2", "--model-id", "{model}", "--served-model-name", MODEL,
    "--port", "{port}", "--host", "127.0.0.1", "--device", "cpu", "--engine", "torch",
)  # fmt: skip
_INFINITY_PACKAGES = ("infinity-emb", "sentence-transformers", "transformers", "torch")
KINDS = {
    kind.name: kind
    for kind in (
        Kind("infinity", "infinity", _INFINITY, "/embeddings", "/health", _INFINITY_PACKAGES),
        Kind(
            "infinity-bf16",
            "infinity, bfloat16",
            (*_INFINITY, "--dtype", "bfloat16"),
            "/embeddings",
            "/health",
            _INFINITY_PACKAGES,
        ),
    )
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server. Its processes are a session of their own, ended together."""

    def __init__(self, kind: Kind, python: str, model: Path, cpus: list[int], options: list[str], log: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self.log = log
        filled = {"model": str(model), "port": str(self.port), "threads": str(len(cpus))}
        command = [python, *(part.format(**filled) if "{" in part else part for part in kind.command), *options]
        quiet = {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "ME5_LOG_LEVEL": "warning"}
        with log.open("w") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment(len(cpus)) | quiet, start_new_session=True
            )
        os.sched_setaffinity(self.process.pid, cpus)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise EngineError(f"{self.kind.name} ended with {self.process.returncode}: {last_line(self.log)}")
            try:
                if self.get(self.kind.health)[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        self.stop()
        raise EngineError(f"{self.kind.name} was not ready after {START_S:.0f} s: {last_line(self.log)}")

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def embed(self, texts: list[str]) -> list[str]:
        """The vectors of a few texts, in base64."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            body = json.dumps({"input": texts, "model": MODEL, "encoding_format": "base64"})
            connection.request("POST", self.kind.path, body, {"content-type": "application/json"})
            reply = json.load(connection.getresponse())
            return [row["embedding"] for row in reply["data"]]
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """The sum over all series of one of the server's metrics; 0 where it has none of that name."""
        _, text = self.get("/metrics")
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))

    def stop(self) -> None:
        for sign, patience in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(patience)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue
            return


def family(pid: int) -> list[int]:
    """A process and all that it started, as they are now."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it ended meanwhile
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def memory(pid: int) -> int:
    """Bytes of memory that a process has for itself; 0 once it is gone.

    Without mapped files: each word that is met for the first time adds a page of the weights', and the system drops
    those where it needs the memory.
    """
    try:
        _, resident, shared = map(int, Path(f"/proc/{pid}/statm").read_text().split()[:3])
    except OSError:
        return 0
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
