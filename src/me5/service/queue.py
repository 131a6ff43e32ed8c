"""Which sequences run next: queries before bulk, fair between callers, bounded in tokens, packed like the library's.

There are no timers: whenever the engine is free, it takes the best batch of what waits.

    order     queries go ahead of bulk. Bulk whose turn has been passed over for `AGEING` seconds comes first once, with
              at least one sequence and at most a quarter of the batch, so no flood of queries stops it.
    fairness  within each of the two, the caller goes next whom the engine has read the fewest tokens for. A caller's
              own requests go in order of arrival.
    packing   the first in order are certain of their place; the rest of the batch is chosen from the next few batches'
              worth in order, so that hardly any cell is empty.
    bound     a request that would make more than `max_tokens` wait is refused. Bulk leaves some of them to queries, and
              each caller some to the others.

Pure logic, not safe for threads: times are arguments, and no engine is known here.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from typing import Literal, get_args

from me5.batching import pick
from me5.engine.base import TokenIds
from me5.vectors import Float32

# What the engine makes of a sequence: its unit vector, the vector before the norm, or the hidden states of its tokens.
Output = Literal["unit", "raw", "states"]
OUTPUTS: tuple[Output, ...] = get_args(Output)

# Long beside a batch (milliseconds to two seconds), so that it interrupts queries rarely; short beside a time-out.
AGEING = 2.0
# How many batches' worth of sequences a batch is chosen from, and which share of it goes by order alone. Texts of mixed
# lengths then fill 0.98 to 0.99 of the cells, whether they come in 1 request or in 256; the library's plan fills 0.99.
LOOK_AHEAD = 4
CERTAIN = 0.25
# A batch in which bulk rides along with queries is so much smaller, for the queries wait for all of it.
WITH_QUERIES = 0.5
# The share of the bound that bulk leaves to queries.
RESERVE = 1 / 16
# The share of the bound that one caller may hold with more than one request; queries get what bulk leaves them beyond.
SHARE = 3 / 4


def _nobody_waits(_: Exception | None) -> None:
    pass


@dataclass(eq=False)
class Job:
    """One request's sequences, each at least one token, and what the engine made of them.

    Jobs of different outputs never share a batch. `done` is called once, from any thread: with None, or the error.

    `waiting` holds the indexes that no batch has taken yet, in order; `dropped` counts the tokens that none will take.
    `rows` has the rows (n, dim) of each sequence by its index; `inference` are the engine's seconds, and `submitted`
    and `finished` the times of both, in seconds.
    """

    sequences: Sequence[TokenIds]
    caller: str = ""
    urgent: bool = False
    output: Output = "unit"
    done: Callable[[Exception | None], None] = _nobody_waits
    lengths: list[int] = field(init=False)
    waiting: deque[int] = field(init=False)
    dropped: int = field(init=False, default=0)
    cancelled: bool = field(init=False, default=False)
    rows: dict[int, Float32] = field(init=False, default_factory=dict)
    inference: float = field(init=False, default=0.0)
    submitted: float = field(init=False, default=0.0)
    finished: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.lengths = [len(sequence) for sequence in self.sequences]
        self.waiting = deque(range(len(self.lengths)))

    @property
    def tokens(self) -> int:
        """How many tokens its sequences have."""
        return sum(self.lengths)

    @property
    def queued(self) -> float:
        """Seconds in which nothing of it was in the engine."""
        return max(0.0, self.finished - self.submitted - self.inference)

    @property
    def taken(self) -> int:
        """How many of its tokens batches took."""
        return self.tokens - self.dropped - sum(self.lengths[index] for index in self.waiting)


Item = tuple[Job, int]


@dataclass(frozen=True)
class EngineBatch:
    """A batch: rows of (job, index of its sequence), and the grid's width. `alone`: of one job, to find a culprit."""

    width: int
    rows: tuple[tuple[Item, ...], ...]
    alone: bool = False

    @property
    def items(self) -> list[Item]:
        """The sequences in the order in which an engine returns them."""
        return [item for row in self.rows for item in row]

    @property
    def output(self) -> Output:
        """What its requests want."""
        return self.rows[0][0][0].output

    @property
    def jobs(self) -> list[Job]:
        """The requests that it serves."""
        return list(dict.fromkeys(job for job, _ in self.items))

    @property
    def tokens(self) -> int:
        """Cells that hold a token."""
        return _tokens(self.items)

    @property
    def cells(self) -> int:
        """Cells of the grid."""
        return self.width * len(self.rows)


