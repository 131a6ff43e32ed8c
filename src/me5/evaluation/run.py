"""Judge a model on one task after another, with BM25 beside it where there is something to retrieve."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

from me5.calibration.applied import Calibration
from me5.errors import InputError
from me5.evaluation import bm25, results
from me5.evaluation.encoders.base import Encoder, Prompt
from me5.evaluation.protocols import TYPES, evaluate, prompts_of
from me5.evaluation.results import Result
from me5.evaluation.second import SecondStage, check_ranked
from me5.evaluation.statistics import interval_of
from me5.evaluation.task import Outcome, Reranking, Retrieval, Task
from me5.progress import Advance


def judge(
    tasks: Sequence[Task],
    encoder: Encoder,
    *,
    sentence: str | None = None,
    yardstick: bool = True,
    name: str | None = None,
    calibration: Calibration | None = None,
    second: SecondStage | None = None,
    out: Path | None = None,
    advance: Advance | None = None,
) -> Iterator[Result]:
    """Results as they are made; `out` keeps each at once, so that a run cut short loses one set at most.

    `sentence` replaces what instruct models are told. `yardstick` adds BM25 on retrieval and reranking sets. `name` is
    what the model is called in results, in place of its own. `calibration` is judged where it is for the prompts of a
    retrieval set. With a `second` stage both together are judged, on sets of documents to rank. Raises `InputError`
    before anything is embedded where a set is none, or `out` cannot be written, or holds results that do not belong
    with these.
    """
    said = [prompts_of(task, encoder, sentence) for task in tasks]
    fingerprint, own = encoder.fingerprint, encoder.name
    if second is not None:
        for task in tasks:
            check_ranked(task)
        fingerprint, own = second.fingerprint(encoder), second.name(encoder.name)
    called = own if name is None else _checked(name)
    if out is not None:
        results.open_folder(out)
        for task, prompts in zip(tasks, said, strict=True):
            results.check(out, called, fingerprint, task.subset.task, prompts)
    for task, prompts in zip(tasks, said, strict=True):
        made = partial(evaluate, task, encoder, prompts=prompts, calibration=calibration, advance=advance)
        if second is not None:
            made = partial(second.evaluate, task, encoder, prompts, advance)
        yield _measured(task, called, fingerprint, prompts, made, out)
        if yardstick and isinstance(task, Retrieval | Reranking):
            yield _measured(task, bm25.NAME, bm25.FINGERPRINT, [], partial(bm25.evaluate, task), out)


def _checked(name: str) -> str:
    if not name.strip() or not name.isprintable() or name in (".", "..", bm25.NAME):
        raise InputError(f"a model cannot be called {name!r}; expected a printable name other than {bm25.NAME}")
    return name


def _measured(
    task: Task, model: str, fingerprint: str, prompts: list[Prompt], made: Callable[[], Outcome], out: Path | None
) -> Result:
    started = perf_counter()
    outcome = made()
    seconds = perf_counter() - started
    result = Result(
        task.subset, TYPES[type(task)], model, outcome, tuple(prompts), seconds, fingerprint, interval_of(outcome)
    )
    if out is not None:
        results.write(out, result)
    return result
