"""The load: a process that sends prepared requests to one server and notes how long each took.

Started by `start`; reads one job as JSON on stdin, writes one JSON line when done. It speaks HTTP/1.1 over plain
sockets and parses nothing but status and length, so that on a small machine the load takes little from the server.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from harness.processes import PACKAGE_ROOT

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Job:
    """`clients` connections share the bodies of `file` (one JSON document a line) and each waits for its reply.

    Every body is sent once; with `seconds` they are sent again and again for that long. `pause` is the wait of a client
    between its requests, in seconds.
    """

    port: int
    path: str
    file: str
    clients: int
    seconds: float = 0.0
    pause: float = 0.0


@dataclass
class Outcome:
    """Seconds of the whole job and of every request; statuses; the bytes of all replies."""

    seconds: float
    requests: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    received: int = 0

    @property
    def failures(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != "200")


@dataclass(frozen=True)
class Load:
    """A job at work. Its result goes into a file: a pipe that nobody reads yet holds the times of 3,000 requests."""

    process: subprocess.Popen
    output: IO[str]

    @property
    def over(self) -> bool:
        return self.process.poll() is not None


def start(job: Job, module: str = "harness.traffic") -> Load:
    """Begin a job in a process of its own; the module's clients do it."""
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by `finish`
    command = [sys.executable, "-m", module]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, text=True, cwd=PACKAGE_ROOT)
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(job)))
    process.stdin.close()
    return Load(process, output)


def finish(load: Load) -> Outcome:
    """What a job measured."""
    status = load.process.wait()
    with load.output as output:
        output.seek(0)
        line = output.read()
    if status or not line:
        raise RuntimeError(f"the load ended with {status}")
    return Outcome(**json.loads(line))


def run(job: Job) -> Outcome:
    return finish(start(job))


def write_bodies(path: Path, groups: list[list[str]], extra: dict[str, Any]) -> Path:
    """One OpenAI request for embeddings per group of texts."""
    with path.open("w", encoding="utf-8") as file:
        for group in groups:
            file.write(json.dumps({"input": group, "encoding_format": "base64"} | extra, ensure_ascii=False) + "\n")
    return path


def post(path: str, body: bytes) -> bytes:
    """A whole request."""
    fields = ("host: 127.0.0.1", "content-type: application/json", f"content-length: {len(body)}")
    return "\r\n".join((f"POST {path} HTTP/1.1", *fields, "", "")).encode() + body


async def read_head(reader: asyncio.StreamReader) -> tuple[str, int]:
    """Status of a reply, and the length of its body, which comes next."""
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return status.split()[1], int(headers["content-length"])


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[str, int]:
    """Send a request, read its reply: status and length of the body."""
    writer.write(request)
    status, length = await read_head(reader)
    await reader.readexactly(length)
    return status, length


async def drive(job: Job) -> Outcome:
    requests = [post(job.path, line.encode()) for line in Path(job.file).read_text(encoding="utf-8").splitlines()]
    outcome, statuses, turn = Outcome(0.0), Counter[str](), iter(range(sys.maxsize))
    began = time.perf_counter()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", job.port, limit=1 << 24)
        while True:
            number = next(turn)
            if number >= len(requests) and not job.seconds:
                break
            if job.seconds and time.perf_counter() - began >= job.seconds:
                break
            sent = time.perf_counter()
            status, length = await exchange(reader, writer, requests[number % len(requests)])
            outcome.requests.append(time.perf_counter() - sent)
            outcome.received += length
            statuses[status] += 1
            if job.pause:
                await asyncio.sleep(job.pause)
        writer.close()

    await asyncio.gather(*(client() for _ in range(job.clients)))
    outcome.seconds = time.perf_counter() - began
    outcome.statuses = dict(statuses)
    return outcome


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(drive(Job(**json.load(sys.stdin)))))))
