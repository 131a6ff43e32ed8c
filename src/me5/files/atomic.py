"""Files and folders that appear whole or not at all: made beside their place, and moved there when they are complete.

Whoever makes one holds a lock on it (flock), which the system takes back however the process ends. So what a kill has
left behind is known by its name and by its free lock, and is removed when the same thing is made again.
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import IO

from me5.errors import InputError

_ENDING = r"\.me5-[0-9a-f]{8}"
_BEFORE = "-before"
# Of the 255 bytes that a file system gives to a name, what is left beside the ending of a draft.
_LONGEST = 200


@contextmanager
def replacing(path: Path, *, clear: bool = True) -> Iterator[IO[bytes]]:
    """The open file that everything is written to; under its final name only when the block has ended well.

    Of a symbolic link, what it points to is replaced. `clear` is for names that are made again: what a kill has left
    of them is removed, for which the folder is listed. Raises `InputError` where the file cannot be written.
    """
    with explained(str(path)):
        final = path.resolve()
        if clear:
            _clear(final)
    with _draft(final, str(path)) as (draft, descriptor):
        file = os.fdopen(descriptor, "wb", closefd=False)
        try:
            with explained_within(str(path)):
                yield file
            with explained(str(path)):
                file.close()
                os.fsync(descriptor)
                draft.replace(final)
        finally:
            with suppress(OSError):  # what could not be written is tried once more here
                file.close()


def write_text(path: Path, text: str) -> None:
    """Write a file of text in UTF-8. As `replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


def write_once(path: Path, content: bytes) -> bool:
    """Write a file unless there is one, and say whether this call did: of several writers the first wins.

    Raises `InputError` where it cannot be written.
    """
    with _draft(path, str(path)) as (draft, descriptor), explained(str(path)):
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.fsync(descriptor)
        try:
            os.link(draft, path)  # unlike a rename, it never replaces
        except FileExistsError:
            return False
    return True


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise `InputError`, before hours of work, if their result could not be put in its place."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; replace it with --overwrite, or write elsewhere")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise InputError(f"{path} cannot be written: {above} is no folder that takes it; write elsewhere")


def check_file(path: Path, *inputs: Path, overwrite: bool = True) -> None:
    """Raise `InputError`, before hours of work, if no file could be put there, or if it took the place of an input."""
    with explained(str(path)):
        if not path.resolve().parent.is_dir():
            raise InputError(f"the folder of {path} does not exist; create it, or write elsewhere")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a plain file; write elsewhere")
        if path.exists() and any(one.exists() and path.samefile(one) for one in inputs):
            raise InputError(f"{path} is also the input, and would be replaced; write elsewhere")
    check_free(path, overwrite=overwrite)


@contextmanager
def new_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a folder to fill, which takes its place when the block ends well, and vanishes when it does not.

    Of a symbolic link, what it points to is replaced. Raises `InputError` where the folder cannot be written, or its
    place is taken and may not be overwritten.
    """
    with explained(str(folder)):
        final = folder.resolve()
        _clear(final)
        if final.exists() and not final.is_dir():
            raise InputError(f"{folder} is a file, expected a folder; choose another name")
        check_free(folder, overwrite=overwrite)
        final.parent.mkdir(parents=True, exist_ok=True)
    with _draft(final, str(folder), folder=True) as (draft, _):
        with explained_within(str(folder)):
            yield draft
        with explained(str(folder)):
            _exchange(draft, final)


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """A folder in the system's place for temporary files, removed with the block."""
    final = Path(gettempdir()).resolve() / name
    with explained(str(final)):
        _clear(final)
    with _draft(final, str(final), folder=True) as (draft, _):
        with explained(str(final)):
            draft.chmod(0o700)
        yield draft


@contextmanager
def alone(folder: Path, busy: str) -> Iterator[None]:
    """Hold a folder's lock, which the system takes back when the process ends in whatever way.

    Raises `InputError` with `busy` where another process holds it. File systems without locks keep nobody out.
    """
    with explained(str(folder)):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(busy) from error
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


def is_draft(path: Path) -> bool:
    """Whether a name is that of something unfinished."""
    return re.fullmatch(rf"\..+{_ENDING}({_BEFORE})?", path.name) is not None


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


@contextmanager
def explained_within(name: str) -> Iterator[None]:
    """`explained` around other people's code, which may fail elsewhere: a failed write to an open file names none."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or isinstance(error, ConnectionError | TimeoutError):
            raise
        with explained(name):
            raise


def _prefix(final: Path) -> str:
    """How the drafts of a file or folder begin; hidden, so that nobody takes one for finished."""
    name = final.name.encode(errors="surrogateescape")
    if len(name) <= _LONGEST:
        return f".{final.name}"
    return f".{name[:_LONGEST].decode(errors='ignore')}-{hashlib.blake2b(name, digest_size=8).hexdigest()}"


@contextmanager
def _draft(final: Path, name: str, *, folder: bool = False) -> Iterator[tuple[Path, int]]:
    """A new draft and its open descriptor, locked. Both go with the block, unless the draft has taken its place.

    Ctrl-C may come after any step, so what removes the draft stands ready before there is one.
    """
    while True:
        draft = final.with_name(f"{_prefix(final)}.me5-{secrets.token_hex(4)}")
        descriptor = None
        try:
            with explained(name):
                if folder:
                    draft.mkdir()
                descriptor = os.open(draft, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
                with suppress(OSError):  # on a file system without locks nothing is ever taken for left behind
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
            if draft.exists():
                yield draft, descriptor
                return
            # Another process took it for left behind in the moment before it was locked.
        finally:
            _remove(draft)
            if descriptor is not None:
                os.close(descriptor)


def _exchange(draft: Path, final: Path) -> None:
    """Put a folder in its place; what was there goes once the new one is there."""
    if not final.exists():
        draft.rename(final)
        return
    before = draft.with_name(f"{draft.name}{_BEFORE}")
    try:
        final.rename(before)
        draft.rename(final)
    finally:
        if before.exists() and not final.exists():
            before.rename(final)
        _remove(before)


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and if that can be done: the next draft's maker tries again."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _clear(final: Path) -> None:
    """Remove the drafts of killed processes, and bring back what one of them had moved aside."""
    ours = re.compile(rf"({re.escape(_prefix(final))}{_ENDING})({_BEFORE})?")
    with suppress(OSError):  # a folder that cannot be listed may still be written to
        found = {match[1] for path in final.parent.iterdir() if (match := ours.fullmatch(path.name)) is not None}
        for draft in (final.with_name(name) for name in sorted(found)):
            with suppress(OSError), _taken(draft):
                before = draft.with_name(f"{draft.name}{_BEFORE}")
                if before.exists() and not final.exists():
                    before.rename(final)
                _remove(draft)
                _remove(before)


@contextmanager
def _taken(draft: Path) -> Iterator[None]:
    """Hold the lock of a draft. Raises `OSError` where another process holds it, or where there are no locks."""
    if not draft.exists():  # it has taken its place, and what was there before was still to be removed
        yield
        return
    descriptor = os.open(draft, os.O_RDONLY if draft.is_dir() else os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
