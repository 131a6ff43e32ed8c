"""How far a job is: from its commits alone, on any machine, whether it runs or not."""

import time
from dataclasses import dataclass

from me5.bulk.commit import Commit, commits, failures
from me5.bulk.finish import is_finished
from me5.bulk.job import Job

# Commits from which the speed is taken: the last ones, for workers come and go.
_RECENT = 100


@dataclass(frozen=True)
class Status:
    """A job's progress. `tokens_per_second` and `seconds_left` are those of the last commits, 0 before the first.

    `refused` rows have no vector, `nulled` values became null; `failed` are parts that were given up, with the reason;
    `seconds_ago` is the age of the last commit.
    """

    parts: int
    parts_done: int
    texts: int
    texts_done: int
    unique: int
    tokens: int
    lost: int
    truncated: int
    refused: int
    nulled: int
    bytes: int
    tokens_per_second: float
    seconds_left: float
    seconds_ago: float
    failed: dict[int, str]
    finished: bool


def status(job: Job) -> Status:
    """The progress of a job."""
    done = commits(job)
    parts = {each.part for each in done}
    recent = sorted(done, key=lambda each: each.ended)[-_RECENT:]
    texts = sum(each.texts for each in done)
    rate = _rate(recent, sum(each.texts for each in recent))
    return Status(
        parts=len(job.plan.parts), parts_done=len(done), texts=job.plan.texts, texts_done=texts,
        **{name: sum(getattr(each, name) for each in done)
           for name in ("unique", "tokens", "lost", "truncated", "refused", "nulled", "bytes")},
        tokens_per_second=_rate(recent, sum(each.tokens for each in recent)),
        seconds_left=(job.plan.texts - texts) / rate if rate else 0,
        seconds_ago=time.time() - recent[-1].ended if recent else 0,
        failed=failures(job, set(range(len(job.plan.parts))) - parts), finished=is_finished(job),
    )  # fmt: skip


def _rate(recent: list[Commit], amount: int) -> float:
    """So much a second over the time in which some commits were made."""
    if not recent:
        return 0.0
    return amount / max(recent[-1].ended - min(each.started for each in recent), 1e-9)
