"""What a calibration belongs to: a model's files, its precision, the width of its vectors, and both sides' prompts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from me5 import fingerprint
from me5.checkpoint import Checkpoint
from me5.errors import CalibrationError, InputError
from me5.fingerprint import comparable
from me5.prompts import Prompts


@dataclass(frozen=True)
class Vectors:
    """The vectors whose cosines are meant: `weights` is the fingerprint of the model's files, `model` its name."""

    model: str
    weights: str
    precision: str
    dim: int

    @classmethod
    def of(cls, checkpoint: Checkpoint, precision: str, dim: int) -> Self:
        """Those of a checkpoint at the precision that its engine computes in, cut to `dim`."""
        return cls(checkpoint.name, fingerprint.of_checkpoint(checkpoint), precision, dim)

    def check(self, came: "Vectors") -> None:
        """Raise `CalibrationError` unless these cosines are those of the other vectors."""
        if came.weights != self.weights:
            raise CalibrationError(
                f"this calibration was made with {self.model} (weights {self.weights[:12]}), got {came.model} (weights "
                f"{came.weights[:12]}); a cosine means something else in every model: calibrate this one, with "
                "`me5 calibrate`"
            )
        if came.dim != self.dim:
            raise CalibrationError(
                f"this calibration was made with vectors of {self.dim} numbers, got {came.dim}; use the same, or "
                "calibrate again"
            )
        if not comparable(came.precision, self.precision):
            raise CalibrationError(
                f"this calibration was made at precision {self.precision}, got {came.precision}; use the same, or "
                "calibrate again"
            )


@dataclass(frozen=True)
class Sides:
    """The literal prompts in front of the two texts that are compared."""

    query: str
    document: str

    @classmethod
    def of(cls, prompts: Prompts, task: str | None = None, *, symmetric: bool = False) -> Self:
        """Those of queries and documents, or of the symmetric side twice."""
        if symmetric:
            both = prompts.prefix("both", task)
            return cls(both, both)
        return cls(prompts.prefix("query", task), prompts.prefix("document"))

    def check(self, came: "Sides") -> None:
        """Raise `CalibrationError` unless the other prompts are the same."""
        for side, made, given in (("query", self.query, came.query), ("document", self.document, came.document)):
            if made != given:
                raise CalibrationError(
                    f"this calibration was made with the {side} prompt {made!r}, got {given!r}; use the same task and "
                    "side, or calibrate with this one"
                )


def read(kind: type[Any], content: Any, where: str) -> Any:
    """A `Vectors` or `Sides` from the content of a file. Raises `InputError` where it is none."""
    names = {field.name: int if field.name == "dim" else str for field in fields(kind)}
    if (
        not isinstance(content, Mapping)
        or set(content) != set(names)
        or any(type(content[name]) is not wanted for name, wanted in names.items())
    ):
        raise InputError(f"{where}: expected {', '.join(names)}, got {content!r:.200}; calibrate again")
    return kind(**content)


def written(value: Vectors | Sides) -> dict[str, Any]:
    """As a file has it; `read` is the reverse."""
    return asdict(value)
