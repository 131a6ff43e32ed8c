"""What a user gives up for what he saves: quality against tokens per second, and against bytes per vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median
from time import perf_counter

import numpy as np

from me5.errors import InputError
from me5.evaluation.encoders.base import Encoder, Prompt
from me5.evaluation.encoders.cached import CachedEncoder
from me5.evaluation.encoders.reduced import Kind, ReducedEncoder, Reduction
from me5.evaluation.protocols import TYPES, evaluate, prompts_of
from me5.evaluation.task import Classification, Clustering, Reranking, Retrieval, Task
from me5.files.atomic import scratch
from me5.progress import Advance

ROUNDS = 3


@dataclass(frozen=True)
class Point:
    """One way to run the model and keep its vectors. `quality` is the mean main figure over tasks, of equal weight.

    `by_task` has the mean of each; `tokens_per_second` is that of the precision, whatever is kept of the vectors.
    """

    precision: str
    reduction: Reduction
    tokens_per_second: float
    quality: float
    by_task: Mapping[str, float]


def rates(
    encoders: Mapping[str, Encoder], tasks: Sequence[Task], *, texts: int, rounds: int = ROUNDS
) -> dict[str, float]:
    """Tokens per second of each encoder on the same texts: medians of passes taken by turns, after one that warms up.

    By turns, for a machine that slows down then slows all of them.
    """
    names = list(encoders)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            tokens, seconds = _pass(encoders[name], tasks, texts)
            if turn:
                taken[name].append(tokens / seconds)
    return {name: median(values) for name, values in taken.items()}


def _pass(encoder: Encoder, tasks: Sequence[Task], texts: int) -> tuple[int, float]:
    tokens = 0

    def count(_: int, read: int) -> None:
        nonlocal tokens
        tokens += read

    seconds = 0.0
    for task in tasks:
        some, prompt = _some_texts(task, max(1, texts // len(tasks))), prompts_of(task, encoder)[-1]
        started = perf_counter()
        encoder.embed(some, prompt, count)
        seconds += perf_counter() - started
    return tokens, seconds


def _some_texts(task: Task, count: int) -> list[str]:
    """The first texts of what a task embeds most of."""
    if isinstance(task, Retrieval | Reranking):
        return [text for _, text in islice(task.documents, count)]
    if isinstance(task, Classification):
        return list(task.test[:count])
    return list((task.texts if isinstance(task, Clustering) else task.left)[:count])


def reductions(dim: int, dims: Sequence[int] | None, kinds: Sequence[Kind]) -> list[Reduction]:
    """Every number of dimensions with every kind; by default all dimensions, half and a quarter of them."""
    chosen = list(dims) if dims else [dim, dim // 2, dim // 4]
    if wrong := [one for one in chosen if not 1 <= one <= dim]:
        raise InputError(f"the model's vectors have {dim} dimensions and cannot be cut to {wrong[0]}")
    return [Reduction(one, kind) for one in sorted({dim, *chosen}, reverse=True) for kind in kinds]


def points(
    encoders: Mapping[str, Encoder],
    tasks: Sequence[Task],
    speeds: Mapping[str, float],
    *,
    dims: Sequence[int] | None = None,
    kinds: Sequence[Kind] = ("float32", "int8", "binary"),
    advance: Advance | None = None,
) -> list[Point]:
    """Quality at each precision, and at the first with each reduction of its vectors. Embeds every text once."""
    found = []
    with scratch("me5-eval") as folder:
        for place, (precision, encoder) in enumerate(encoders.items()):
            cached = CachedEncoder(encoder, folder)
            try:
                probe = encoder.embed(["probe"], Prompt("document", None, ""))
                whole = Reduction(probe.shape[1])
                chosen = [whole]
                if place == 0:
                    chosen += [one for one in reductions(whole.dim, dims, kinds) if one != whole]
                for reduction in chosen:
                    progress = advance if reduction is whole else None
                    by_task = _quality(tasks, ReducedEncoder(cached, reduction), progress)
                    mean = float(np.mean(list(by_task.values())))
                    found.append(Point(precision, reduction, speeds[precision], mean, by_task))
            finally:
                cached.close()
    return found


def _quality(tasks: Sequence[Task], encoder: Encoder, advance: Advance | None) -> dict[str, float]:
    scores: dict[str, list[float]] = {}
    for task in tasks:
        outcome = evaluate(task, encoder, advance=advance)
        scores.setdefault(f"{task.subset.task} ({TYPES[type(task)]})", []).append(outcome.score)
    return {name: float(np.mean(values)) for name, values in scores.items()}
