"""The standard streams: open, and able to take any text."""

import codecs
import json
import os
import sys
from contextlib import suppress

from me5.files.atomic import explained


def prepare() -> None:
    """Open streams that the caller has closed, and let standard output escape what its encoding lacks."""
    # Opened the wrong way round: as in other programs, only what reads or writes there fails ("Bad file descriptor").
    for name, flags, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flags), mode, closefd=False))  # noqa: SIM115
    codecs.register_error("me5", _escaped)
    with suppress(AttributeError):  # what tests put in its place
        sys.stdout.reconfigure(errors="me5")  # type: ignore[union-attr]
        if not sys.stdin.isatty():  # a file is UTF-8, whatever the terminal speaks
            sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]


def flush() -> None:
    """Write what is held for standard output. Raises `InputError` where it cannot be written."""
    with explained("standard output"):
        sys.stdout.flush()


def drop() -> None:
    """Forget what cannot be written: the interpreter would try it once more at its end, and print a traceback."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """As JSON escapes it, so that `--json` stays JSON in any encoding."""
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end