class Queue:
    """Requests that wait. `tokens` of them do, at most `max_tokens`."""

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.tokens = 0
        self._held: Counter[str] = Counter()  # tokens that wait, by caller
        self._queries = _Lane()
        self._bulk = _Lane()
        self._alone: deque[EngineBatch] = deque()
        self._bulk_turn = 0.0  # when bulk had, or began to wait for, its turn

    @property
    def jobs(self) -> int:
        """How many requests have sequences that wait."""
        return self._queries.jobs + self._bulk.jobs + len(self._alone)

    def excess(self, tokens: int, caller: str, *, urgent: bool) -> int:
        """How many tokens must be read before the queue takes so many of a caller; at most 0 where it does now.

        An empty queue takes any number, and so does the share of a caller who holds nothing.
        """
        if not self.tokens:
            return 0
        reserve = 0 if urgent else self.max_tokens * RESERVE
        over = self.tokens + tokens - int(self.max_tokens - reserve)
        held = self._held[caller]
        return max(over, held + tokens - int(self.max_tokens * (SHARE + RESERVE) - reserve)) if held else over

    def add(self, job: Job, now: float) -> bool:
        """Let a request wait, or return False where the queue does not take it."""
        if self.excess(job.tokens, job.caller, urgent=job.urgent) > 0:
            return False
        if not job.urgent and not self._bulk.jobs:
            self._bulk_turn = now
        self._count(job, job.tokens)
        self._lane(job).add(job)
        return True

    def _count(self, job: Job, tokens: int) -> None:
        """Count tokens of a job that wait from now on, or no longer."""
        self.tokens += tokens
        self._held[job.caller] += tokens
        if not self._held[job.caller]:
            del self._held[job.caller]

    def cancel(self, job: Job) -> None:
        """Drop what waits of a request."""
        job.cancelled = True
        job.dropped += (dropped := sum(job.lengths[index] for index in job.waiting))
        self._count(job, -dropped)
        job.waiting.clear()
        self._lane(job).remove(job)
        for batch in [batch for batch in self._alone if job in batch.jobs]:
            self._alone.remove(batch)
            self._count(job, -batch.tokens)

    def take(self, batch_tokens: int, now: float, stride: int = 1) -> EngineBatch | None:
        """The next batch of about `batch_tokens` cells; None where nothing waits. `stride` is the engine's."""
        if self._alone:
            batch = self._alone.popleft()
            self._count(batch.jobs[0], -batch.tokens)
            return batch
        if not self.tokens:
            return None
        turn = self._bulk.head()
        aged = turn is not None and now - self._bulk_turn >= AGEING
        candidates, certain, budget = self._candidates(batch_tokens, aged=aged)
        chosen = pick([job.lengths[index] for job, index in candidates], budget, certain, stride)
        batch = EngineBatch(chosen.width, tuple(tuple(candidates[at] for at in row) for row in chosen.rows))
        self._remove(batch.items, candidates)
        if turn in batch.items:
            self._bulk_turn = now
        return batch

    def put_back(self, batch: EngineBatch) -> None:
        """Let a batch that never ran wait again, ahead of its requests' other sequences."""
        if batch.alone:
            self._retry(batch)
            return
        for job, index in reversed(batch.items):
            if not job.cancelled:
                if not job.waiting:
                    self._lane(job).add(job, first=True)
                job.waiting.appendleft(index)
                self._count(job, job.lengths[index])

    def put_back_alone(self, batch: EngineBatch) -> None:
        """Let each request of a batch that failed run again, before all others and without its neighbours."""
        for job in batch.jobs:
            rows = (tuple(item for item in row if item[0] is job) for row in batch.rows)
            self._retry(EngineBatch(batch.width, tuple(row for row in rows if row), alone=True))

    def _retry(self, batch: EngineBatch) -> None:
        if not batch.jobs[0].cancelled:
            self._alone.append(batch)
            self._count(batch.jobs[0], batch.tokens)

    def _candidates(self, batch_tokens: int, *, aged: bool) -> tuple[list[Item], int, int]:
        """Sequences of one output to choose a batch from, how many of the first are certain, and the batch's size."""
        first = self._bulk.head() if aged else self._queries.head() or self._bulk.head()
        assert first is not None
        output = first[0].output
        queries = self._queries.candidates(output, batch_tokens * LOOK_AHEAD)
        bulk = self._bulk.candidates(output, batch_tokens * LOOK_AHEAD)
        if queries and bulk:
            batch_tokens = max(int(batch_tokens * WITH_QUERIES), min(batch_tokens, _tokens(queries)))
        if aged:
            sure_bulk = _prefix(bulk, batch_tokens * CERTAIN)
            sure_queries = _prefix(queries, batch_tokens - _tokens(bulk[:sure_bulk]))
            certain = bulk[:sure_bulk] + queries[:sure_queries]
        else:
            sure_queries = _prefix(queries, batch_tokens)
            sure_bulk = _prefix(bulk, min(batch_tokens * CERTAIN, batch_tokens - _tokens(queries[:sure_queries])))
            certain = queries[:sure_queries] + bulk[:sure_bulk]
        return certain + queries[sure_queries:] + bulk[sure_bulk:], len(certain), batch_tokens

    def _remove(self, items: Sequence[Item], candidates: Sequence[Item]) -> None:
        """Take items out of their jobs, of which each job's first sequences were candidates."""
        offered = Counter(job for job, _ in candidates)
        taken: dict[Job, set[int]] = {}
        for job, index in items:
            taken.setdefault(job, set()).add(index)
        for job, indexes in taken.items():
            lane, tokens = self._lane(job), sum(job.lengths[index] for index in indexes)
            lane.charge(job, tokens)
            self._count(job, -tokens)
            seen = [job.waiting.popleft() for _ in range(offered[job])]
            job.waiting.extendleft(index for index in reversed(seen) if index not in indexes)
            if not job.waiting:
                lane.remove(job)

    def _lane(self, job: Job) -> "_Lane":
        return self._queries if job.urgent else self._bulk


