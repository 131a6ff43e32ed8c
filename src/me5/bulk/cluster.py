"""Workers as actors of a Ray cluster: Ray decides where they run, and nothing else; retries are those of `dispatch`.

An actor that dies, alone or with its node, costs an attempt and is replaced where the cluster has room. When the driver
ends, however it does, Ray ends its actors.
"""

import logging
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import gethostname
from time import monotonic
from typing import Any

from me5.bulk import inputs
from me5.bulk.commit import largest_memory
from me5.bulk.dispatch import Deaths
from me5.bulk.folders import folder_of
from me5.bulk.job import Job, open_job
from me5.bulk.model import Model
from me5.bulk.worker import Outcome, Worker, open_worker
from me5.errors import InputError, Me5Error, Me5Warning, MissingExtraError
from me5.progress import Advance

# Seconds between two looks at the workers' progress, and those without any worker after which a warning says so.
_REPORT, _PATIENCE = 1.0, 60.0
# What a worker may use is taken to be so much more than what one was seen to use.
_HEADROOM = 1.25
# No vectors travel through Ray, so its own store of objects may be as small as it can be.
_STORE = 1 << 27


@dataclass(frozen=True)
class _Shape:
    """How many workers there are, and what each has: cores (`threads` of the engine on a CPU) and GPUs."""

    size: int
    cpus: int
    gpus: int = 0
    threads: int | None = None


class Cluster:
    """A pool of workers on a Ray cluster; see `dispatch.Pool`. A part waits here until a worker has started."""

    def __init__(self, job: Job, model: Model, workers: int | None, parts: int, advance: Advance) -> None:
        import ray

        self._ray: Any = ray
        self.error: type[Exception] = self._ray.exceptions.RayError
        self._shape = _shape(model, workers, _rooms(self._ray.nodes(), "CPU" if _on_cpu(model) else "GPU"))
        self.size = min(self._shape.size, parts)
        self._given = job.folder.url, job.manifest.plan, model.device, self._shape.threads
        self._advance = advance
        self._memory = largest_memory(job)
        self._waiting: deque[int] = deque()
        self._idle: list[Any] = []
        # What is under way: workers that start (None) or are at a part, and questions about their progress.
        self._calls: dict[Any, tuple[Any, int | None]] = {}
        self._questions: list[Any] = []
        self._asked = self._started = monotonic()
        self._deaths = Deaths(self.size)
        for _ in range(self.size):
            self._start()

    def submit(self, number: int) -> None:
        """See `Pool.submit`."""
        self._waiting.append(number)
        self._assign()

    def wait(self) -> Outcome:
        """See `Pool.wait`. Raises `InputError` where no worker can start."""
        while True:
            ready, _ = self._ray.wait([*self._calls, *self._questions], timeout=_REPORT)
            for reference in ready:
                if reference in self._questions:
                    self._questions.remove(reference)
                    self._hear(reference)
                elif (outcome := self._ended(reference)) is not None:
                    return outcome
            self._ask()

    def close(self) -> None:
        """End all workers at once, whatever they are doing."""
        with suppress(self.error):  # where Ray itself has ended
            for worker in [*self._idle, *(worker for worker, _ in self._calls.values())]:
                self._ray.kill(worker)

    def _start(self) -> None:
        memory = {"memory": int(self._memory * _HEADROOM)} if self._memory else {}
        actor = self._ray.remote(RemoteWorker).options(
            num_cpus=self._shape.cpus, num_gpus=self._shape.gpus, max_restarts=0, max_task_retries=0,
            max_concurrency=2, scheduling_strategy="SPREAD", **memory,
        ).remote()  # fmt: skip
        self._calls[actor.open.remote(*self._given)] = actor, None

    def _assign(self) -> None:
        while self._waiting and self._idle:
            worker, number = self._idle.pop(), self._waiting.popleft()
            self._calls[worker.run.remote(number)] = worker, number

    def _ended(self, reference: Any) -> Outcome | None:
        """What became of an attempt; None for a worker that has started, or could not and is replaced."""
        worker, number = self._calls.pop(reference)
        try:
            said = self._ray.get(reference)
        except self.error as error:
            return self._died(worker, number, error)
        if number is None and said is not None:
            raise InputError(said)
        self._idle.append(worker)
        self._assign()
        if number is None:
            return None
        outcome, progress = said
        self._advance(*progress)
        self._deaths.ended(outcome)
        self._memory = max(self._memory, outcome.memory)
        done: Outcome = outcome
        return done

    def _died(self, worker: Any, number: int | None, error: Exception) -> Outcome | None:
        self._ray.kill(worker)  # where only the connection to it was lost
        self._started = monotonic()
        fatal = self._deaths.count()
        if not fatal:
            self._start()
        reason = f"a worker on Ray ended: {_why(error)}"
        if number is not None:
            return Outcome(number, error=reason, fatal=fatal)
        if fatal:
            raise InputError(reason)
        return None

    def _ask(self) -> None:
        """Ask the busy workers how far they are, once in a while."""
        if monotonic() - self._asked < _REPORT:
            return
        self._asked = monotonic()
        busy = [worker for worker, number in self._calls.values() if number is not None]
        if not self._questions:
            self._questions = [worker.progress.remote() for worker in busy]
        if busy or self._idle:
            self._started = monotonic()
        elif monotonic() - self._started > _PATIENCE:
            self._started = monotonic()
            warnings.warn(
                f"no worker has started for {_PATIENCE:.0f} s: the Ray cluster has no room for one with "
                f"{self._shape.cpus} CPUs and {self._shape.gpus} GPUs, or the model takes that long to load; see "
                "`ray status`", Me5Warning, stacklevel=2,
            )  # fmt: skip

    def _hear(self, reference: Any) -> None:
        with suppress(self.error):  # the worker has died, which the end of its attempt tells
            self._advance(*self._ray.get(reference))


