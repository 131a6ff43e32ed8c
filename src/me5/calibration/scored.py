"""Labelled pairs as numbers: whose question, which cosine, relevant or not."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from me5.calibration.curve import Floats
from me5.errors import InputError, counted

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# Fewer of either kind, or fewer questions, say nothing about the next ones.
LEAST_EACH, LEAST_QUESTIONS = 10, 10


@dataclass(frozen=True)
class Scored:
    """A column each: `question` numbers the questions from 0; pairs of one question are not independent of each other.

    Raises `InputError` where there are too few to learn from.
    """

    question: Ints
    cosine: Floats
    relevant: Bools

    def __post_init__(self) -> None:
        right = int(self.relevant.sum())
        for name, count, least in (
            ("relevant pair", right, LEAST_EACH),
            ("irrelevant pair", len(self) - right, LEAST_EACH),
            ("question", self.questions, LEAST_QUESTIONS),
        ):
            if count < least:
                raise InputError(
                    f"{counted(count, name)} among {counted(len(self), 'labelled pair')}: too few to learn from, "
                    f"expected at least {least}; label more pairs of both kinds"
                )

    def __len__(self) -> int:
        return len(self.cosine)

    @cached_property
    def questions(self) -> int:
        """The number of questions."""
        return int(self.question.max()) + 1 if len(self.question) else 0

    @property
    def share(self) -> float:
        """The share of relevant pairs."""
        return float(self.relevant.mean())

    @property
    def most(self) -> int:
        """The pairs of the question that has most."""
        return int(np.bincount(self.question).max())

    def of(self, questions: Bools) -> "tuple[Floats, Bools]":
        """(cosines, relevant) of the pairs of some questions."""
        rows = questions[self.question]
        return self.cosine[rows], self.relevant[rows]

    def weights(self, prior: float) -> Floats:
        """A weight for each pair, under which the share of relevant ones is `prior`."""
        share = self.share
        return np.where(self.relevant, prior / share, (1 - prior) / (1 - share))