class _Lane:
    """Jobs of one urgency in fair order: the caller next who was served least, and each caller's by arrival."""

    def __init__(self) -> None:
        self.jobs = 0
        self._jobs: dict[tuple[str, Output], OrderedDict[Job, None]] = {}  # by caller and output
        self._served: dict[str, int] = {}  # tokens, of the callers who wait
        self._least = 0  # where newcomers start: what had been served to the caller whose turn it was

    def add(self, job: Job, *, first: bool = False) -> None:
        """Put a job behind the caller's others of its output, or first among them."""
        jobs = self._jobs.setdefault((job.caller, job.output), OrderedDict())
        jobs[job] = None
        if first:
            jobs.move_to_end(job, last=False)
        self._served.setdefault(job.caller, self._least)
        self.jobs += 1

    def remove(self, job: Job) -> None:
        """Forget a job, if it is here; and its caller with the last one."""
        key = job.caller, job.output
        if job not in self._jobs.get(key, ()):
            return
        del self._jobs[key][job]
        self.jobs -= 1
        if not self._jobs[key]:
            del self._jobs[key]
            if not any(caller == job.caller for caller, _ in self._jobs):
                del self._served[job.caller]

    def charge(self, job: Job, tokens: int) -> None:
        """Count tokens as served to a job's caller."""
        self._served[job.caller] += tokens

    def head(self) -> Item | None:
        """The sequence whose turn it is."""
        if not self._jobs:
            return None
        key = min(self._jobs, key=lambda key: self._served[key[0]])
        self._least = self._served[key[0]]
        job = next(iter(self._jobs[key]))
        return job, job.waiting[0]

    def candidates(self, output: Output, tokens: int) -> list[Item]:
        """The next sequences of an output in fair order, about as many as have `tokens` tokens."""
        waiting = {caller: _items(jobs) for (caller, of), jobs in self._jobs.items() if of == output}
        heap = [(self._served[caller], at, items, next(items)) for at, (caller, items) in enumerate(waiting.items())]
        heapify(heap)
        candidates: list[Item] = []
        while heap and tokens > 0:
            served, at, items, (job, index) = heap[0]
            candidates.append((job, index))
            tokens -= job.lengths[index]
            if (following := next(items, None)) is None:
                heappop(heap)
            else:
                heapreplace(heap, (served + job.lengths[index], at, items, following))
        return candidates


def _items(jobs: Iterable[Job]) -> Iterator[Item]:
    return ((job, index) for job in jobs for index in job.waiting)


def _prefix(items: Sequence[Item], tokens: float) -> int:
    """How many of the first items have at most this many tokens; one if they have more, none if there is no room."""
    if tokens <= 0:
        return 0
    count = 0
    for job, index in items:
        tokens -= job.lengths[index]
        if tokens < 0:
            break
        count += 1
    return max(count, min(1, len(items)))


def _tokens(items: Sequence[Item]) -> int:
    return sum(job.lengths[index] for job, index in items)
