"""The plan of a job: its inputs cut into parts of about as many texts each. The cut depends on the inputs alone.

A part is one or more pieces: records `start` to `start + records` of a file. Large files are cut, at row groups where
Parquet has small ones; whole small files share a part. A file without records is a piece too, so that it is known.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

from me5.bulk.inputs import Input
from me5.bulk.read import entries
from me5.bulk.source import Source
from me5.errors import InputError
from me5.files import parquet
from me5.files.lines import Start, starts
from me5.flow import ahead

# Files that are looked at side by side.
_THREADS = 8


class Piece(NamedTuple):
    """Some records of a file, and what the file was when the plan was made."""

    file: str
    version: str
    start: Start
    records: int


class Part(NamedTuple):
    """The unit of work."""

    number: int
    pieces: tuple[Piece, ...]

    @property
    def rows(self) -> int:
        """How many rows it becomes."""
        return sum(piece.records for piece in self.pieces)


@dataclass(frozen=True)
class Plan:
    """All parts of a job."""

    parts: tuple[Part, ...]

    @cached_property
    def texts(self) -> int:
        """How many records there are in all."""
        return sum(part.rows for part in self.parts)

    @cached_property
    def files(self) -> dict[str, str]:
        """Every input and its version."""
        return {piece.file: piece.version for part in self.parts for piece in part.pieces}

    @cached_property
    def fingerprint(self) -> str:
        """A fingerprint of the cut and of the inputs."""
        return hashlib.sha256(repr([tuple(part) for part in self.parts]).encode()).hexdigest()[:32]


def make(inputs: Sequence[Input], source_of: Callable[[str], Source], texts: int) -> Plan:
    """Cut files into parts of about `texts` records. Reads lines and CSV once, of Parquet only the end of each file.

    Raises `InputError` for a file that cannot be read, and where there are no records at all.
    """
    grouped: list[list[Piece]] = []
    rows = 0
    for file, pieces in ahead(lambda file: list(_cut(source_of(file.name), texts)), inputs, _THREADS):
        for start, records in pieces or [(Start(), 0)]:
            if not grouped or start.record or rows + records > texts:
                grouped.append([])
                rows = 0
            grouped[-1].append(Piece(file.name, file.version, start, records))
            rows += records
    plan = Plan(tuple(Part(number, tuple(pieces)) for number, pieces in enumerate(grouped)))
    if not plan.texts:
        raise InputError(f"the inputs are empty: no text to embed in {', '.join(file.name for file in inputs[:3])}")
    return plan


def to_parquet(plan: Plan) -> bytes:
    """A plan as a file: a row per piece."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"part": part.number, "file": piece.file, "version": piece.version, **piece.start._asdict(),
         "records": piece.records}
        for part in plan.parts for piece in part.pieces
    ]  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def from_parquet(content: bytes) -> Plan:
    """The plan in a file."""
    import pyarrow.parquet as pq

    rows = pq.read_table(io.BytesIO(content)).to_pylist()
    return Plan(tuple(
        Part(number, tuple(
            Piece(row["file"], row["version"], Start(row["record"], row["byte"], row["line"]), row["records"])
            for row in pieces
        ))
        for number, pieces in groupby(rows, lambda row: row["part"])
    ))  # fmt: skip


def _cut(source: Source, texts: int) -> Iterator[tuple[Start, int]]:
    """Where the pieces of a file begin, and how many records each has."""
    assert source.path is not None
    if source.format == "parquet":
        yield from _cut_groups(parquet.groups(source.path), texts)
        return
    if source.format in ("text", "jsonl"):
        found, count = starts(source.path, texts, blank=source.format == "text")
    else:
        count = sum(1 for _ in entries(source))
        found = [Start(record) for record in range(0, count, texts)]
    for start in found if count else ():
        yield start, min(texts, count - start.record)


def _cut_groups(groups: Sequence[int], texts: int) -> Iterator[tuple[Start, int]]:
    """Row groups as they are where several make a part, larger ones cut."""
    at = begun = 0
    for rows in groups:
        if at > begun and at + rows - begun > texts:
            yield Start(begun), at - begun
            begun = at
        at += rows
        while at - begun > texts:
            yield Start(begun), texts
            begun += texts
    if at > begun:
        yield Start(begun), at - begun