class RemoteWorker:
    """A worker in a process of Ray's, which runs a part in one thread and answers questions in another."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._lock = threading.Lock()
        self._texts = self._tokens = 0

    def open(self, folder: str, plan: str, device: str, threads: int | None) -> str | None:
        """Load what the job of a plan needs, or say why that is not possible here."""
        try:
            job = open_job(folder_of(folder))
            if job.manifest.plan != plan:
                raise InputError(f"{folder} holds another job there")
            inputs.check_unchanged(*next(iter(job.plan.files.items())))
        except Me5Error as error:
            return (
                f"the Ray node {gethostname()} does not see what the driver sees: {error}. With --ray, the job's "
                "folder and its inputs must lie in an object store, or in folders that all nodes share"
            )
        try:
            self._worker = open_worker(job, device, threads)
        except Me5Error as error:
            return f"the Ray node {gethostname()}: {error}"
        return None

    def run(self, number: int) -> tuple[Outcome, tuple[int, int]]:
        """One attempt at a part, and the progress that nobody has asked for yet."""
        assert self._worker is not None
        return self._worker.run(number, self._count), self.progress()

    def progress(self) -> tuple[int, int]:
        """Texts and tokens since the last time."""
        with self._lock:
            done, self._texts, self._tokens = (self._texts, self._tokens), 0, 0
        return done

    def _count(self, texts: int, tokens: int) -> None:
        with self._lock:
            self._texts, self._tokens = self._texts + texts, self._tokens + tokens


@contextmanager
def cluster(
    job: Job, model: Model, address: str, workers: int | None, parts: int, advance: Advance
) -> Iterator[Cluster]:
    """A pool of workers on a Ray cluster, which end with the block.

    `address` is `auto` (RAY_ADDRESS, or the cluster of this machine), `local` (Ray on this machine, for this run) or
    HOST:PORT. A process that is connected to Ray already stays so. `workers` None is as many as there is room for.
    """
    with _connected(address):
        pool = Cluster(job, model, workers, parts, advance)
        try:
            yield pool
        except pool.error as error:
            raise InputError(
                f"the Ray cluster is lost: {_why(error)}. What is committed is done; me5 bulk resume {job.folder.url} "
                "does the rest"
            ) from error
        finally:
            pool.close()


@contextmanager
def _connected(address: str) -> Iterator[None]:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("Ray is not installed: pip install 'me5[ray]'") from error
    if ray.is_initialized():
        yield
        return
    if address not in ("auto", "local") and (":" not in address or "/" in address):
        raise InputError(
            f"{address!r} is not an address of a Ray cluster; expected auto, local or HOST:PORT. From outside a "
            "cluster, start me5 in it: ray job submit -- me5 bulk …"
        )
    local: dict[str, Any] = {"object_store_memory": _STORE, "include_dashboard": False} if address == "local" else {}
    if local:
        # Ray starts its workers with the lowest priority but four: beside any other work they would hardly run.
        os.environ.setdefault("RAY_worker_niceness", "0")
    ending = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **local)
    except Exception as error:  # that class itself too, where a start takes longer than Ray waits
        raise InputError(
            f"there is no Ray at {address}: {_why(error).rstrip('.')}. Start a cluster with ray start --head, or let "
            "Ray run for this job alone with --ray local"
            if address != "local"
            else f"Ray cannot be started on this machine: {_why(error)}"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ending)  # Ray has put its own in place
    try:
        yield
    finally:
        ray.shutdown()


def _on_cpu(model: Model) -> bool:
    return not model.device.startswith("cuda")


def _rooms(nodes: list[Any], kind: str) -> list[int]:
    """How many CPUs or GPUs each node has, of those that have any."""
    found = [int(node["Resources"].get(kind, 0)) for node in nodes if node["Alive"]]
    return [count for count in found if count]


def _shape(model: Model, workers: int | None, rooms: list[int]) -> _Shape:
    """One worker per GPU; on CPUs one per node, or where they differ, one for as many cores as the smallest has."""
    if not rooms and workers is None:
        raise InputError(
            f"the Ray cluster has no {'CPUs' if _on_cpu(model) else 'GPUs'} at the moment; say with --workers for how "
            "many it is to make room"
        )
    if not _on_cpu(model):
        if model.device != "cuda":
            raise InputError(f"Ray gives every worker a GPU of its own; expected --device cuda, got {model.device}")
        return _Shape(workers or sum(rooms), 1, 1)
    share = sum(rooms) // workers if workers else min(rooms)
    threads = model.threads or max(1, min([share, *rooms]))
    size = workers or sum(room // threads for room in rooms)
    if not size:
        raise InputError(f"no node of the Ray cluster has {threads} CPUs, the largest has {max(rooms)}; name fewer")
    return _Shape(size, threads, threads=threads)


def _why(error: Exception) -> str:
    """An error of Ray's in a line: the cause, where it names one."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return f"{type(cause).__name__}: {cause}"
    return " ".join(str(error).split())
