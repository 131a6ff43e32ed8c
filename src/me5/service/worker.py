"""The engine in a process of its own: batches go in, vectors or hidden states come out.

A crash of the engine, or the kernel's kill for memory, then costs a batch and not the service. The process is a fresh
interpreter in a session of its own, so that neither Ctrl-C nor a signal to the group ends it before the service has
drained; when the service ends, however it does, it ends itself at once.

Batches and results are arrays of numbers over a socket; only the options and the engine's answer to them are JSON.
"""

import importlib
import json
import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import IO, Any

import numpy as np

from me5 import errors
from me5.checkpoint import Pooling, read
from me5.engine import MEASURED, Precision, open_engine
from me5.engine.base import Engine, TokenIds
from me5.errors import EngineError, Me5Error
from me5.interpreter import start
from me5.pairs import PairPreprocessor
from me5.preprocessor import Preprocessor
from me5.prompts import NONE
from me5.service.queue import OUTPUTS, Output
from me5.vectors import Float32

# How often a process that works is looked at, in seconds.
GLANCE = 0.5
# Bytes of a line that its libraries write, such as an error of native code; the rest is another line.
_LINE_BYTES = 4096

log = logging.getLogger(__name__)

# A reply is two numbers, whether it worked and the microseconds, and then float32 rows or the error's text.
_HEAD_BYTES = 8


class WorkerDied(Exception):  # noqa: N818
    """The process ended or hangs; what it was given is lost."""


@dataclass(frozen=True)
class EngineOptions:
    """Which engine to open. `opener` is `module:function`, called with these options for an engine and its pooling."""

    folder: str
    name: str
    precision: Precision = "auto"
    threads: int | None = None
    device: str = "cpu"
    opener: str = "me5.service.worker:open_model"


@dataclass(frozen=True)
class EngineInfo:
    """The engine's properties: see `Engine`."""

    dim: int
    precision: str
    batch_tokens: int
    stride: int


class Worker:
    """One engine's process, as the service sees it. Batches are answered in order. For one thread, but for `kill`."""

    def __init__(self, options: EngineOptions) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = start(
                f"from me5.service.worker import serve; serve({theirs.fileno()})",
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=[theirs.fileno()],
            )  # fmt: skip
        self.pid = self._process.pid
        if self._process.stderr:
            threading.Thread(target=_relay, args=(self._process.stderr,), name="me5-worker-log", daemon=True).start()
        self._connection = Connection(ours.detach())
        self._send(json.dumps(asdict(options)).encode())

    def ready(self) -> EngineInfo:
        """Wait until the engine has loaded. Raises its error, such as `CheckpointError`, or `WorkerDied`."""
        reply: dict[str, Any] = json.loads(self._receive(None))
        if "error" in reply:
            raise getattr(errors, reply["error"])(reply["text"])
        return EngineInfo(**reply)

    def send(self, sequences: Sequence[TokenIds], output: Output) -> None:
        """Give it a batch, as `Engine.embed` takes it."""
        head = [OUTPUTS.index(output), len(sequences), *map(len, sequences)]
        self._send(np.concatenate([np.array(head, np.uint32), *sequences], dtype=np.uint32, casting="unsafe").tobytes())

    def receive(self, patience: float) -> tuple[Float32, float]:
        """The oldest batch's numbers in one row, and the engine's seconds.

        They are a vector for each sequence, or for `states` for each token. Raises the batch's `EngineError`, or
        `WorkerDied`, also after `patience` seconds.
        """
        reply = self._receive(patience)
        failed, microseconds = np.frombuffer(reply, np.uint32, 2).tolist()
        if failed:
            raise EngineError(reply[_HEAD_BYTES:].decode())
        return np.frombuffer(reply, np.float32, offset=_HEAD_BYTES), microseconds / 1e6

    def check(self) -> None:
        """Raise `WorkerDied` where the process has ended or was stopped by a signal."""
        if self._process.poll() is not None:
            raise self._died()
        self._check_stopped()

    def close(self) -> None:
        """End the process and wait for it."""
        self.kill()
        self._process.wait()
        self._connection.close()
        if self._process.stdin:
            self._process.stdin.close()

    def kill(self) -> None:
        """End the process now; from any thread."""
        self._process.kill()

    def _send(self, message: bytes) -> None:
        try:
            self._connection.send_bytes(message)
        except OSError as error:
            raise self._died() from error

    def _receive(self, patience: float | None) -> bytes:
        waited = 0.0
        try:
            while not self._connection.poll(glance := GLANCE if patience is None else min(GLANCE, patience)):
                self._check_stopped()
                waited += glance  # and not the clock, which goes on while this process itself is stopped
                if patience is not None and waited >= patience:
                    self.kill()
                    raise WorkerDied(f"the engine's process gave no answer for {patience:g} seconds")
            return self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._died() from error

    def _check_stopped(self) -> None:
        if os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT):
            self.kill()
            raise WorkerDied("the engine's process was stopped by a signal")

    def _died(self) -> WorkerDied:
        self.kill()  # it closed the connection: whatever it still does is for nobody
        status = self._process.wait()
        how = f"was killed by signal {-status} ({signal.strsignal(-status)})" if status < 0 else f"exited with {status}"
        return WorkerDied(f"the engine's process {how}")


