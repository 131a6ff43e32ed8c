"""What a job reads: files, folders and globs become a list of files, each with a mark that changes with its content."""

from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from me5.errors import InputError
from me5.files.compression import bare_name
from me5.files.place import FileError
from me5.files.records import format_of


class Input(NamedTuple):
    """A file; its `version` is another one after it was written to."""

    name: str
    size: int
    version: str


class ChangedError(FileError):
    """A file that is no longer what the plan was made from."""


def find(patterns: Sequence[str]) -> list[Input]:
    """The files of some paths, folders and globs: those of each in order, each file once.

    In folders these are files whose names say how to read them. Raises `InputError` for what matches nothing.
    """
    return list({found.name: found for pattern in patterns for found in _matching(pattern)}.values())


def look(name: str) -> Input:
    """A file as it is now. Raises `FileError` where it is not there."""
    try:
        stat = Path(name).stat()
    except OSError as error:
        raise FileError(name, f"cannot be read: {error.strerror}; check the path") from error
    return Input(name, stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}")


def check_unchanged(name: str, version: str) -> None:
    """Raise `ChangedError` unless a file is still what it was."""
    if look(name).version != version:
        raise ChangedError(
            name, "has changed since the job was planned; restore it, or start a new job in another folder"
        )


def _matching(pattern: str) -> list[Input]:
    path = Path(pattern).absolute()
    if path.is_dir():
        found = [each for each in sorted(path.rglob("*")) if _is_input(each, path)]
        if not found:
            raise InputError(f"{pattern} holds no files of texts: .txt, .jsonl, .csv, .tsv or .parquet")
    elif has_magic(pattern) and not path.exists():
        matches = sorted(glob(str(path), recursive=True))  # noqa: PTH207  it takes absolute patterns
        found = [each for each in map(Path, matches) if each.is_file()]
        if not found:
            raise InputError(f"no file matches {pattern}; check the pattern, and quote it in a shell")
    else:
        found = [path]
    return [look(str(each)) for each in found]


def _is_input(path: Path, root: Path) -> bool:
    # Hidden files and those of other programs, such as _SUCCESS.
    if any(part.startswith((".", "_")) for part in path.relative_to(root).parts):
        return False
    return path.is_file() and (format_of(path) is not None or Path(bare_name(path)).suffix.lower() == ".txt")
