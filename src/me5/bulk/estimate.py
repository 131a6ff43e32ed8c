"""What a job would take, before it starts: some texts from all over it are embedded, and the rest is multiplied."""

from dataclasses import dataclass
from itertools import islice
from time import perf_counter

from me5.bulk.embedding import Entry, Tally, TextEmbedder
from me5.bulk.job import Job
from me5.bulk.part import Reader
from me5.embedder import Embedder

# Parts that are sampled, texts of each, texts that warm the engine up, and the seconds that all the rest may take.
_PARTS, _TEXTS, _WARM, _SECONDS = 16, 64, 32, 20.0
_BYTES = {"f32": 4.0, "f16": 2.0, "int8": 1.0, "binary": 0.125}


@dataclass(frozen=True)
class Estimate:
    """A job in figures. `tokens`, `seconds` and `tokens_per_second` are multiplied from `sampled` texts.

    `seconds` are those of all machines together, `bytes` those of the vectors.
    """

    files: int
    parts: int
    texts: int
    bytes: int
    sampled: int
    tokens: int
    tokens_per_second: float
    seconds: float

    def cost(self, price_per_hour: float) -> float:
        """What it costs, at the price of a machine like this one."""
        return self.seconds / 3600 * price_per_hour


def estimate(job: Job, embedder: Embedder) -> Estimate:
    """Embed a sample of a job's texts, and multiply."""
    plan, settings = job.plan, job.settings
    reader = Reader(job)
    sample = [
        entry for part in plan.parts[:: max(1, len(plan.parts) // _PARTS)]
        for _, entry in islice(reader.entries(part), _TEXTS)
    ]  # fmt: skip
    texts = TextEmbedder(embedder, settings.side, settings.task)
    _, warm = _embedded(texts, sample[:_WARM])
    sample = sample[:: max(1, round(warm * len(sample) / _WARM / _SECONDS))]
    tally, seconds = _embedded(texts, sample)
    share = plan.texts / len(sample)
    return Estimate(
        files=len(plan.files), parts=len(plan.parts), texts=plan.texts,
        bytes=round(plan.texts * job.manifest.dim * _BYTES[settings.vectors]), sampled=len(sample),
        tokens=round(tally.tokens * share), tokens_per_second=tally.tokens / seconds, seconds=seconds * share,
    )  # fmt: skip


def _embedded(texts: TextEmbedder, sample: list[Entry]) -> tuple[Tally, float]:
    """What some texts are, and the seconds that they took."""
    tally, started = Tally(), perf_counter()
    for _ in texts.rows(sample, len(sample), tally):
        pass
    return tally, perf_counter() - started