def _relay(stream: IO[bytes]) -> None:
    """Put what the process writes into the service's log; it knows no text."""
    with stream:
        while line := stream.readline(_LINE_BYTES):
            if text := line.decode("utf-8", "replace").strip():
                log.warning("engine: %s", text)


def open_model(options: EngineOptions) -> tuple[Engine, Pooling]:
    """The engine of a checkpoint's folder."""
    checkpoint = read(Path(options.folder), name=options.name)
    probes: Sequence[TokenIds] = ()
    if options.precision in MEASURED:
        paired = checkpoint.config.head is not None
        reader = PairPreprocessor(checkpoint) if paired else Preprocessor(checkpoint, prompts=NONE)
        probes = reader.probes().sequences
    engine = open_engine(
        checkpoint, precision=options.precision, threads=options.threads, device=options.device, probes=probes
    )
    return engine, checkpoint.config.pooling


def serve(descriptor: int) -> None:
    """What the process does: open an engine, and run batches until the service goes away."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a supervisor may signal every process of the service
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    connection = Connection(descriptor)
    options = EngineOptions(**json.loads(connection.recv_bytes()))
    try:
        module, _, function = options.opener.partition(":")
        engine, pooling = getattr(importlib.import_module(module), function)(options)
    except Me5Error as error:
        connection.send_bytes(json.dumps({"error": type(error).__name__, "text": str(error)}).encode())
        return
    about = EngineInfo(engine.dim, engine.precision, engine.batch_tokens, engine.stride)
    connection.send_bytes(json.dumps(asdict(about)).encode())
    while True:
        try:
            batch = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(_answer(engine, pooling, batch))


def _end_with_the_service() -> None:
    """Wait on standard input, of which the service holds the other end; also while the engine loads or computes."""
    os.read(0, 1)
    os._exit(0)


def _answer(engine: Engine, pooling: Pooling, batch: bytes) -> bytes:
    """Run a batch. No exception ends the process: the next batch may be a better one."""
    started = perf_counter()
    try:
        rows = _run(engine, pooling, batch)
    except Exception as error:
        text = str(error) if isinstance(error, EngineError) else f"the engine failed: {type(error).__name__}: {error}"
        return np.array([1, 0], np.uint32).tobytes() + text.encode()
    microseconds = min(int((perf_counter() - started) * 1e6), 2**32 - 1)
    return np.array([0, microseconds], np.uint32).tobytes() + rows.tobytes()


def _run(engine: Engine, pooling: Pooling, batch: bytes) -> Float32:
    numbers = np.frombuffer(batch, np.uint32).astype(np.int64)
    output, count = numbers[:2].tolist()
    lengths, ids = np.split(numbers[2:], [count])
    sequences = np.split(ids, np.cumsum(lengths)[:-1])
    if OUTPUTS[output] == "unit":
        return engine.embed(sequences)
    states = engine.states(sequences)
    if OUTPUTS[output] == "raw":
        return np.stack([state.mean(axis=0) if pooling == "mean" else state[0] for state in states])
    return np.concatenate(states)
