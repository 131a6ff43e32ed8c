"""The dispatcher and its worker's process: results reach who asked, and a crash costs nobody but its culprit."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import engines
import numpy as np
import pytest
from engines import ids
from waiting import PATIENCE, until

from me5.engine.fake import FakeEngine
from me5.errors import CheckpointError, EngineError
from me5.service import dispatch
from me5.service.dispatch import Dispatcher
from me5.service.errors import Overloaded, Unhealthy
from me5.service.queue import Job
from me5.service.worker import EngineOptions, Worker


@dataclass
class Seen:
    """What an observer is told."""

    batches: list[dict] = field(default_factory=list)
    restarts: int = 0

    def batch(self, **figures):
        self.batches.append(figures)

    def worker_restarted(self):
        self.restarts += 1


class Asked:
    """A request on its way."""

    def __init__(self, dispatcher, *sequences, **options):
        self._over = threading.Event()
        self._error = None
        self.job = Job(sequences, **options, done=self._done)
        dispatcher.submit(self.job)

    def _done(self, error):
        self._error = error
        self._over.set()

    @property
    def over(self):
        return self._over.is_set()

    def result(self):
        assert self._over.wait(PATIENCE), "no answer"
        if self._error:
            raise self._error
        rows = self.job.rows
        return [rows[index] for index in range(len(rows))]


@pytest.fixture
def seen():
    return Seen()


@pytest.fixture
def started(tmp_path, seen):
    """Start a dispatcher over an opener of `engines`."""
    made = []

    def start(opener="cued", **options):
        plan = EngineOptions(str(tmp_path), "test", opener=f"engines:{opener}")
        one = Dispatcher(plan, **{"max_tokens": 10_000, "observer": seen} | options)
        made.append(one)
        one.start()
        return one

    yield start
    for one in made:
        one.stop(0)


def expected(*sequences):
    return FakeEngine(engines.DIM).embed(sequences)


def test_requests_of_many_threads_get_their_own_vectors(started, seen):
    dispatcher = started()
    rng = np.random.default_rng(0)
    inputs = [[rng.integers(0, 800, rng.integers(1, 30)) for _ in range(rng.integers(1, 12))] for _ in range(40)]
    found = [None] * len(inputs)

    def ask(at):
        found[at] = np.concatenate(Asked(dispatcher, *inputs[at], caller=str(at % 3), urgent=at % 2 == 0).result())

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for vectors, sequences in zip(found, inputs, strict=True):
        np.testing.assert_array_equal(vectors, expected(*sequences))
    assert sum(batch["tokens"] for batch in seen.batches) == sum(len(ids) for some in inputs for ids in some)
    assert all(batch["tokens"] <= batch["cells"] for batch in seen.batches)


def test_states_and_raw_vectors(started):
    dispatcher, sequences = started(), [ids(1, 2, 3), ids(4)]
    states = Asked(dispatcher, *sequences, output="states").result()
    assert [state.shape for state in states] == [(3, engines.DIM), (1, engines.DIM)]
    raw = np.concatenate(Asked(dispatcher, *sequences, output="raw").result())
    np.testing.assert_array_equal(raw, [state.mean(axis=0) for state in states])


def test_a_worker_that_is_stopped_while_it_loads_is_closed_by_one_thread_at_a_time(tmp_path, monkeypatch):
    # Two closes at once close a descriptor twice, and the second may be a file that was opened in between.
    closing, overlapped, close = threading.Lock(), [], Worker.close

    def watched(worker):
        if not closing.acquire(blocking=False):
            overlapped.append(worker)
            return
        threading.Event().wait(0.2)  # as long as another thread may need to get here
        close(worker)
        closing.release()

    monkeypatch.setattr(Worker, "close", watched)
    one = Dispatcher(EngineOptions(str(tmp_path), "test", opener="engines:slow"), max_tokens=10)
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(one.start)
        until(lambda: one.worker_pid)
        one.stop(0)
        with pytest.raises(EngineError, match="while it loaded the model"):
            starting.result()
    assert not overlapped


@pytest.mark.parametrize(("cue", "said"), [(engines.FAIL, "the engine said no"), (engines.BUG, "ZeroDivisionError")])
def test_a_batch_that_fails_costs_its_culprit_only(started, seen, gate, cue, said):
    dispatcher = started()
    first = Asked(dispatcher, ids(1))
    until(lambda: dispatcher.load().running)  # so that the others share a batch
    asked = [Asked(dispatcher, ids(at, 7)) for at in range(2, 6)]
    culprit = Asked(dispatcher, ids(cue))
    gate.touch()
    with pytest.raises(EngineError, match=said):
        culprit.result()
    for at, one in enumerate(asked, 2):
        np.testing.assert_array_equal(np.concatenate(one.result()), expected(ids(at, 7)))
    first.result()
    assert seen.restarts == 0


def test_a_crash_costs_its_culprit_only(started, seen, gate):
    dispatcher = started()
    before = dispatcher.worker_pid
    first = Asked(dispatcher, ids(1))
    until(lambda: dispatcher.load().running)
    asked = [Asked(dispatcher, ids(at, 7)) for at in range(2, 6)]
    culprit = Asked(dispatcher, ids(engines.KILL))
    gate.touch()
    with pytest.raises(EngineError, match=r"given up.*killed by signal 9"):
        culprit.result()
    for at, one in enumerate(asked, 2):
        np.testing.assert_array_equal(np.concatenate(one.result()), expected(ids(at, 7)))
    first.result()
    until(lambda: dispatcher.state == "ready")
    assert dispatcher.worker_pid != before
    assert seen.restarts >= 2  # once with its neighbours, once alone


def test_a_crash_by_chance_costs_nobody(started, seen):
    dispatcher = started()
    asked = Asked(dispatcher, ids(engines.KILL_ONCE, 5))
    np.testing.assert_array_equal(np.concatenate(asked.result()), expected(ids(engines.KILL_ONCE, 5)))
    assert seen.restarts == 1


def test_a_worker_that_dies_idle_is_replaced_before_a_request_meets_it(started, seen):
    dispatcher = started()
    before = dispatcher.worker_pid
    os.kill(before, signal.SIGKILL)
    until(lambda: seen.restarts == 1 and dispatcher.state == "ready")
    assert dispatcher.worker_pid not in (None, before)
    Asked(dispatcher, ids(1)).result()


def test_a_worker_that_hangs_is_replaced(started, seen, monkeypatch):
    monkeypatch.setattr(dispatch, "PATIENCE", 0.3)
    dispatcher = started()
    with pytest.raises(EngineError, match=r"gave no answer for 0\.3 seconds"):
        Asked(dispatcher, ids(engines.SLEEP)).result()
    monkeypatch.undo()
    Asked(dispatcher, ids(1)).result()


def test_an_engine_that_does_not_load_is_told_at_the_start(started):
    with pytest.raises(CheckpointError, match="the weights are gone"):
        started("unloadable")
    with pytest.raises(EngineError, match="exited with 3 while it loaded"):
        started("dies_loading")


def test_a_model_that_no_longer_loads_is_told_to_every_request(started, monkeypatch):
    monkeypatch.setattr(dispatch, "FIRST_PAUSE", 0.01)
    dispatcher = started("loads_once")
    with pytest.raises(Unhealthy, match="the weights are gone"):
        Asked(dispatcher, ids(engines.KILL)).result()
    assert dispatcher.state == "broken"
    with pytest.raises(Unhealthy, match="does not load any more"):
        Asked(dispatcher, ids(1))


def test_more_than_may_wait_is_refused_with_the_seconds_to_wait(started, gate):
    dispatcher = started(max_tokens=64)
    running = Asked(dispatcher, *[ids(*range(1, 33))] * 2)
    until(lambda: dispatcher.load().running)
    waiting = Asked(dispatcher, *[ids(*range(1, 31))] * 2)
    with pytest.raises(Overloaded, match="60 tokens wait for the engine, and 5 more would exceed") as caught:
        Asked(dispatcher, ids(*range(1, 6)))
    assert caught.value.retry_after >= 1
    gate.touch()
    running.result()
    waiting.result()


def test_a_cancelled_request_leaves_nothing_behind(started, tmp_path, gate):
    dispatcher = started()
    first = Asked(dispatcher, ids(1))
    until(lambda: dispatcher.load().running)
    gone = Asked(dispatcher, *[ids(2, 3)] * 200)
    dispatcher.cancel(gone.job)
    assert dispatcher.load().tokens == 0
    gate.touch()
    first.result()
    Asked(dispatcher, ids(4)).result()
    assert not gone.over
    assert sum(map(int, (tmp_path / "batches").read_text().split())) == 2


def test_stopping_finishes_what_waits_and_refuses_the_rest(started, gate):
    dispatcher = started()
    asked = [Asked(dispatcher, *[ids(at, 5)] * 10) for at in range(5)]
    stopping = threading.Thread(target=dispatcher.stop, args=(PATIENCE,))
    stopping.start()
    until(lambda: dispatcher.state == "draining")
    with pytest.raises(Unhealthy, match="draining"):
        Asked(dispatcher, ids(1))
    gate.touch()
    stopping.join()
    assert all(len(one.result()) == 10 for one in asked)


def test_stopping_without_patience_tells_those_who_wait(started, gate):
    dispatcher = started()
    asked = Asked(dispatcher, *[ids(1)] * 1000)
    dispatcher.stop(0)
    with pytest.raises(Unhealthy, match="ended before"):
        asked.result()


def test_the_worker_ends_with_the_service(tmp_path):
    """Even when the service is killed."""
    import subprocess
    import sys

    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from me5.service.dispatch import Dispatcher\n"
        "from me5.service.worker import EngineOptions\n"
        "one = Dispatcher(EngineOptions(sys.argv[2], 'test', opener='engines:cued'), max_tokens=100)\n"
        "one.start(); print(one.worker_pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(Path(engines.__file__).parent), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as service:
        worker = int(service.stdout.readline())
        service.kill()
    until(lambda: not alive(worker))


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
