"""Background: where pairs of texts lie that were drawn at random, by the languages of both. No probability.

Without labels nothing says which cosine means that a passage answers a question; only which ones chance brings about.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from me5.calibration import bound
from me5.calibration.applied import FORMAT, content_of
from me5.calibration.bound import Sides, Vectors
from me5.calibration.curve import Floats
from me5.errors import InputError

# Per cent of the pairs that lie below; fine where it matters.
PERCENTILES = (
    0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 100.0,
)  # fmt: skip
# With fewer pairs of two languages, those of all languages stand for them.
LEAST_PAIRS = 1_000
ANY = "any"


@dataclass(frozen=True)
class Background:
    """Cosines at `PERCENTILES` of random pairs, by `question language>passage language`, and `any` for all together."""

    vectors: Vectors
    sides: Sides
    cosines: Mapping[str, Sequence[float]]
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self.cosines.items():
            if len(values) != len(PERCENTILES) or (np.diff(values) < 0).any() or not np.isfinite(values).all():
                raise InputError(f"a background is damaged ({name!r}); make it again, with `me5 calibrate STORE`")
        if ANY not in self.cosines:
            raise InputError(f"a background is damaged (it lacks {ANY!r}); make it again, with `me5 calibrate STORE`")

    def percentile(self, cosine: float, question: str, passage: str) -> float:
        """The per cent of random pairs of these languages that have a lower cosine; it never falls as cosines rise."""
        values = self.cosines.get(pair(question, passage), self.cosines[ANY])
        return float(np.interp(cosine, values, PERCENTILES))

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "format": FORMAT, "kind": "background", "vectors": bound.written(self.vectors),
            "sides": bound.written(self.sides),
            "cosines": {name: list(values) for name, values in self.cosines.items()},
            "made": dict(self.made),
        }  # fmt: skip

    def to_json(self) -> str:
        """As a store keeps it; `from_json` is the reverse."""
        return json.dumps(self.content(), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> "Background":
        """Raises `InputError` naming `where` for what is none, is damaged, or is of a newer me5."""
        content = content_of(text, where, "background")
        try:
            cosines = {str(name): tuple(map(float, values)) for name, values in content["cosines"].items()}
            vectors, sides = (
                bound.read(kind, content[name], where) for name, kind in (("vectors", Vectors), ("sides", Sides))
            )
            return cls(vectors, sides, cosines, dict(content["made"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{where} is a damaged background ({error!r}); make it again") from error


def pair(question: str, passage: str) -> str:
    """The name of two languages, regions left out; what nobody identified is a language of its own."""
    return ">".join(code.partition("-")[0] or "?" for code in (question, passage))


def measured(cosines: Floats, pairs: npt.NDArray[np.str_]) -> dict[str, tuple[float, ...]]:
    """The table of a background from the cosines of random pairs, and the name of each one's languages."""
    found = {ANY: _quantiles(cosines)}
    names, counts = np.unique(pairs, return_counts=True)
    for name in names[counts >= LEAST_PAIRS].tolist():
        found[name] = _quantiles(cosines[pairs == name])
    return found


def _quantiles(cosines: Floats) -> tuple[float, ...]:
    values = np.maximum.accumulate(np.round(np.percentile(cosines, PERCENTILES), 5))
    return tuple(values.tolist())
