"""Calibration: the probability that a pair of texts with this cosine belongs together, and where to cut."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from me5.calibration import bound
from me5.calibration.bound import Sides, Vectors
from me5.calibration.curve import Curve, Floats, moved
from me5.errors import CalibrationError, InputError
from me5.files.atomic import write_text

FORMAT = 1
# What a search shows; behind it lies what a question's cosines are measured against.
SHOWN, NEIGHBOURS = 10, 20
# Among fewer passages those at these ranks are as far from the question as any: nothing is measured against them.
LEAST_PASSAGES = 100
_UNKNOWN = (
    f"this calibration measures cosines against those at the ranks {SHOWN + 1} to {NEIGHBOURS} of their question, "
    f"which are not known here: give those of questions with at least {LEAST_PASSAGES} passages (questions, passages), "
    "or calibrate with labelled pairs of query and document"
)


@dataclass(frozen=True)
class Cut:
    """Where to cut so that at most the share `risk` of what is shown is irrelevant; `cosine` None: nowhere.

    True with probability `confidence` over the draw of the questions it was made with, for questions drawn like them.
    """

    risk: float
    confidence: float
    cosine: float | None


@dataclass(frozen=True)
class Calibration:
    """A curve from cosine to probability, and the vectors and prompts that it is for.

    `labelled` is the share of relevant pairs among those that it was made with, `prior` the one that its probabilities
    are for. `neighbourhood` is that of a question (`neighbourhood_of`), in the mean over those it was made with:
    the curve and the cuts are for cosines that `placed` has moved there. None: for cosines as they are. `figures` are
    how good it was on held-out pairs, `made` what it was made of.
    """

    vectors: Vectors
    sides: Sides
    curve: Curve
    labelled: float
    prior: float
    cuts: tuple[Cut, ...] = ()
    neighbourhood: float | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_share("prior", self.prior)
        check_share("labelled", self.labelled)
        if self.neighbourhood is not None and not math.isfinite(self.neighbourhood):
            raise InputError(f"a calibration is damaged (its neighbourhood is {self.neighbourhood}); calibrate again")

    def tells(self, passages: int) -> bool:
        """Whether it can say what a cosine means where a question has so many passages."""
        return self.neighbourhood is None or passages >= LEAST_PASSAGES

    def placed(self, cosines: npt.ArrayLike, neighbourhood: npt.ArrayLike | None = None) -> Floats:
        """The cosines that these would be where questions have the neighbourhood that this calibration was made with.

        `neighbourhood` is that of their question, in the shape of the cosines or a number; None is that which a matrix
        (questions, passages) has itself. Raises `CalibrationError` where it is needed and not known.
        """
        found: Floats = np.asarray(cosines, np.float64)
        if self.neighbourhood is None:
            return found
        there = neighbourhoods_in(found) if neighbourhood is None else np.asarray(neighbourhood, np.float64)
        if there is None:
            raise CalibrationError(_UNKNOWN)
        return found - there + self.neighbourhood

    def probability(self, cosines: npt.ArrayLike, neighbourhood: npt.ArrayLike | None = None) -> Floats:
        """The probability that each pair belongs together, in the shape of the cosines.

        Of one question a higher cosine has no less. `neighbourhood`, and what is raised without it, is as for `placed`.
        """
        return self.of_placed(self.placed(cosines, neighbourhood))

    def of_placed(self, cosines: npt.ArrayLike) -> Floats:
        """The probabilities of cosines that were `placed`."""
        return moved(self.curve(cosines), self.labelled, self.prior)

    def with_prior(self, prior: float | None) -> Self:
        """The same where another share of the pairs that are looked at is relevant; None changes nothing.

        By Bayes' rule: it holds as far as relevant pairs have the cosines of the labelled ones that were relevant, and
        irrelevant pairs those of the others. Cuts are for the old share, and are left out.
        """
        if prior is None:
            return self
        check_share("prior", prior)
        return self if prior == self.prior else replace(self, prior=prior, cuts=())

    def cut(self, risk: float) -> float:
        """The cosine of a cut, for cosines that were `placed`.

        Raises `CalibrationError` where it was not made, or none keeps to the risk.
        """
        found = next((cut for cut in self.cuts if math.isclose(cut.risk, risk)), None)
        if found is None:
            known = ", ".join(f"{cut.risk:g}" for cut in self.cuts) or "none"
            raise CalibrationError(
                f"this calibration has no cut for a risk of {risk:g}, only for {known}; calibrate with --risk {risk:g}"
            )
        if found.cosine is None:
            raise CalibrationError(
                f"no cosine keeps the share of irrelevant passages at {risk:g} or below in the data of this "
                f"calibration ({self.vectors.model}); allow a higher risk, or calibrate with more questions"
            )
        return found.cosine

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "format": FORMAT,
            "kind": "probability",
            "vectors": bound.written(self.vectors),
            "sides": bound.written(self.sides),
            "labelled": self.labelled,
            "prior": self.prior,
            "neighbourhood": self.neighbourhood,
            "cuts": [{"risk": cut.risk, "confidence": cut.confidence, "cosine": cut.cosine} for cut in self.cuts],
            "figures": dict(self.figures),
            "made": dict(self.made),
            "curve": self.curve.as_dict(),
        }

    def to_json(self) -> str:
        """As it is kept; `from_json` is the reverse."""
        return json.dumps(self.content(), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Calibration":
        """Raises `InputError` naming `where` for what is none, is damaged, or is of a newer me5."""
        content = content_of(text, where, "probability")
        try:
            return cls(
                bound.read(Vectors, content["vectors"], where), bound.read(Sides, content["sides"], where),
                Curve.from_dict(content["curve"], where), float(content["labelled"]), float(content["prior"]),
                _cuts(content["cuts"]), None if content["neighbourhood"] is None else float(content["neighbourhood"]),
                dict(content["figures"]), dict(content["made"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where} is a damaged calibration ({error!r}); calibrate again") from error

    @classmethod
    def read(cls, path: str | Path) -> "Calibration":
        """A calibration in a file. Raises `InputError` naming it."""
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as a calibration: {error}") from error
        return cls.from_json(text, str(path))

    def write(self, path: str | Path) -> None:
        """Write it, whole or not at all. Raises `InputError` where the file cannot be written."""
        write_text(Path(path), self.to_json())


def neighbourhood_of(cosines: Sequence[float], passages: int) -> float | None:
    """The mean cosine of the passages that a question finds at the ranks 11 to 20, best first.

    It is how close passages come that hardly answer: higher where all are about one subject, and where there are more.
    None where there are too few `passages` to find any that are closer than the others.
    """
    if passages < LEAST_PASSAGES or len(cosines) < NEIGHBOURS:
        return None
    after = cosines[SHOWN:NEIGHBOURS]
    return sum(after) / len(after)


def neighbourhoods_in(cosines: Floats) -> Floats | None:
    """The same of each question of a matrix (questions, passages): (questions, 1); None for anything else."""
    if cosines.ndim != 2 or cosines.shape[1] < LEAST_PASSAGES:
        return None
    best = np.partition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
    after: Floats = np.sort(best, axis=1)[:, : NEIGHBOURS - SHOWN].mean(axis=1, keepdims=True)
    return after


def content_of(text: str, where: str, kind: str) -> dict[str, Any]:
    """The content of a calibration's JSON. Raises `InputError` for another kind or format."""
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not a calibration: {error}") from error
    if not isinstance(content, dict) or content.get("kind") != kind:
        found = content.get("kind") if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{where} is not a calibration of kind {kind!r}, got {found!r:.60}")
    if content.get("format") != FORMAT:
        raise InputError(
            f"{where} is a calibration of format {content.get('format')!r:.60}, this me5 reads {FORMAT}; update me5"
        )
    return content


def check_share(name: str, value: float) -> None:
    """Raise `InputError` unless a share lies between 0 and 1."""
    if not 0 < value < 1:
        raise InputError(f"{name} must lie between 0 and 1, got {value}")


def _cuts(listed: Sequence[Mapping[str, Any]]) -> tuple[Cut, ...]:
    return tuple(
        Cut(float(one["risk"]), float(one["confidence"]), None if one["cosine"] is None else float(one["cosine"]))
        for one in listed
    )
