"""How far a score hangs on the words of the prompt: the same sets, judged with several phrasings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from me5.errors import PromptError
from me5.evaluation.encoders.base import Encoder, Prompt
from me5.evaluation.encoders.cached import CachedEncoder
from me5.evaluation.protocols import TWO_SIDED, TYPES, evaluate, prompts_of, sentence_of
from me5.evaluation.sentences import PHRASINGS
from me5.evaluation.task import Task
from me5.files.atomic import scratch
from me5.progress import Advance
from me5.prompts import task_sentence

BARE = "(no prompt)"


@dataclass(frozen=True)
class Phrasing:
    """One phrasing, and the main figure of each set with it."""

    sentence: str
    scores: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The mean over sets."""
        return float(np.mean(list(self.scores.values())))


@dataclass(frozen=True)
class Spread:
    """How far apart the phrasings of one kind of task lie, `BARE` left aside."""

    side: str
    phrasings: tuple[Phrasing, ...]

    @property
    def prompted(self) -> list[Phrasing]:
        """Those with a prompt."""
        return [one for one in self.phrasings if one.sentence != BARE]

    @property
    def range(self) -> float:
        """Between the best and the worst phrasing."""
        means = [one.mean for one in self.prompted]
        return max(means) - min(means)

    @property
    def deviation(self) -> float:
        """The standard deviation of the means."""
        return float(np.std([one.mean for one in self.prompted]))


def phrasings_of(tasks: Sequence[Task], encoder: Encoder, given: Sequence[str] | None) -> dict[str, list[str]]:
    """For each side that tasks ask from, the sentences to try: their own, then the given or known ones, then `BARE`.

    A model with fixed prompts has its own and none. Raises `PromptError` where such a model is given sentences.
    """
    found: dict[str, dict[str, None]] = {}
    for task in tasks:
        side = _side(task)
        own = encoder.prompt("query" if side == "query" else "both", sentence_of(task))
        if own.task is None and given:
            raise PromptError("this model has fixed prompts and takes no sentence; leave --phrasing out")
        others = [] if own.task is None else [task_sentence(one) for one in given or PHRASINGS[side]]
        found.setdefault(side, {}).update(dict.fromkeys([own.task or own.text or BARE, *others]))
    return {side: [*(one for one in listed if one != BARE), BARE] for side, listed in found.items()}


def spreads(
    tasks: Sequence[Task], encoder: Encoder, phrasings: Mapping[str, Sequence[str]], advance: Advance | None = None
) -> Iterator[Spread]:
    """One spread per side. Documents that no phrasing touches are embedded once."""
    with scratch("me5-eval") as folder:
        cached = CachedEncoder(encoder, folder)
        try:
            for side, sentences in phrasings.items():
                chosen = [task for task in tasks if _side(task) == side]
                tried = [
                    Phrasing(
                        sentence,
                        {
                            str(task.subset): evaluate(
                                task, cached, prompts=_said(task, cached, sentence), advance=advance
                            ).score
                            for task in chosen
                        },
                    )
                    for sentence in sentences
                ]
                yield Spread(side, tuple(tried))
        finally:
            cached.close()


def _side(task: Task) -> str:
    return "query" if TYPES[type(task)] in TWO_SIDED else "both"


def _said(task: Task, encoder: Encoder, sentence: str) -> list[Prompt]:
    if sentence == BARE:
        return [Prompt(prompt.side, None, "") for prompt in prompts_of(task, encoder)]
    if encoder.prompt("query", sentence_of(task)).task is None:
        return prompts_of(task, encoder)
    return prompts_of(task, encoder, sentence)
