"""The worker of a service under load, killed at random moments: every request is answered, with the same vectors."""

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.killed_commands import session
from harness.servers import ME5, Server, family

TEXTS = 64
CLIENTS = 4


@dataclass
class Answers:
    """What clients met: counts by outcome, and texts whose vectors were others than before the first kill."""

    outcomes: Counter[str] = field(default_factory=Counter)
    differ: int = 0
    over: threading.Event = field(default_factory=threading.Event)


def ask(server: Server, number: int, texts: list[str], truth: list[str], answers: Answers) -> None:
    """Send requests of some of the texts until it is over."""
    draw = random.Random(number)
    while not answers.over.is_set():
        places = draw.choices(range(len(texts)), k=draw.randint(1, TEXTS))
        try:
            found = server.embed([texts[place] for place in places])
        except (OSError, KeyError, ValueError) as error:
            answers.outcomes[f"{type(error).__name__}: {error}"[:100]] += 1
            continue
        answers.outcomes["answered"] += 1
        answers.differ += [truth[place] for place in places] != found


def worker_of(server: Server) -> int | None:
    """The engine's process, once there is one again."""
    for pid in family(server.process.pid)[1:]:
        with suppress(OSError):
            if b"me5.service.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return None


def kill_worker(model: Path, texts: list[str], scratch: Path, kills: int) -> str:
    """Kill it so often, each time after it has answered again for a moment; what was seen, as JSON."""
    server, draw, left = Server(ME5, sys.executable, model, [0], [], scratch / "server.log"), random.Random(0), 0
    try:
        truth, answers = server.embed(texts), Answers()
        clients = [threading.Thread(target=ask, args=(server, at, texts, truth, answers)) for at in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(kills):
            time.sleep(0.5 + draw.random())
            pid = worker_of(server)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            left += len(session(pid))
            while worker_of(server) in (None, pid) or server.get(ME5.health)[0] != 200:
                time.sleep(0.1)
        time.sleep(1)
        answers.over.set()
        for client in clients:
            client.join()
        restarts = server.metric("me5_worker_restarts_total")
    finally:
        server.stop()
    told = {"case": "worker", "kills": kills, "restarts": restarts, "requests": dict(answers.outcomes)}
    return json.dumps(told | {"vectors_that_differ": answers.differ, "processes_left": left})
