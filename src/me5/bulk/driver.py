"""Run a job: plan it or find it, give its parts to workers, finish it. Kill it anywhere; the same call resumes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from me5.bulk import inputs
from me5.bulk.cluster import cluster
from me5.bulk.commit import failures, missing
from me5.bulk.dispatch import OneProcess, dispatch
from me5.bulk.finish import finish, is_finished
from me5.bulk.folders import Folder, folder_of
from me5.bulk.job import MANIFEST, Job, check_inputs, check_same, create, describe, open_job
from me5.bulk.manifest import Settings
from me5.bulk.model import Model, fingerprint_of
from me5.bulk.processes import processes
from me5.bulk.worker import Outcome, Worker
from me5.embedder import Embedder
from me5.errors import InputError
from me5.preprocessor import Preprocessor
from me5.progress import Advance, track


@dataclass(frozen=True)
class Shard:
    """One of several runs that share a job's parts: the parts whose number is `index` modulo `count`."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(f"a shard is I/N with I from 0 to N - 1, got {self.index}/{self.count}")

    def of(self, numbers: Sequence[int]) -> list[int]:
        """Its share of some parts."""
        return [number for number in numbers if number % self.count == self.index]


@dataclass
class Result:
    """What a run did. `failed` parts are those that it gave up, with the reason; `left` is still to be done.

    Of `truncated` texts `lost` tokens were not read; `refused` rows have no vector, `nulled` values became null: the
    job's errors list both.
    """

    job: Job
    parts: int = 0
    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    lost: int = 0
    refused: int = 0
    nulled: int = 0
    seconds: float = 0.0
    left: int = 0
    finished: bool = False
    failed: dict[int, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count a part that is done."""
        self.parts += 1
        for name in ("texts", "tokens", "truncated", "lost", "refused", "nulled"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))


def run(
    paths: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    model: Embedder | Model | None = None,
    shard: Shard = Shard(),
    workers: int | None = None,
    ray: str | None = None,
    show_progress_bar: bool = False,
    **settings: Any,
) -> Result:
    """Embed files, folders and globs into a folder of Parquet files; resumes a job that is there.

    `model` None is the bundled one; `settings` are those of `Settings`. `workers` are processes that share the cores or
    have a GPU each, by default one, this process; with `ray`, the address of a Ray cluster (`auto`, `local` or
    HOST:PORT), they run there, by default as many as there is room for. Raises `InputError` for inputs that cannot be
    read, a folder that cannot be written to, and a job that was started with other inputs or settings.
    """
    several = [paths] if isinstance(paths, str | Path) else paths
    wanted = Settings(inputs=tuple(map(str, several)), **settings).absolute()
    job = plan(wanted, folder_of(str(out)), model or Model())
    return work(job, model or Model(), shard=shard, workers=workers, ray=ray, show=show_progress_bar)


def resume(
    out: str | Path, *, model: Embedder | Model | None = None, shard: Shard = Shard(), workers: int | None = None,
    ray: str | None = None, show_progress_bar: bool = False,
) -> Result:  # fmt: skip
    """Complete the job in a folder. `model` None is the one that the job was started with, on the CPU. See `run`."""
    job = open_job(folder_of(str(out)))
    check_inputs(job)
    return work(job, model or recorded_model(job), shard=shard, workers=workers, ray=ray, show=show_progress_bar)


def recorded_model(job: Job, *, device: str = "cpu", threads: int | None = None) -> Model:
    """The model that a job was started with, for one run."""
    return Model.from_json(job.manifest.model, device=device, threads=threads)


def plan(settings: Settings, folder: Folder, model: Embedder | Model) -> Job:
    """The job of a folder: the one that is there, if it is the same, else a new one."""
    full, preprocessor = _described(model)
    if folder.read(MANIFEST) is None:
        return create(describe(folder, settings, full, preprocessor))
    job = open_job(folder)
    fingerprint = fingerprint_of(preprocessor, full.precision, settings.task, full.truncate_dim)
    check_same(job, settings, full.to_json(), fingerprint)
    check_inputs(job, inputs.find(settings.inputs))
    return job


def described_job(settings: Settings, folder: Folder, model: Embedder | Model) -> Job:
    """A job as it would be, without a file written."""
    return describe(folder, settings, *_described(model))


def work(
    job: Job, model: Embedder | Model, *, shard: Shard = Shard(), workers: int | None = None, ray: str | None = None,
    show: bool = False,
) -> Result:  # fmt: skip
    """Do what is missing of a job, and finish it when nothing is. See `run`."""
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    result, started = Result(job), perf_counter()
    share = shard.of(missing(job))
    if share:
        rows = sum(job.plan.parts[number].rows for number in share)
        with track(rows, show=show) as advance:
            result.failed = _dispatched(job, share, model, workers, ray, result, advance)
    result.left = len(missing(job))
    result.seconds = perf_counter() - started
    if not result.left and not is_finished(job):
        finish(job)
    result.finished = not result.left
    result.failed |= failures(job, missing(job)) if result.left else {}
    return result


def _dispatched(
    job: Job, share: list[int], model: Embedder | Model, workers: int | None, ray: str | None, result: Result,
    advance: Advance,
) -> dict[int, str]:  # fmt: skip
    if ray is None and workers in (None, 1):
        embedder = model if isinstance(model, Embedder) else model.load()
        return dispatch(job, share, OneProcess(Worker(job, embedder), advance), result.add)
    if isinstance(model, Embedder):
        raise InputError("workers load the model themselves; pass a Model, or use one worker")
    opened = (
        processes(job, model, min(workers or 1, len(share)), advance) if ray is None
        else cluster(job, model, ray, workers, len(share), advance)
    )  # fmt: skip
    with opened as pool:
        return dispatch(job, share, pool, result.add)


def _described(model: Embedder | Model) -> tuple[Model, Preprocessor]:
    """A model in full, and its preprocessor."""
    return model.resolved() if isinstance(model, Model) else (Model.of(model), model)
