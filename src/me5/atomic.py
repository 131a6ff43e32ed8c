"""A file that appears whole or not at all: written beside its place, and moved there when it is complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from me5.errors import InputError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """The open file that everything is written to; under its final name only when the block has ended well.

    Of a symbolic link, what it points to is replaced. Raises `InputError` where the file cannot be written.
    """
    final = path.resolve()
    draft = final.with_name(f"{final.name}.tmp-{os.getpid()}")
    try:
        with explained(str(path)):
            file = draft.open("wb")
        try:
            yield file
            with explained(str(path)):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with explained(str(path)):
                file.close()
        with explained(str(path)):
            draft.replace(final)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what the system says of a failed write into an `InputError` that names the file."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of standard output has left: no error of ours
    except OSError as error:
        raise InputError(
            f"{name} cannot be written: {error.strerror or error}; check the disk and the rights of its folder"
        ) from error
