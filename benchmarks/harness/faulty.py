"""Faulty clients: they hang up within a body, before or within a reply, read or write slowly, or send bad bodies.

Started by `traffic.start`; reads one job as JSON on stdin, writes one JSON line when done. The job's file holds
requests with large replies.
"""

import asyncio
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path

from harness import bodies, traffic

CLOSED = "closed"  # by the server, before a whole reply
HUNG_UP = "hung up"  # by the client, as planned
SMALL = 16 * 1024  # bytes of the largest bad body
PATIENCE_S = 30  # of the server with a client that neither sends nor reads
PIECE = 4096  # bytes that a slow reader takes at once


async def connect(port: int, buffer: int | None = None) -> traffic.Streams:
    """A new connection; `buffer` bytes at most lie unread at the client, so that the rest waits at the server."""
    one = socket.socket()
    if buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=one, limit=buffer or 2**16)


async def hang_up_in_body(port: int, request: bytes) -> str:
    _, writer = await connect(port)
    writer.write(request[: len(request) // 2])
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.transport.abort()
    return HUNG_UP


async def hang_up_before_reply(port: int, request: bytes) -> str:
    _, writer = await connect(port)
    writer.write(request)
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    return HUNG_UP


async def hang_up_in_reply(port: int, request: bytes) -> str:
    reader, writer = await connect(port, PIECE)
    writer.write(request)
    await reader.readexactly(2000)
    writer.transport.abort()
    return HUNG_UP


async def read_slowly(port: int, request: bytes) -> str:
    reader, writer = await connect(port, PIECE)
    writer.write(request)
    status, left = await traffic.read_head(reader)
    while left:
        left -= len(await reader.read(min(PIECE, left)) or b"." * left)
        await asyncio.sleep(0.01)
    writer.close()
    return status


async def stop_reading(port: int, request: bytes) -> str:
    """Wait within the reply until the server has given up."""
    reader, writer = await connect(port, PIECE)
    writer.write(request)
    status, length = await traffic.read_head(reader)
    await asyncio.sleep(PATIENCE_S + 10)
    await reader.readexactly(length)
    writer.close()
    return status


async def write_slowly(port: int, request: bytes) -> str:
    reader, writer = await connect(port)
    size = len(request) // 20 + 1
    for start in range(0, len(request), size):
        writer.write(request[start : start + size])
        await writer.drain()
        await asyncio.sleep(0.2)
    return await finish(reader, writer)


async def never_finish_body(port: int, request: bytes) -> str:
    reader, writer = await connect(port)
    writer.write(request[:-10])
    return await finish(reader, writer)


async def send_bad_body(port: int, _: bytes) -> str:
    path, content = bodies.random_request(random.Random(), largest=SMALL)
    reader, writer = await connect(port)
    writer.write(traffic.post(path, content))
    return await finish(reader, writer)


async def finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Take the reply; its status."""
    status, length = await traffic.read_head(reader)
    await reader.readexactly(length)
    writer.close()
    return status


FAULTS: dict[Callable[[int, bytes], Awaitable[str]], int] = {
    hang_up_in_body: 3,
    hang_up_before_reply: 3,
    hang_up_in_reply: 3,
    read_slowly: 2,
    stop_reading: 1,
    write_slowly: 2,
    never_finish_body: 1,
    send_bad_body: 15,
}  # how often, beside the others


async def drive(job: traffic.Job) -> traffic.Outcome:
    lines = Path(job.file).read_text(encoding="utf-8").splitlines()
    requests = [traffic.post(job.path, line.encode()) for line in lines]
    outcome, statuses, began = traffic.Outcome(0.0), Counter[str](), time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - began < job.seconds:
            fault = random.choices(list(FAULTS), list(FAULTS.values()))[0]
            sent = time.perf_counter()
            try:
                result = await fault(job.port, random.choice(requests))
            except (OSError, asyncio.IncompleteReadError):
                result = CLOSED
            outcome.requests.append(time.perf_counter() - sent)
            statuses[f"{fault.__name__}: {result}"] += 1
            await asyncio.sleep(job.pause)

    await asyncio.gather(*(client() for _ in range(job.clients)))
    outcome.seconds, outcome.statuses = time.perf_counter() - began, dict(sorted(statuses.items()))
    return outcome


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(drive(traffic.Job(**json.load(sys.stdin)))))))
