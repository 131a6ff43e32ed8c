"""What LanceDB and Arrow raise about damaged files, full disks and filters alike, in one sentence."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import pyarrow as pa

from me5.errors import Me5Error, StoreError

FAILURES = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException)
MEND = "If it is damaged, take it from a backup, or index into a new store"


class _Located(Protocol):
    @property
    def uri(self) -> str:
        """Where the store is."""

    def gone(self) -> str | None:
        """Why what was opened is no longer there, where that is so."""


P = ParamSpec("P")
T = TypeVar("T")
L = TypeVar("L", bound=_Located)


def reading(method: Callable[Concatenate[L, P], T]) -> Callable[Concatenate[L, P], T]:
    """A method that reads from a store: what LanceDB raises becomes a `StoreError`."""

    @wraps(method)
    def checked(store: L, /, *arguments: P.args, **options: P.kwargs) -> T:
        try:
            return method(store, *arguments, **options)
        except (Me5Error, TimeoutError):
            raise
        except FAILURES as error:
            message = store.gone() or f"{store.uri} cannot be read: {reason(error)}. {MEND}"
            raise StoreError(message) from error

    return checked


def reason(error: BaseException) -> str:
    """What LanceDB says, without the places in its own source."""
    message = str(error).split(", /")[0].removeprefix("lance error: ")
    return re.sub(r"^LanceError\(\w+\): ", "", message) or type(error).__name__
