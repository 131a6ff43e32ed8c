"""Two runs on the same examples, set by set and task by task: how far apart, and whether by more than chance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from me5.errors import InputError
from me5.evaluation.results import Result
from me5.evaluation.statistics import Difference, difference, holm, mean_difference
from me5.evaluation.summary import by_task


@dataclass(frozen=True)
class Row:
    """One set, or the mean of a task's (`sets` > 1). `p` is corrected for the number of rows of its kind (Holm)."""

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
    corrected = holm([row.delta.p for row in rows])
    rows = [replace(row, p=p) for row, p in zip(rows, corrected, strict=True)]
    means = list(_means(pairs, rows))
    corrected = holm([row.delta.p for row in means])
    return rows + [replace(row, p=p) for row, p in zip(means, corrected, strict=True)]


def _row(a: Result, b: Result) -> Row:
    delta = difference(a.outcome, b.outcome, str(a.subset))
    return Row(str(a.subset), a.outcome.main, a.outcome.score, b.outcome.score, delta, delta.p)


def _means(pairs: Sequence[tuple[Result, Result]], rows: Sequence[Row]) -> Iterator[Row]:
    of_set = dict(zip((str(a.subset) for a, _ in pairs), rows, strict=True))
    for task, results in by_task([a for a, _ in pairs]).items():
        members = [of_set[str(result.subset)] for result in results]
        if len(members) > 1 and len({row.main for row in members}) == 1:
            delta = mean_difference([row.delta for row in members])
            count = len(members)
            a, b = (sum(getattr(row, side) for row in members) / count for side in ("a", "b"))
            yield Row(task, members[0].main, a, b, delta, delta.p, count)


def _sets(results: Sequence[Result]) -> str:
    names = [str(result.subset) for result in results]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
