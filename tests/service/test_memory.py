"""Memory of the service's processes under traffic: it settles. benchmarks/soak.py watches it for an hour."""

import re

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
