"""Engines that misbehave on cue, for the worker's process. What they do follows from the ids in a batch.

Each function is an opener: see `me5.service.worker.EngineOptions`. Its `folder` is a scratch folder here, for what
must outlive a crash.
"""

import os
import signal
import time
from pathlib import Path

import numpy as np

from me5.engine.base import Engine
from me5.engine.fake import FakeEngine
from me5.errors import CheckpointError, EngineError

DIM, BUNDLED_DIM = 8, 384
# Where this variable names a file, no batch runs before the file is there: nothing needs luck with time.
GATE = "ME5_TEST_GATE"
# Token ids that make an engine do something else than embed.
KILL, FAIL, BUG, SLEEP, KILL_ONCE, NOT_FINITE = 900, 901, 902, 903, 904, 905


class CuedEngine(Engine):
    """A `FakeEngine` that dies, fails or dawdles when it meets the id for it. It writes down what it runs."""

    precision = "f32"
    batch_tokens = 64

    def __init__(self, folder, seconds=0.0):
        self.dim = DIM
        self._folder = Path(folder)
        self._fake = FakeEngine(DIM)
        self._seconds = seconds

    def embed(self, sequences):
        self._wait()
        self._act(sequences)
        return self._fake.embed(sequences)

    def states(self, sequences):
        self._wait()
        self._act(sequences)
        return self._fake.states(sequences)

    def _wait(self):
        gate = os.environ.get(GATE)
        while gate and not Path(gate).exists():
            time.sleep(0.005)

    def _act(self, sequences):
        ids = {int(token) for sequence in sequences for token in sequence}
        with (self._folder / "batches").open("a") as file:
            file.write(f"{len(sequences)}\n")
        time.sleep(self._seconds)
        if KILL in ids or (KILL_ONCE in ids and self._first_time()):
            os.kill(os.getpid(), signal.SIGKILL)
        if FAIL in ids:
            raise EngineError("the engine said no")
        if BUG in ids:
            raise ZeroDivisionError("a bug of the engine")
        if SLEEP in ids:
            time.sleep(3600)

    def _first_time(self):
        flag = self._folder / "killed"
        if flag.exists():
            return False
        flag.touch()
        return True


def cued(plan):
    return CuedEngine(plan.folder), "mean"


def slow(plan):
    """50 milliseconds a batch."""
    return CuedEngine(plan.folder, 0.05), "mean"


def unloadable(plan):
    raise CheckpointError("the weights are gone")


def loads_once(plan):
    """Loads the first time only."""
    flag = Path(plan.folder) / "loaded"
    if flag.exists():
        raise CheckpointError("the weights are gone")
    flag.touch()
    return CuedEngine(plan.folder), "mean"


def dies_loading(plan):
    os._exit(3)


class WideEngine(CuedEngine):
    """As wide as the bundled model, and deaf to cues."""

    def __init__(self, seconds=0.0):
        super().__init__("", seconds)
        self.dim = BUNDLED_DIM
        self._fake = FakeEngine(BUNDLED_DIM)

    def _act(self, sequences):
        time.sleep(self._seconds)


def fake(plan):
    return WideEngine(), "mean"


def slow_as_wide(plan):
    """50 milliseconds a batch."""
    return WideEngine(0.05), "mean"


def ids(*tokens):
    """A sequence of token ids."""
    return np.array(tokens, np.int64)
