"""One job: the texts of a source through an Embedder into a target, in memory that does not grow with the file."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from me5.bulk.read import Record, records
from me5.bulk.resuming import Block, Journal, journal
from me5.bulk.source import Source
from me5.bulk.write import Target, writing
from me5.embedder import Embedder
from me5.errors import InputError
from me5.files.atomic import check_file
from me5.prepared import Report
from me5.progress import Advance
from me5.prompts import Side
from me5.vectors import Float32

_FIRST = 5
# What a kill costs at most, about: a block of texts, 4,096 of which take an hour with a large model on two cores.
_SECONDS = 20.0
# Rows that are written together from a journal.
_ROWS = 4096


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

    def add(self, block: Block) -> None:
        """Count a block of texts."""
        self.texts += block.rows
        self.tokens += block.tokens
        self.lost += block.lost
        self.truncated += block.truncated
        self.cut += block.cut[: _FIRST - len(self.cut)]


def check_pair(source: Source, target: Target) -> None:
    """Raise `InputError` where a target cannot take what a source gives."""
    if source.id_field is not None and target.format == "npy":
        raise InputError(
            f"{target.name} holds vectors only and no ids; write .parquet or .jsonl, or leave --id-field out and go by "
            "row numbers"
        )
    if target.keep and target.format == "npy":
        raise InputError(f"{target.name} holds vectors only and keeps no columns; write .parquet or .jsonl instead")
    if taken := sorted({*target.keep} & {"id", "text", "vector"}):
        raise InputError(f"the column {taken[0]!r} cannot be kept, for the result has one of that name; see --id-field")
    came, goes = source.path, target.path
    if isinstance(came, Path) and goes is not None:
        check_file(goes, came)


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

    `advance` is called with (texts, tokens) after each batch. From one file to another, a run that was killed is
    continued by the next one of the same texts and model: see `resuming`. Raises `InputError` naming the file and line
    of a text that cannot be embedded; the target is then as it was before.
    """
    check_pair(source, target)
    embedder.prompts.prefix(side, task)  # a task that does not fit is refused before anything is written
    started = perf_counter()
    summary = Summary(embedder.dim)
    task_of = _Texts(embedder, source, side, task)
    if target.path is None or not isinstance(source.path, Path) or not source.rereadable:
        with writing(target, embedder.dim) as write:
            for done, block, vectors in task_of.embedded(0, advance):
                write(done, vectors)
                summary.add(block)
    else:
        with journal(target.path, embedder.dim, task_of.job(source.path)) as kept:
            if advance is not None and kept.rows:
                advance(kept.rows, 0)
            try:
                for _, block, vectors in task_of.embedded(kept.rows, advance):
                    kept.add(block, vectors)
            except InputError:
                kept.wanted = False  # whoever repairs the text makes another file
                raise
            with writing(target, embedder.dim) as write:
                for done, vectors in _paired(records(source), kept):
                    write(done, vectors)
            for block in kept.blocks:
                summary.add(block)
    summary.seconds = perf_counter() - started
    return summary


@dataclass
class _Texts:
    """The texts of a source, and how they are embedded."""

    embedder: Embedder
    source: Source
    side: Side
    task: str | None

    def job(self, path: Path) -> dict[str, Any]:
        """All that decides the vectors, for a journal; of the file its size and time."""
        status = path.stat()
        return {
            "vectors": self.embedder.fingerprint(self.embedder.precision, task=self.task),
            "side": self.side,
            "file": [str(path.resolve()), status.st_size, status.st_mtime_ns],
            "read": [self.source.format, *self.source.fields],
        }

    def embedded(self, first: int, advance: Advance | None) -> Iterator[tuple[list[Record], Block, Float32]]:
        """The records from number `first` on, a block at a time, with its figures and vectors."""
        waiting: deque[Record] = deque()
        report = Report()
        texts = self._texts(first, waiting)
        try:
            blocks = self.embedder.stream(
                texts, self.side, task=self.task, report=report, advance=advance, seconds=_SECONDS
            )
            for vectors in blocks:
                done = [waiting.popleft() for _ in range(len(vectors))]
                truncated = report.truncated
                cut = [done[index].at for index in truncated[:_FIRST]]
                yield done, Block(len(done), sum(report.tokens), sum(report.lost), len(truncated), cut), vectors
                _clear(report)
        except InputError:
            self._blame(waiting)
            raise

    def _texts(self, first: int, waiting: "deque[Record]") -> Iterator[str]:
        for record in islice(records(self.source), first, None):
            waiting.append(record)
            yield record.text

    def _blame(self, waiting: Iterable[Record]) -> None:
        """Find which of the texts in work the embedder refused, and raise its error with the place in the file."""
        for record in waiting:
            try:
                self.embedder.prepare([record.text], self.side, task=self.task, first=record.at)
            except InputError as error:
                raise self.source.error(record.at, str(error)) from error


def _paired(found: Iterator[Record], kept: Journal) -> Iterator[tuple[list[Record], Float32]]:
    """Records with their vectors, some at a time."""
    for vectors in kept.read(_ROWS):
        yield list(islice(found, len(vectors))), vectors


def _clear(report: Report) -> None:
    """Forget the figures of single texts: in a long file they would fill the memory."""
    for figures in (report.tokens, report.lost, report.chunks):
        del figures[:]
