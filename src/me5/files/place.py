"""Where something stands in a file, and errors that name the place."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from me5.errors import InputError
from me5.files.objects import File


class Place(NamedTuple):
    """A line of a file, counted from 1, or a row of Parquet, counted from 0."""

    name: str
    at: int
    unit: Literal["line", "row"] = "line"

    def __str__(self) -> str:
        return f"{self.name}, {self.within}"

    @property
    def within(self) -> str:
        """The place without the name of the file."""
        return f"{self.unit} {self.at}{' (counted from 0)' if self.unit == 'row' else ''}"


class FileError(InputError):
    """A file, or something at one place of it, that cannot be used. `reason` says why, without the file's name."""

    def __init__(self, where: Place | str, reason: str) -> None:
        placed = isinstance(where, Place)
        super().__init__(f"{where}{': ' if placed else ' '}{reason}")
        self.reason = f"{where.within}: {reason}" if isinstance(where, Place) else reason


# What a reader does about a line or record that cannot be used: it calls this, and reads on if it returns.
Refuse = Callable[[Place, str], None]


def fail(place: Place, reason: str) -> None:
    """Stop at the first line or record that cannot be used."""
    raise FileError(place, reason)


def name_of(path: File | None) -> str:
    """What errors call a file; None is standard input."""
    return "standard input" if path is None else str(path)
