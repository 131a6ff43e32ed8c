"""One thread carries batches from the queue to the worker and results to who waits, and replaces a worker that dies.

A batch is made when the worker can take it, of what waits by then. One runs; where batches are short, a second lies
ready at the worker. When a batch fails or takes its worker with it, each of its requests runs once more, alone: the
request that fails alone too is given up, and its neighbours never notice.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Literal, Protocol

from me5.errors import EngineError, Me5Error
from me5.service.errors import Overloaded, Unhealthy
from me5.service.queue import EngineBatch, Job, Queue
from me5.service.worker import EngineInfo, EngineOptions, Worker, WorkerDied
from me5.vectors import Float32

State = Literal["starting", "ready", "draining", "broken"]

# While batches are shorter than this, in seconds, the next one lies ready at the worker. A query then waits for up to
# two batches before its own instead of one, so by less than this more.
SHORT_BATCH = 0.025
# A worker is taken to hang when a batch takes this many seconds, and as long again as SLACK times what batches of late
# let expect; before the first, they are expected at SLOWEST cells a second, which is a large model on one old core.
# At most PATIENCE, which is also for GPUs, where a batch of a new shape may wait for a compiler.
LEAST_PATIENCE, PATIENCE = 30.0, 300.0
SLACK, SLOWEST = 20.0, 200.0
# How often an idle worker is looked at, in seconds, so that /health shows a death before a request meets it.
GLANCE = 0.5
# Seconds before a worker that died is replaced, doubled with each one that did nothing before it died; the first is
# replaced at once.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# The longest wait that OpenAI's clients heed, in seconds.
LONGEST_WAIT = 60.0
# After so many in a row that did not even load, requests are refused at once.
HOPELESS = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Load:
    """What waits and what runs now; `rate` is the tokens per second of late, 0 before the first batch."""

    requests: int
    tokens: int
    running: int
    rate: float


class Observer(Protocol):
    """What counts batches and workers that died; called from the dispatching thread."""

    def batch(self, *, sequences: int, tokens: int, cells: int, seconds: float) -> None:
        """The engine ran a batch: `tokens` in a grid of `cells`."""

    def worker_restarted(self) -> None:
        """A worker died, and another takes its place."""


class Dispatcher:
    """The thread, its queue and its worker. All methods may be called from any thread."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        max_tokens: int,
        batch_tokens: int | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._options = options
        self._batch_tokens = batch_tokens or 0
        self._stride = 1  # the engine's own, once it has loaded
        self._observer = observer
        self._queue = Queue(max_tokens)
        self._wanted: dict[Job, None] = {}  # that somebody waits for, in order of arrival
        self._flights: deque[EngineBatch] = deque()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="me5-dispatch", daemon=True)
        self._worker: Worker | None = None
        self._opening = threading.Lock()  # held while the first worker loads
        self._about: EngineInfo | None = None
        self._state: State = "starting"
        self._ending = False
        self._failed_loads = 0
        self._deaths = 0  # in a row, without a batch between them
        self._tokens = self._seconds = 0.0  # of late batches, for the rate

    @property
    def state(self) -> State:
        """For /health: `broken` while a worker that died is being replaced."""
        return self._state

    @property
    def about(self) -> EngineInfo | None:
        """The engine's properties, once it has loaded."""
        return self._about

    @property
    def worker_pid(self) -> int | None:
        """The process of the worker; None while there is none."""
        worker = self._worker
        return worker.pid if worker else None

    def start(self) -> None:
        """Open the worker, wait until its engine has loaded, and begin. Raises the engine's error."""
        with self._opening:
            try:
                self._open()
            except WorkerDied as death:
                raise EngineError(f"{death} while it loaded the model") from death
            self._thread.start()

    def check(self, caller: str, *, urgent: bool) -> None:
        """Raise `Overloaded` or `Unhealthy` where `submit` would refuse the smallest request of a caller."""
        with self._changed:
            self._check_health()
            if (excess := self._queue.excess(1, caller, urgent=urgent)) > 0:
                raise self._overloaded(1, excess)

    def submit(self, job: Job) -> None:
        """Admit a request, which then waits for the engine. Raises `Overloaded` or `Unhealthy`."""
        with self._changed:
            self._check_health()
            job.submitted = monotonic()
            if not self._queue.add(job, job.submitted):
                raise self._overloaded(job.tokens, self._queue.excess(job.tokens, job.caller, urgent=job.urgent))
            self._wanted[job] = None
            self._changed.notify_all()

    def cancel(self, job: Job) -> int:
        """Forget a request; of what runs already, the result is dropped. Returns how many tokens the engine took."""
        with self._changed:
            if job in self._wanted:
                del self._wanted[job]
                self._queue.cancel(job)
                self._changed.notify_all()
            return job.taken

    def load(self) -> Load:
        """What waits and runs now."""
        with self._changed:
            running = sum(batch.tokens for batch in self._flights)
            return Load(self._queue.jobs, self._queue.tokens, running, self._rate)

    def stop(self, patience: float) -> None:
        """Refuse new requests, give the others `patience` seconds to finish, fail the rest and end the worker."""
        with self._changed:
            self._state = "draining"
            self._changed.wait_for(lambda: not self._wanted, patience)
            self._ending = True
            self._changed.notify_all()
        self._fail(self._wanted, Unhealthy("the service ended before the request was finished", 5.0))
        if worker := self._worker:
            worker.kill()
        # A worker that still loads is closed where it was opened, once: a second close could hit a file opened since.
        with self._opening:
            if self._thread.ident is not None:
                self._thread.join()
        if worker := self._worker:
            worker.close()

    def _check_health(self) -> None:
        if self._ending or self._state in ("starting", "draining"):
            raise Unhealthy(f"the service is {self._state}", 5.0)
        if self._failed_loads >= HOPELESS:
            raise Unhealthy("the engine does not load any more; the service's log says why", LONGEST_PAUSE)

    def _overloaded(self, tokens: int, excess: int) -> Overloaded:
        waiting, most = self._queue.tokens, self._queue.max_tokens
        return Overloaded(
            f"{waiting:,} tokens wait for the engine, and {tokens:,} more would exceed the service's {most:,}, or one "
            "caller's share of them",
            self._seconds_until(excess),
        )

    def _seconds_until(self, excess: int) -> float:
        """Seconds after which a request that was refused is worth another try.

        Until the engine has read what is too much; or, if that takes longer, all that waits now, for others were
        refused too and come back. Of that at most `LONGEST_WAIT`.
        """
        if not self._rate:
            return 1.0
        running = sum(batch.tokens for batch in self._flights)
        return max(1.0, excess / self._rate, min((self._queue.tokens + running) / self._rate, LONGEST_WAIT))

    @property
    def _rate(self) -> float:
        return self._tokens / self._seconds if self._seconds else 0.0

    def _open(self) -> None:
        """Open a worker and wait until its engine has loaded."""
        self._worker = worker = Worker(self._options)
        if self._ending:
            worker.kill()
        try:
            self._about = worker.ready()
        except BaseException:
            worker.close()
            raise
        with self._changed:
            self._batch_tokens = self._batch_tokens or self._about.batch_tokens
            self._stride = self._about.stride
            self._failed_loads = 0
            if self._state != "draining":
                self._state = "ready"

    def _run(self) -> None:
        while not self._ending:
            try:
                self._wait_for_work()
                self._feed()
                if self._flights:
                    self._finish_one()
            except WorkerDied as death:
                self._replace(death)
            except Exception as error:  # a fault of ours: no request may wait for ever
                log.exception("the dispatcher failed")
                self._fail([job for batch in self._flights for job in batch.jobs], error)
                self._replace(WorkerDied("the engine's process is out of step"))

    def _wait_for_work(self) -> None:
        with self._changed:
            while not (self._ending or self._flights or self._queue.tokens):
                self._changed.wait(GLANCE)
                self._living()

    def _living(self) -> Worker:
        if self._worker is None:
            raise WorkerDied("there is no process of the engine")
        self._worker.check()
        return self._worker

    def _patience(self, batch: EngineBatch) -> float:
        """Seconds after which a batch is not expected any more."""
        if self._options.device != "cpu":
            return PATIENCE
        return min(PATIENCE, LEAST_PATIENCE + SLACK * batch.cells / (self._rate or SLOWEST))

    def _feed(self) -> None:
        """Give the worker what it may have."""
        short = self._rate > self._batch_tokens / SHORT_BATCH
        while len(self._flights) < (2 if short else 1):
            with self._changed:
                batch = self._queue.take(self._batch_tokens, monotonic(), self._stride)
                if batch is None:
                    return
                self._flights.append(batch)
            self._living().send([job.sequences[index] for job, index in batch.items], batch.output)

    def _finish_one(self) -> None:
        """Wait for the oldest batch. The next one goes first, for the engine is idle; then the result to who waits."""
        result, error = None, None
        try:
            result = self._living().receive(self._patience(self._flights[0]))
        except EngineError as raised:
            error = raised
        with self._changed:
            batch = self._flights.popleft()
        try:
            self._feed()
        finally:
            if result is not None:
                self._deliver(batch, *result)
            else:
                self._retry(batch, error or EngineError(""))

    def _deliver(self, batch: EngineBatch, numbers: Float32, seconds: float) -> None:
        counts = [job.lengths[index] if batch.output == "states" else 1 for job, index in batch.items]
        rows, at, finished = numbers.reshape(sum(counts), -1), 0, []
        with self._changed:
            for (job, index), count in zip(batch.items, counts, strict=True):
                if job in self._wanted:
                    job.rows[index] = rows[at : at + count]
                at += count
            for job in batch.jobs:
                if job in self._wanted:
                    job.inference += seconds
                    if len(job.rows) == len(job.lengths):
                        del self._wanted[job]
                        finished.append(job)
            # Averages over about ten batches.
            self._tokens += (batch.tokens - self._tokens) / 10
            self._seconds += (seconds - self._seconds) / 10
            self._deaths = 0
            self._changed.notify_all()
        for job in finished:
            job.finished = monotonic()
            job.done(None)
        if self._observer:
            self._observer.batch(sequences=len(batch.items), tokens=batch.tokens, cells=batch.cells, seconds=seconds)

    def _retry(self, batch: EngineBatch, error: EngineError) -> None:
        """Run each request of a batch that failed alone; or give it up, if it was alone."""
        if batch.alone:
            self._fail(batch.jobs, error)
        else:
            with self._changed:
                self._queue.put_back_alone(batch)

    def _fail(self, jobs: Iterable[Job], error: Exception) -> None:
        with self._changed:
            failed = [job for job in jobs if job in self._wanted]
            for job in failed:
                del self._wanted[job]
                self._queue.cancel(job)
            self._changed.notify_all()
        for job in failed:
            job.done(error)

    def _replace(self, death: WorkerDied) -> None:
        """Open another worker, after what the dead one had was put back. Ends early when the service ends."""
        if self._ending:
            return
        log.error("%s; another takes its place", death)
        if self._observer:
            self._observer.worker_restarted()
        with self._changed:
            if self._state == "ready":
                self._state = "broken"
            flights, self._flights = list(self._flights), deque()
            # Only the first was running: it is the suspect, and what lay ready behind it was not touched.
            for batch in reversed(flights[1:]):
                self._queue.put_back(batch)
        for batch in flights[:1]:
            self._retry(batch, EngineError(f"the request was given up: {death} while it ran alone"))
        if self._worker:
            self._worker.close()
        while not self._ending:
            self._pause()
            try:
                self._open()
                return
            except (Me5Error, WorkerDied) as error:
                log.error("the engine did not load: %s", error)
                self._failed_loads += 1
                if self._failed_loads >= HOPELESS:
                    self._fail(self._wanted, Unhealthy(f"the engine does not load any more: {error}", LONGEST_PAUSE))

    def _pause(self) -> None:
        pause = min(FIRST_PAUSE * 2 ** (self._deaths - 1), LONGEST_PAUSE) if self._deaths else 0.0
        self._deaths += 1
        with self._changed:
            self._changed.wait_for(lambda: self._ending, pause)
