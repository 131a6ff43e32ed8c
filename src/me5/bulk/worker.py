"""A worker: attempts at parts, one after another, with one engine; what became of each is a plain value."""

from dataclasses import dataclass
from typing import Any

from me5.bulk.commit import is_committed
from me5.bulk.embedding import TextEmbedder
from me5.bulk.inputs import ChangedError
from me5.bulk.job import Job
from me5.bulk.model import Model
from me5.bulk.part import OutputError, Reader, attempt
from me5.embedder import Embedder
from me5.errors import EngineError, InputError
from me5.progress import Advance

# An engine that runs out of memory with batches of so many tokens is not helped by smaller ones.
_LEAST_TOKENS = 64


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt. `error` None: the part is done. `fatal`: no other part would fare better.

    Of `truncated` texts `lost` tokens were not read; `refused` rows have no vector, `nulled` values became null.
    """

    part: int
    texts: int = 0
    tokens: int = 0
    memory: int = 0
    truncated: int = 0
    lost: int = 0
    refused: int = 0
    nulled: int = 0
    error: str | None = None
    fatal: bool = False


class Worker:
    """Attempts at the parts of a job with an embedder, which must be the one that the job was started with."""

    def __init__(self, job: Job, embedder: Embedder) -> None:
        check_embedder(job, embedder)
        self._job = job
        self._embedder = TextEmbedder(embedder, job.settings.side, job.settings.task)
        self._reader = Reader(job)

    def run(self, number: int, advance: Advance | None = None) -> Outcome:
        """One attempt at a part. A part that someone else has finished in the meantime costs nothing."""
        if is_committed(self._job, number):
            return Outcome(number)
        try:
            done = self._within_memory(number, advance)
        except (OutputError, ChangedError) as error:
            # Where someone else has finished the part, and the job, the files of other attempts are removed.
            return Outcome(number) if is_committed(self._job, number) else Outcome(number, error=str(error), fatal=True)
        except (InputError, EngineError, MemoryError) as error:
            return Outcome(number, error=str(error) or "out of memory")
        return Outcome(
            number, done.texts, done.tokens, done.memory, done.truncated, done.lost, done.refused, done.nulled
        )

    def _within_memory(self, number: int, advance: Advance | None) -> Any:
        """An attempt, again with half the tokens in a batch as long as the engine runs out of memory."""
        engine = self._embedder.embedder.engine
        while True:
            try:
                return attempt(self._job, self._job.plan.parts[number], self._reader, self._embedder, advance)
            except MemoryError:
                if engine.batch_tokens // 2 < _LEAST_TOKENS:
                    raise
                engine.batch_tokens //= 2


def open_worker(job: Job, device: str, threads: int | None) -> Worker:
    """A worker of a job, with the model that the job was started with."""
    return Worker(job, Model.from_json(job.manifest.model, device=device, threads=threads).load())


def check_embedder(job: Job, embedder: Embedder) -> None:
    """Raise `InputError` where a model is not the one that the job was started with."""
    manifest = job.manifest
    if embedder.precision != manifest.model["precision"]:
        raise InputError(
            f"{job.folder.url} holds vectors in {manifest.model['precision']}, and this engine computes in "
            f"{embedder.precision}; resume where it can compute in {manifest.model['precision']}"
        )
    if embedder.fingerprint(embedder.precision, task=job.settings.task) != manifest.fingerprint:
        raise InputError(
            f"the model {embedder.checkpoint.name} is not the one that {job.folder.url} was started with: its files, "
            "prompts or limits differ. Bring that one back, or start a new job in another folder"
        )
