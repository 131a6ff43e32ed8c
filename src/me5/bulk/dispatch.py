"""Which worker does which part next: the same for one process, several, and a cluster. Vectors never pass through here.

A part that fails is tried again after the others; one that fails three times is given up, and the others go on.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Protocol

from me5.bulk.commit import record_failure
from me5.bulk.job import Job
from me5.bulk.worker import Outcome, Worker
from me5.errors import InputError
from me5.progress import Advance

TRIES = 3
DEATHS = 3


class Pool(Protocol):
    """Workers that take a part each. One that dies comes back as an `Outcome` with an error, and is replaced."""

    size: int

    def submit(self, number: int) -> None:
        """Give a part to an idle worker."""

    def wait(self) -> Outcome:
        """What became of the attempt that ends next."""


class Deaths:
    """Deaths of a pool's workers since one of them did a part: three for each, and starting another is no use."""

    def __init__(self, workers: int) -> None:
        self._most = DEATHS * workers
        self._count = 0

    def count(self) -> bool:
        """Count one, and say whether starting another worker is no use."""
        self._count += 1
        return self._count >= self._most

    def ended(self, outcome: Outcome) -> None:
        """Take note of an attempt that ended otherwise."""
        if outcome.error is None:
            self._count = 0


class OneProcess:
    """The pool that is this process."""

    size = 1

    def __init__(self, worker: Worker, advance: Advance) -> None:
        self._worker, self._advance = worker, advance
        self._number = 0

    def submit(self, number: int) -> None:
        """See `Pool.submit`."""
        self._number = number

    def wait(self) -> Outcome:
        """See `Pool.wait`."""
        return self._worker.run(self._number, self._advance)


def dispatch(job: Job, numbers: Iterable[int], pool: Pool, done: Callable[[Outcome], None]) -> dict[int, str]:
    """Run parts, and return those that were given up, with the reason. `done` is called for each that is finished.

    Raises `InputError` where going on is no use: the output cannot be written to, or an input has changed.
    """
    queue, tries = deque(numbers), Counter[int]()
    failed: dict[int, str] = {}
    busy = 0
    while queue or busy:
        while queue and busy < pool.size:
            pool.submit(queue.popleft())
            busy += 1
        outcome = pool.wait()
        busy -= 1
        if outcome.error is None:
            done(outcome)
            continue
        if outcome.fatal:
            raise InputError(outcome.error)
        tries[outcome.part] += 1
        if tries[outcome.part] < TRIES:
            queue.append(outcome.part)
            continue
        failed[outcome.part] = outcome.error
        record_failure(job, outcome.part, outcome.error)
    return failed
