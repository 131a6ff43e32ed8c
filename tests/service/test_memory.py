"""Memory of the service's processes under traffic: it settles. benchmarks/soak.py watches it for an hour."""

import ctypes
import re
import subprocess
import sys

import pytest

LONG = "one two three four five " * 20  # several chunks for a model that reads 64 tokens
BODIES = (
    {"input": "how tall is K2?", "side": "query"},
    {"input": ["a b c", LONG, "南瓜的家常做法"] * 2, "truncation": "chunk"},
    {"input": ["a"] * 64, "encoding_format": "base64"},
    {"input": ["a", 3]},
)
# Allocators keep some of what they had; a leak of a request's texts or vectors would be several times this.
ROOM = 24 * 2**20


def resident(client):
    """Bytes of the HTTP process and of the engine's."""
    text = client.get("/metrics").text
    names = ("process_resident_memory_bytes", "me5_worker_process_resident_memory_bytes")
    return [float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1]) for name in names]


def test_memory_settles(launch):
    with launch("--max-tokens", "64").client() as client:

        def traffic(rounds):
            for _ in range(rounds):
                for body in BODIES:
                    assert client.post("/v1/embeddings", json=body).status_code in (200, 400)

        traffic(30)
        before = resident(client)
        traffic(100)
        after = resident(client)
    growth = [late - early for early, late in zip(before, after, strict=True)]
    assert max(growth) < ROOM, growth


SMALL_BLOCKS = """
import asyncio, resource, threading
from pathlib import Path
from me5.service import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def leave_gaps():  # in the heap of this thread, before a block that stays
    kept.extend([bytes(1000) for _ in range(60_000)][::64])

async def use():
    task = asyncio.create_task(memory.keep_giving_back())
    while resident() > full - 40e6:
        await asyncio.sleep(0.01)
    task.cancel()

kept, memory._PAUSE_S, memory._BUSY_S = [], 0.01, -1.0
thread = threading.Thread(target=leave_gaps)
thread.start()
thread.join()
full = resident()
asyncio.run(asyncio.wait_for(use(), 60))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library knows no malloc_trim")
def test_what_small_blocks_left_free_is_given_back():
    done = subprocess.run([sys.executable, "-c", SMALL_BLOCKS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
