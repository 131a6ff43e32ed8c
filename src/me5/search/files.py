"""Paths → the files to index, and whether each has changed since it was last read."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from me5.errors import InputError
from me5.search.readers import BY_SUFFIX

_CHUNK = 1 << 20
# Never what a person wants to find; hidden files and folders, and other stores, are passed over too.
_PASSED_OVER = frozenset({"node_modules", "__pycache__"})


@dataclass(frozen=True)
class Stamp:
    """What a file looks like without reading it: bytes, and nanoseconds of its last change."""

    size: int
    mtime_ns: int


@dataclass
class Found:
    """The files under some paths. `files` are absolute, in order; `others` counts suffixes that have no reader."""

    roots: list[Path]
    files: dict[str, Stamp] = field(default_factory=dict)
    others: "Counter[str]" = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)

    def covers(self, source: str) -> bool:
        """Whether a source lies at or under one of the paths, so that its absence means that it was deleted."""
        return any(Path(source).is_relative_to(root) for root in self.roots)


def find(paths: Iterable[Path | str]) -> Found:
    """Every file at or under the paths. A file that is named itself is taken whatever its suffix.

    Raises `InputError` for a path that is not there: had its disk gone away, its passages would be lost.
    """
    # Symbolic links stay as they were named: the name is what a person knows the file by.
    roots = [Path(os.path.abspath(Path(path).expanduser())) for path in paths]  # noqa: PTH100
    found = Found(roots)
    for root in roots:
        if root.is_dir():
            for path in _walk(root, found):
                if path.suffix.lower() in BY_SUFFIX:
                    _stamp(path, found)
                else:
                    found.others[path.suffix.lower() or "no suffix"] += 1
        elif root.exists():
            _stamp(root, found)
        else:
            raise InputError(f"{root} does not exist; to drop what was indexed from it, use `me5 index remove`")
    return found


def _walk(root: Path, found: Found) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        found.unreadable[str(error.filename)] = f"cannot be listed: {error.strerror}"

    for folder, folders, names in os.walk(root, onerror=unreadable):
        kept = (name for name in folders if name[0] != "." and name not in _PASSED_OVER and not name.endswith(".lance"))
        folders[:] = sorted(kept)
        yield from (Path(folder, name) for name in sorted(names) if name[0] != ".")


def _stamp(path: Path, found: Found) -> None:
    try:
        status = path.stat()
    except OSError as error:
        found.unreadable[str(path)] = f"cannot be read: {error.strerror}"
        return
    if path.is_file():
        found.files[str(path)] = Stamp(status.st_size, status.st_mtime_ns)


def content_hash(path: str) -> str:
    """The BLAKE2b hash of a file's bytes, 128 bits in hex."""
    digest = hashlib.blake2b(digest_size=16)
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
