"""Texts as an engine takes them: token sequences, and a report of the tokens that every text had and lost."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from me5.errors import counted


@dataclass
class Report:
    """The tokens and chunks of texts, and what was lost; grows with every call that it is passed to.

    `tokens` counts prompt and special tokens too, before truncation; `lost` the tokens that the model did not read;
    `chunks` the sequences that a text became; `unseen` the characters that were not tokenized, for a service does not
    count what it will not read: where there are any, `tokens` and `lost` are lower bounds. One number per text
    each, in input order.
    """

    tokens: "array[int]" = field(default_factory=lambda: array("q"))
    lost: "array[int]" = field(default_factory=lambda: array("q"))
    chunks: "array[int]" = field(default_factory=lambda: array("q"))
    unseen: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, other: "Report") -> None:
        """Append the figures of another report."""
        self.tokens.extend(other.tokens)
        self.lost.extend(other.lost)
        self.chunks.extend(other.chunks)
        self.unseen.extend(other.unseen)

    @property
    def texts(self) -> int:
        """The number of texts so far."""
        return len(self.tokens)

    @property
    def truncated(self) -> list[int]:
        """The index of every text that lost tokens."""
        return [index for index, lost in enumerate(self.lost) if lost]

    def __str__(self) -> str:
        summary = f"{counted(self.texts, 'text')}, {counted(sum(self.tokens), 'token')}"
        if truncated := self.truncated:
            summary += f"; {len(truncated):,} truncated, {counted(sum(self.lost), 'token')} lost"
        return summary


@dataclass(frozen=True)
class Prepared:
    """Texts as an engine takes them: token sequences, the text that each belongs to, and the report.

    `sequences` are int64 arrays of ids with special tokens; `owners` (sequences,) int64 rises from 0 to texts - 1.
    """

    sequences: list[npt.NDArray[np.int64]]
    owners: npt.NDArray[np.int64]
    report: Report

    @property
    def texts(self) -> int:
        """The number of texts."""
        return self.report.texts


def joined(parts: Sequence[Prepared]) -> Prepared:
    """The texts of several calls as if they had come in one."""
    report = Report()
    owners = []
    for part in parts:
        owners.append(part.owners + report.texts)
        report.add(part.report)
    return Prepared([ids for part in parts for ids in part.sequences], np.concatenate(owners), report)
