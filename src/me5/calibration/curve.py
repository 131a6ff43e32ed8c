"""A monotone curve from cosine to probability: logistic, or through points."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from me5.errors import InputError

Floats = npt.NDArray[np.float64]
Method = Literal["logistic", "isotonic"]
# Far from all pairs that it was fitted to, a logistic curve would end in a certainty that no pairs can give.
_LEAST = 1e-6


@dataclass(frozen=True)
class Curve:
    """The probability of every cosine; it never falls.

    `logistic`: 1 / (1 + exp(-slope (cosine - middle))). `isotonic`: straight lines between the points (cosine,
    probability), and the ends' probabilities beyond them.
    """

    method: Method
    slope: float = 0.0
    middle: float = 0.0
    cosines: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        xs, ys = np.asarray(self.cosines, float), np.asarray(self.probabilities, float)
        if self.method == "logistic":
            sound = bool(np.isfinite([self.slope, self.middle]).all()) and self.slope > 0
        else:
            sound = (
                self.method == "isotonic" and 0 < len(xs) == len(ys) and bool(np.isfinite(xs).all())
                and bool((np.diff(xs) > 0).all()) and bool((np.diff(ys) >= 0).all())
                and bool(((ys > 0) & (ys < 1)).all())
            )  # fmt: skip
        if not sound:
            raise InputError(
                "a calibration's curve is damaged: expected a rising logistic curve, or points of rising cosines whose "
                "probabilities lie between 0 and 1 and never fall; calibrate again"
            )

    def __call__(self, cosines: npt.ArrayLike) -> Floats:
        """Probabilities, in the shape of the cosines."""
        scores = np.asarray(cosines, np.float64)
        if self.method == "isotonic":
            found: Floats = np.interp(scores, self.cosines, self.probabilities)
            return found
        return np.clip(sigmoid(self.slope * (scores - self.middle)), _LEAST, 1 - _LEAST)

    def as_dict(self) -> dict[str, Any]:
        """As a file has it."""
        mine = ("slope", "middle") if self.method == "logistic" else ("cosines", "probabilities")
        return {name: value for name, value in asdict(self).items() if name in ("method", *mine)}

    @classmethod
    def from_dict(cls, content: Any, where: str) -> "Curve":
        """Raises `InputError` naming `where` for what is none."""
        try:
            if not isinstance(content, Mapping):
                raise TypeError(f"a {type(content).__name__}")
            if content["method"] == "logistic":
                return cls("logistic", float(content["slope"]), float(content["middle"]))
            points = (tuple(map(float, content[name])) for name in ("cosines", "probabilities"))
            return cls(content["method"], 0.0, 0.0, *points)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: no curve ({error})") from error


def sigmoid(logits: npt.ArrayLike) -> Floats:
    """Log odds → probabilities, without overflow."""
    values: Floats = np.asarray(logits, np.float64)
    return 0.5 * (1 + np.tanh(values / 2))


def logit(probabilities: npt.ArrayLike) -> Floats:
    """Probabilities → log odds."""
    values: Floats = np.asarray(probabilities, np.float64)
    with np.errstate(divide="ignore"):
        return np.log(values) - np.log1p(-values)


def moved(probabilities: npt.ArrayLike, before: float, after: float) -> Floats:
    """Probabilities at another share of relevant pairs: Bayes' rule, where each kind's cosines stay as they are."""
    if before == after:
        return np.asarray(probabilities, np.float64)
    return sigmoid(logit(probabilities) + logit(after) - logit(before))
