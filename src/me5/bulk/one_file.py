"""One job: the texts of a source through an Embedder into a target, in memory that does not grow with the file."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from me5.bulk.read import Record, records
from me5.bulk.source import Source
from me5.bulk.write import Target, writing
from me5.embedder import Embedder
from me5.errors import InputError
from me5.prepared import Report
from me5.progress import Advance
from me5.prompts import Side

_FIRST = 5


@dataclass
class Summary:
    """What a job did. `tokens` counts those that were lost too; `cut` has the places of the first truncated texts."""

    dim: int
    texts: int = 0
    tokens: int = 0
    lost: int = 0
    truncated: int = 0
    cut: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, done: list[Record], report: Report) -> None:
        """Count a block of records and their report."""
        self.texts += len(done)
        self.tokens += sum(report.tokens)
        self.lost += sum(report.lost)
        truncated = report.truncated
        self.truncated += len(truncated)
        self.cut += [done[index].at for index in truncated[: _FIRST - len(self.cut)]]


def check_pair(source: Source, target: Target) -> None:
    """Raise `InputError` where a target cannot take what a source gives."""
    if source.id_field is not None and target.format == "npy":
        raise InputError(
            f"{target.name} holds vectors only and no ids; write .parquet or .jsonl, or leave --id-field out and go by "
            "row numbers"
        )
    came, goes = source.path, target.path
    if isinstance(came, Path) and goes is not None and goes.exists() and came.samefile(goes):
        raise InputError(f"{target.name} is also the input, and would be replaced; write elsewhere")


def embed_file(
    embedder: Embedder,
    source: Source,
    target: Target,
    side: Side = "document",
    *,
    task: str | None = None,
    advance: Advance | None = None,
) -> Summary:
    """Write the vector of every text of `source` to `target`, in order.

    `advance` is called with (texts, tokens) after each batch. Raises `InputError` naming the file and line of a text
    that cannot be embedded; the target is then as it was before.
    """
    check_pair(source, target)
    embedder.prompts.prefix(side, task)  # a task that does not fit is refused before anything is written
    started = perf_counter()
    summary = Summary(embedder.dim)
    waiting: deque[Record] = deque()
    report = Report()
    with writing(target, embedder.dim) as write:
        try:
            for block in embedder.stream(_texts(source, waiting), side, task=task, report=report, advance=advance):
                done = [waiting.popleft() for _ in range(len(block))]
                write(done, block)
                summary.add(done, report)
                _clear(report)
        except InputError:
            _blame(embedder, source, side, task, waiting)
            raise
    summary.seconds = perf_counter() - started
    return summary


def _texts(source: Source, waiting: "deque[Record]") -> Iterator[str]:
    for record in records(source):
        waiting.append(record)
        yield record.text


def _clear(report: Report) -> None:
    """Forget the figures of single texts: in a long file they would fill the memory."""
    for figures in (report.tokens, report.lost, report.chunks):
        del figures[:]


def _blame(embedder: Embedder, source: Source, side: Side, task: str | None, waiting: Iterable[Record]) -> None:
    """Find which of the texts in work the embedder refused, and raise its error with the place in the file."""
    for record in waiting:
        try:
            embedder.prepare([record.text], side, task=task, first=record.at)
        except InputError as error:
            raise source.error(record.at, str(error)) from error
