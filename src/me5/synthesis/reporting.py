"""The report: of each kind and language what was asked, what is kept, what was refused and why, and what it cost."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from me5.synthesis.budget import Limits
from me5.synthesis.collecting import Collected, Count, Group
from me5.synthesis.requests import TASKS

HEADS = ("kind", "language", "requests", "answers", "examples", "kept", "negatives suspected", "tokens", "cost")


@dataclass
class Line:
    """What became of one kind and language, or of all.

    `kept` are pairs in the result (for tasks, tasks that examples were asked for). `refused` counts by reason what was
    refused, of answers and later of the examples in them. `negatives` stay, `suspected` ones became `ignore`.
    """

    kind: str
    language: str
    requests: int = 0
    answers: int = 0
    good: int = 0
    kept: int = 0
    negatives: int = 0
    suspected: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    uncounted: int = 0
    cost: float | None = None
    refused: "Counter[str]" = field(default_factory=Counter)

    def add(self, other: "Line") -> None:
        """Add the numbers of another line."""
        for name in (
            "requests",
            "answers",
            "good",
            "kept",
            "negatives",
            "suspected",
            "tokens_in",
            "tokens_out",
            "uncounted",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost = None if other.cost is None else (self.cost or 0.0) + other.cost
        self.refused.update(other.refused)


@dataclass(frozen=True)
class Stages:
    """Pairs by the ids of their queries after each step that removes some, in order, by the reason of what it removes.

    `negatives` and `suspected` count the negatives of what stays.
    """

    pairs: Mapping[str, Mapping[str, int]]
    negatives: Mapping[str, int]
    suspected: Mapping[str, int]


@dataclass(frozen=True)
class Report:
    """The report as lines, by kind and language, in the order of the plan."""

    lines: Sequence[Line]

    @property
    def total(self) -> Line:
        """All of it."""
        total = Line("all", "")
        for line in self.lines:
            total.add(line)
            if line.language == TASKS:  # tasks are no examples
                total.good, total.kept = total.good - line.good, total.kept - line.kept
        return total

    def by_kind(self) -> list[Line]:
        """A line per kind; tasks apart."""
        kinds: dict[tuple[str, bool], Line] = {}
        for line in self.lines:
            group = (line.kind, line.language == TASKS)
            kinds.setdefault(group, Line(line.kind, TASKS if group[1] else "")).add(line)
        return list(kinds.values())

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {"total": vars(self.total), "lines": [vars(line) for line in self.lines]}

    def files(self) -> dict[str, list[str]]:
        """report.json and report.md."""
        content = json.dumps(self.to_json(), indent=2, ensure_ascii=False)
        return {"report.json": content.splitlines(), "report.md": list(self._markdown())}

    def _markdown(self) -> Iterator[str]:
        yield "# Synthetic data"
        yield ""
        yield f"| {' | '.join(HEADS)} |"
        yield f"|---|---|{'--:|' * (len(HEADS) - 2)}"
        for line in (*self.lines, self.total):
            yield f"| {' | '.join(cells(line))} |"
        yield ""
        yield "| refused because | kind | number |"
        yield "|---|---|--:|"
        for line in self.by_kind():
            for reason, number in sorted(line.refused.items()):
                yield f"| {reason} | {line.kind}{f' ({TASKS})' if line.language == TASKS else ''} | {number:,} |"


def cells(line: Line) -> list[str]:
    """A line as the cells of a table under `HEADS`."""
    suspected = f"{line.suspected:,} of {line.negatives + line.suspected:,}" if line.negatives + line.suspected else "–"
    tokens = f"{line.tokens_in + line.tokens_out:,}{'' if not line.uncounted else ' at most'}"
    cost = "–" if line.cost is None else f"{line.cost:.4f}"
    numbers = (line.requests, line.answers, line.good, line.kept)
    return [line.kind, line.language, *(f"{number:,}" for number in numbers), suspected, tokens, cost]


def build(collected: Collected, stages: Stages, limits: Limits, tasks: Mapping[str, tuple[int, int]]) -> Report:
    """The report of a run. `tasks` are those of each kind that examples were asked for, and those that differ."""
    lines = {group: _line(group, count, limits) for group, count in collected.counts.items()}
    for kind, (used, different) in tasks.items():
        line = lines[kind, TASKS]
        line.kept = used
        if line.good > different:
            line.refused["repeated"] = line.good - different
    before = {group: line.good for group, line in lines.items() if group[1] != TASKS}
    for reason, pairs in stages.pairs.items():
        after = _grouped(pairs, collected.groups)
        for group, number in before.items():
            if (gone := number - after[group]) > 0:
                lines[group].refused[reason] += gone
        before = {group: after[group] for group in before}
    for group, number in before.items():
        lines[group].kept = number
    for name, counts in (("negatives", stages.negatives), ("suspected", stages.suspected)):
        for group, number in _grouped(counts, collected.groups).items():
            setattr(lines[group], name, number)
    return Report(list(lines.values()))


def _line(group: Group, count: Count, limits: Limits) -> Line:
    cost = limits.cost(count.tokens_in, count.tokens_out) if limits.priced else None
    return Line(
        *group, count.requests, count.answers, count.good, 0, 0, 0, count.tokens_in, count.tokens_out, count.uncounted,
        cost, Counter(count.refused),
    )  # fmt: skip


def _grouped(counts: Mapping[str, int], groups: Mapping[str, Group]) -> Counter[Group]:
    grouped: Counter[Group] = Counter()
    for query, number in counts.items():
        grouped[groups[query]] += number
    return grouped
