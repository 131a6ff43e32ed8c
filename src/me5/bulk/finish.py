"""The end of a job: a list of the files that count, and nothing else left in `data` and `errors`."""

import json
import re

from me5.bulk import dataset
from me5.bulk.commit import Commit, commits
from me5.bulk.job import Job
from me5.bulk.part import DATA, ERRORS
from me5.errors import InputError

FILES, SUCCESS = "files.json", "_SUCCESS"


def is_finished(job: Job) -> bool:
    """Whether everything was done, also the end."""
    return job.folder.read(SUCCESS) is not None


def finish(job: Job) -> list[Commit]:
    """List the files of a job whose parts are all committed, remove all others, and mark it as done.

    May be called again, and by several processes at once. Raises `InputError` where rows are missing.
    """
    done = commits(job)
    rows = sum(each.texts for each in done)
    if [each.part for each in done] != list(range(len(job.plan.parts))) or rows != job.plan.texts:
        raise InputError(
            f"{job.folder.url} has commits of {len(done):,} parts and {rows:,} rows, expected {len(job.plan.parts):,} "
            f"and {job.plan.texts:,}; resume it"
        )
    listed = [
        {"file": each.data, "rows": each.texts} | ({} if each.errors is None else {"errors": each.errors})
        for each in done
    ]
    job.folder.write(FILES, json.dumps({"rows": rows, "files": listed}, indent=1).encode())
    clean(job, done)
    if job.settings.output == "lance":
        dataset.commit(job, done)
    job.folder.write(SUCCESS, b"")
    return done


def clean(job: Job, done: list[Commit]) -> list[str]:
    """Remove the files of attempts that do not count, finished or not, and say which.

    Those of parts that are not done stay: somebody may be at work on them.
    """
    counting = {name for each in done for name in (each.data, each.errors)}
    parts = {each.part for each in done}
    removed = [
        name for folder in (DATA, ERRORS) for name in job.folder.names(folder)
        if name not in counting and (found := re.search(r"part-(\d+)\.", name)) and int(found[1]) in parts
    ]  # fmt: skip
    for name in removed:
        job.folder.remove(name)
    return removed
