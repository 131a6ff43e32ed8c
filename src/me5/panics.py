"""A panic of a library in Rust: what it raises where a file led it astray, and no `Exception` at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from me5.errors import CheckpointError


@contextmanager
def panics_named(path: Path) -> Iterator[None]:
    """Make a panic within the block a `CheckpointError` that names the file of the tokenizer."""
    try:
        yield
    except BaseException as error:
        # The class is made anew by each library, and none of them exports it.
        if type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(
            f"{path}: its tokenizer is damaged, or made to harm: the tokenizers library stopped at it ({error})"
        ) from error
