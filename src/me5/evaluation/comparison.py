"""Two runs on the same examples, set by set and task by task: how far apart, and whether by more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from me5.errors import InputError
from me5.evaluation.results import Result
from me5.evaluation.statistics import Difference, difference, holm, mean_difference


@dataclass(frozen=True)
class Row:
    """One set, or the mean of a task's (`sets` > 1). `p` is corrected for the sets of its task, or the means (Holm)."""

    task: str
    name: str
    main: str
    a: float
    b: float
    delta: Difference
    p: float
    sets: int = 1

    @property
    def certain(self) -> bool:
        """Whether the difference is more than chance at 5 %."""
        return self.p < 0.05


def compare(a: Sequence[Result], b: Sequence[Result]) -> list[Row]:
    """Rows of all sets that both runs judged, then of the means of tasks. Raises `InputError` where there is none."""
    others = {(result.subset.task, result.subset.name, result.subset.split): result for result in b}
    pairs = [
        (result, others[key])
        for result in a
        if (key := (result.subset.task, result.subset.name, result.subset.split)) in others
    ]
    if not pairs:
        raise InputError(f"the two runs have no set in common: {_sets(a)} and {_sets(b)}")
    rows = [_row(*pair) for pair in pairs]
    of_task = [[row for row in rows if row.task == task] for task in dict.fromkeys(row.task for row in rows)]
    means = [_mean(members) for members in of_task if len(members) > 1 and len({row.main for row in members}) == 1]
    return [row for members in (*of_task, means) for row in _corrected(members)]


def _corrected(rows: Sequence[Row]) -> list[Row]:
    return [replace(row, p=p) for row, p in zip(rows, holm([row.delta.p for row in rows]), strict=True)]


def _row(a: Result, b: Result) -> Row:
    delta = difference(a.outcome, b.outcome, str(a.subset))
    return Row(a.subset.task, str(a.subset), a.outcome.main, a.outcome.score, b.outcome.score, delta, delta.p)


def _mean(members: Sequence[Row]) -> Row:
    delta = mean_difference([row.delta for row in members])
    count, first = len(members), members[0]
    a, b = (sum(getattr(row, side) for row in members) / count for side in ("a", "b"))
    return Row(first.task, first.task, first.main, a, b, delta, delta.p, count)


def _sets(results: Sequence[Result]) -> str:
    names = [str(result.subset) for result in results]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
