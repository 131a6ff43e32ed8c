"""Workers as processes of this machine: part numbers go in by a pipe, what became of them comes out as lines of JSON.

A worker that dies, in native code or by the kernel for its memory, costs an attempt and is started again. When the
driver ends, however it does, its workers end themselves.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from time import monotonic
from typing import Any

from me5.bulk.dispatch import Deaths
from me5.bulk.folders import folder_of
from me5.bulk.job import Job, open_job
from me5.bulk.model import Model
from me5.bulk.worker import Outcome, Worker, open_worker
from me5.cores import cores
from me5.engine import device_names
from me5.errors import Me5Error
from me5.interpreter import start
from me5.progress import Advance

# Seconds between two reports of a worker's progress.
_REPORT = 1.0


class Processes:
    """A pool of worker processes; see `dispatch.Pool`. On CPUs they share the cores, on GPUs each has its own."""

    def __init__(self, job: Job, model: Model, size: int, advance: Advance) -> None:
        self.size = size
        self._job, self._advance = job, advance
        self._models = _spread(model, size)
        self._workers: dict[int, subprocess.Popen[bytes]] = {}
        self._parts: dict[int, int] = {}
        self._lines: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self._listeners: list[threading.Thread] = []
        self._deaths = Deaths(size)

    def submit(self, number: int) -> None:
        """See `Pool.submit`."""
        slot = next(slot for slot in range(self.size) if slot not in self._parts)
        if slot not in self._workers:
            self._workers[slot] = self._started(slot)
        self._parts[slot] = number
        _tell(self._workers[slot], number)

    def wait(self) -> Outcome:
        """See `Pool.wait`."""
        while True:
            slot, line = self._lines.get()
            if not line:
                if slot in self._parts:
                    return self._died(slot)
                continue
            said = json.loads(line)
            if "progress" in said:
                self._advance(*said["progress"])
                continue
            del self._parts[slot]
            outcome = Outcome(**said)
            self._deaths.ended(outcome)
            return outcome

    def close(self) -> None:
        """End all workers at once, whatever they are doing."""
        for worker in self._workers.values():
            worker.kill()
            _ended(worker)
        for listener in self._listeners:
            listener.join()

    def _started(self, slot: int) -> "subprocess.Popen[bytes]":
        worker = start(f"from {__name__} import serve; serve()", stdout=subprocess.PIPE)
        model = self._models[slot]
        _tell(worker, {"folder": self._job.folder.url, "device": model.device, "threads": model.threads})
        self._listeners.append(threading.Thread(target=self._listen, args=(slot, worker), daemon=True))
        self._listeners[-1].start()
        return worker

    def _listen(self, slot: int, worker: "subprocess.Popen[bytes]") -> None:
        assert worker.stdout is not None
        with worker.stdout:
            for line in worker.stdout:
                self._lines.put((slot, line))
        self._lines.put((slot, b""))

    def _died(self, slot: int) -> Outcome:
        worker, number = self._workers.pop(slot), self._parts.pop(slot)
        code = _ended(worker)
        why = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with the exit code {code}"
        hint = "; it may have needed more memory than there is" if code == -signal.SIGKILL else ""
        return Outcome(number, error=f"the worker {why}{hint}", fatal=self._deaths.count())


@contextmanager
def processes(job: Job, model: Model, size: int, advance: Advance) -> Iterator[Processes]:
    """A pool of worker processes, which end with the block."""
    pool = Processes(job, model, size, advance)
    try:
        yield pool
    finally:
        pool.close()


def serve() -> None:
    """Be a worker: read a job and then part numbers from standard input, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is not an answer
    given = json.loads(sys.stdin.buffer.readline())
    numbers: queue.Queue[int] = queue.Queue()
    threading.Thread(target=_read, args=(numbers,), daemon=True).start()
    report = _Report(answers)
    worker: Worker | None = None
    while True:
        number = numbers.get()
        try:
            worker = worker or open_worker(open_job(folder_of(given["folder"])), given["device"], given["threads"])
        except Me5Error as error:
            report.say(asdict(Outcome(number, error=str(error), fatal=True)))
            continue
        report.say(asdict(worker.run(number, report.advance)))


class _Report:
    def __init__(self, answers: Any) -> None:
        self._answers = answers
        self._texts = self._tokens = 0
        self._said = monotonic()

    def say(self, value: Any) -> None:
        self._answers.write(json.dumps(value).encode() + b"\n")
        self._answers.flush()

    def advance(self, texts: int, tokens: int) -> None:
        self._texts, self._tokens = self._texts + texts, self._tokens + tokens
        if monotonic() - self._said >= _REPORT:
            self.say({"progress": [self._texts, self._tokens]})
            self._texts = self._tokens = 0
            self._said = monotonic()


def _read(numbers: "queue.Queue[int]") -> None:
    """Take part numbers; when the driver is gone, end at once, in the middle of a part too."""
    for line in sys.stdin.buffer:
        numbers.put(json.loads(line))
    os._exit(0)


def _tell(worker: "subprocess.Popen[bytes]", value: Any) -> None:
    assert worker.stdin is not None
    with suppress(BrokenPipeError):  # it has died, which its other pipe tells
        worker.stdin.write(json.dumps(value).encode() + b"\n")
        worker.stdin.flush()


def _ended(worker: "subprocess.Popen[bytes]") -> int:
    assert worker.stdin is not None
    with suppress(BrokenPipeError):
        worker.stdin.close()
    return worker.wait()


def _spread(model: Model, size: int) -> list[Model]:
    """The model of each worker: a GPU of its own, or a share of the cores."""
    devices = device_names(model.device)
    if model.device != "cpu":
        return [model.on(devices[slot % len(devices)]) for slot in range(size)]
    threads = model.threads or max(1, cores() // size)
    return [model.on(model.device, threads)] * size
