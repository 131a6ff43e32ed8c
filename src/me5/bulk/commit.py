"""Commits: which attempt at a part counts. The first one that is written wins; readers trust no other file."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from me5.bulk.job import Job
from me5.errors import InputError

COMMITS, FAILURES = "commits", "failures"


@dataclass(frozen=True)
class Commit:
    """A finished part: its files, and what it took. `texts` counts rows, `unique` the different texts among them.

    `nulled` values became null; `memory` is the largest size of the process so far, in bytes; `fragment` describes the
    file to Lance.
    """

    part: int
    data: str
    errors: str | None
    texts: int
    unique: int
    tokens: int
    lost: int
    truncated: int
    refused: int
    bytes: int
    started: float
    ended: float
    seconds: float
    host: str
    memory: int
    fragment: Any = None
    nulled: int = 0


def commit(job: Job, done: Commit) -> bool:
    """Record that a part is done, and say whether this attempt is the one that counts."""
    name = job.part_name(done.part)
    won = job.folder.write_once(f"{COMMITS}/{name}.json", json.dumps(asdict(done)).encode())
    job.folder.remove(f"{FAILURES}/{name}.json")
    return won


def is_committed(job: Job, number: int) -> bool:
    """Whether a part is done."""
    return job.folder.read(f"{COMMITS}/{job.part_name(number)}.json") is not None


def missing(job: Job) -> list[int]:
    """The parts that are not done, in order; lists names and reads nothing."""
    done = set(job.folder.names(COMMITS))
    numbers = range(len(job.plan.parts))
    return [number for number in numbers if f"{COMMITS}/{job.part_name(number)}.json" not in done]


def largest_memory(job: Job) -> int:
    """The memory that the last of the finished parts took, in bytes; 0 where there is none."""
    names = [name for name in job.folder.names(COMMITS) if name.startswith(f"{COMMITS}/part-")]
    return max((Commit(**json.loads(content)).memory for content in job.folder.read_all(names[-1:])), default=0)


def commits(job: Job) -> list[Commit]:
    """All commits, by part."""
    found = [Commit(**value) for value in _values(job, COMMITS)]
    return sorted(found, key=lambda each: each.part)


def record_failure(job: Job, number: int, reason: str) -> None:
    """Record why a part was given up, until an attempt succeeds."""
    content = json.dumps({"part": number, "reason": reason}).encode()
    job.folder.write(f"{FAILURES}/{job.part_name(number)}.json", content)


def failures(job: Job, numbers: Iterable[int]) -> dict[int, str]:
    """Why some of the parts were given up."""
    wanted = set(numbers)
    return {value["part"]: value["reason"] for value in _values(job, FAILURES) if value["part"] in wanted}


def _values(job: Job, folder: str) -> list[dict[str, Any]]:
    names = [name for name in job.folder.names(folder) if name.startswith(f"{folder}/part-")]
    try:
        return [json.loads(content) for content in job.folder.read_all(names)]
    except ValueError as error:
        raise InputError(
            f"a file in {job.folder.url}/{folder} is damaged ({error}); remove it, and its part is done again"
        ) from error
