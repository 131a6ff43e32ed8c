"""Where the calibration of a checkpoint lies: `calibration.json` in its folder, beside a GGUF file under its name."""

import logging
from pathlib import Path

from me5.calibration.applied import Calibration
from me5.calibration.bound import Vectors
from me5.checkpoint import BUNDLED_FILE, Checkpoint
from me5.errors import CalibrationError, InputError

NAME = "calibration.json"
_log = logging.getLogger(__name__)


def path_of(checkpoint: Checkpoint) -> Path:
    """The file of a checkpoint's calibration, whether it is there or not."""
    path = checkpoint.path
    return path / NAME if path.is_dir() else path.with_name(f"{path.stem}.{NAME}")


def is_general(checkpoint: Checkpoint) -> bool:
    """Whether its calibration is the one that me5 comes with: made of nobody's own texts, and told where asked for."""
    return checkpoint.path == BUNDLED_FILE


def beside(checkpoint: Checkpoint, precision: str, dim: int) -> Calibration | None:
    """The calibration beside a checkpoint, None where there is none.

    Raises `CalibrationError` for another model's, or one for other vectors of this model, `InputError` for a damaged
    one.
    """
    path = path_of(checkpoint)
    if not path.is_file():
        return None
    found = Calibration.read(path)
    found.vectors.check(Vectors.of(checkpoint, precision, dim))
    return found


def applying(checkpoint: Checkpoint, precision: str, dim: int) -> Calibration | None:
    """The same, but one for other vectors is as good as none, and is logged: as a warning where somebody made it."""
    try:
        return beside(checkpoint, precision, dim)
    except CalibrationError as error:
        level = logging.INFO if is_general(checkpoint) else logging.WARNING
        _log.log(level, "%s has no probabilities: %s", checkpoint.name, error)
        return None


def none_there(checkpoint: Checkpoint) -> InputError:
    """What to say where a calibration is needed and there is none."""
    return InputError(
        f"{checkpoint.name} has no calibration ({path_of(checkpoint)} is not there); make one from labelled pairs: "
        f"`me5 calibrate {checkpoint.name} PAIRS`"
    )
