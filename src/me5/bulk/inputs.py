"""What a job reads: files, folders and globs become a list of files, each with a mark that changes with its content."""

import re
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple

from me5.errors import InputError
from me5.files.compression import bare_name
from me5.files.objects import file_of, is_url, listed
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
        stat: Any = file_of(name).stat()
    except OSError as error:
        raise FileError(name, f"cannot be read: {error.strerror}; check the path") from error
    return Input(name, stat.st_size, stat.version if is_url(name) else f"{stat.st_size}-{stat.st_mtime_ns}")


def check_unchanged(name: str, version: str) -> None:
    """Raise `ChangedError` unless a file is still what it was."""
    if look(name).version != version:
        raise ChangedError(
            name, "has changed since the job was planned; restore it, or start a new job in another folder"
        )


def absolute(pattern: str) -> str:
    """The same pattern from any working directory."""
    return pattern if is_url(pattern) else str(Path(pattern).absolute())


def _matching(pattern: str) -> list[Input]:
    found = _objects(pattern) if is_url(pattern) else _files(pattern)
    if not found and has_magic(pattern):
        raise InputError(f"no file matches {pattern}; check the pattern, and quote it in a shell")
    if not found:
        raise InputError(f"{pattern} holds no files of texts: .txt, .jsonl, .csv, .tsv or .parquet")
    return found


def _files(pattern: str) -> list[Input]:
    path = Path(pattern).absolute()
    if path.is_dir():
        found = [each for each in sorted(path.rglob("*")) if _is_input(each.relative_to(path)) and each.is_file()]
    elif has_magic(pattern) and not path.exists():
        matches = sorted(glob(str(path), recursive=True))  # noqa: PTH207  it takes absolute patterns
        found = [each for each in map(Path, matches) if each.is_file()]
    else:
        found = [path]
    return [look(str(each)) for each in found]


def _objects(pattern: str) -> list[Input]:
    if has_magic(pattern):
        wanted = re.compile(_as_regex(pattern))
        folder = pattern[: pattern.rindex("/", 0, next(re.finditer(r"[*?[]", pattern)).start())]
    elif says_format(pattern):
        return [look(pattern)]
    else:
        wanted, folder = re.compile(".*"), pattern.rstrip("/")
    try:
        objects = [(str(file), stat) for file, stat in listed(folder)]
    except OSError as error:
        raise InputError(f"{folder} cannot be listed: {error.strerror}; check the store and its keys") from error
    return [
        Input(name, stat.st_size, stat.version) for name, stat in objects
        if wanted.fullmatch(name)
        and (has_magic(pattern) or _is_input(PurePosixPath(name.removeprefix(folder).lstrip("/"))))
    ]  # fmt: skip


def _as_regex(pattern: str) -> str:
    """A glob as a regular expression: `*` and `?` stay within a folder, `**/` is any folders."""
    meaning = {"**/": "(.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]+\])", pattern)
    return "".join(meaning.get(part, part if part.startswith("[") else re.escape(part)) for part in parts)


def says_format(name: str) -> bool:
    """Whether a name says how its file is read."""
    file = file_of(name)
    return format_of(file) is not None or PurePosixPath(bare_name(file)).suffix.lower() == ".txt"


def _is_input(path: PurePath) -> bool:
    # Hidden files and those of other programs, such as _SUCCESS.
    return not any(part.startswith((".", "_")) for part in path.parts) and says_format(str(path))
