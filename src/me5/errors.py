"""Everything me5 raises or warns, in one tree.

Me5Error
├── InputError (ValueError)       a text, file or argument that cannot be used; names the item
│   ├── PromptError               a task or side that this model has no prompt for
│   ├── StoreError                a store of passages that is damaged, or cannot be written to
│   └── CalibrationError          a calibration that is another model's, or for other prompts or another risk
├── CheckpointError               a model folder or hub id that cannot be loaded
│   └── DownloadError             the hub could not be reached or refused
├── EngineError (RuntimeError)    the engine cannot run here, or produced something that is not a number
├── TrainingError                 a training run cannot continue
├── ServiceError                  a me5 service could not be reached, refused, or sent a reply that cannot be read
└── MissingExtraError (ImportError)  an optional part is not installed; the text is the pip command

Me5Warning (UserWarning)
├── TruncationWarning             texts were longer than the model reads
├── EngineWarning                 the engine runs, but not as requested
└── PromptWarning                 a text seems to carry a prompt already, or the model's prompts are unknown
"""

import sys


class Me5Error(Exception):
    """Base of every error that me5 raises on purpose."""


class InputError(Me5Error, ValueError):
    """A text, file or argument that cannot be used."""


class PromptError(InputError):
    """A task or side that this model has no prompt for."""


class StoreError(InputError):
    """A store of passages that is damaged, or cannot be written to."""


class CalibrationError(InputError):
    """A calibration that is another model's, or does not apply to these prompts, or keeps to no such risk."""


class CheckpointError(Me5Error):
    """A model folder or hub id that cannot be loaded."""


class DownloadError(CheckpointError):
    """The hub could not be reached, or refused."""


class EngineError(Me5Error, RuntimeError):
    """The engine cannot run here, or produced something that is not a number."""


class TrainingError(Me5Error):
    """A training run cannot continue: its loss is not a number, or its folder belongs to another run."""


class ServiceError(Me5Error):
    """A me5 service could not be reached, refused, or sent a reply that cannot be read.

    `status` is its last HTTP status, None where no reply came; `tries` is how many requests were sent.
    """

    def __init__(self, message: str, *, status: int | None = None, tries: int = 1) -> None:
        super().__init__(message)
        self.status = status
        self.tries = tries


class MissingExtraError(Me5Error, ImportError):
    """An optional part of me5 is not installed."""


class Me5Warning(UserWarning):
    """Base of every warning that me5 issues."""


class TruncationWarning(Me5Warning):
    """Texts were longer than the model reads, and were cut."""


class EngineWarning(Me5Warning):
    """The engine runs, but not as requested: smaller batches, or fewer matrices in float8."""


class PromptWarning(Me5Warning):
    """A text seems to carry a prompt already, or the model's prompts are unknown."""


def caller() -> int:
    """The `stacklevel` of a warning that the function which calls this one issues: of the first frame outside me5."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "me5":
        frame, level = frame.f_back, level + 1
    return level


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things: "1 row", "2,000 rows"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def described(value: object) -> str:
    """The type and the beginning of a value, for the text of an error."""
    if value is None:
        return "None"
    shown = repr(value)
    return f"{type(value).__name__} ({shown if len(shown) <= 40 else shown[:37] + '...'})"
