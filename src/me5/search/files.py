"""Paths → the files to index, and whether each has changed since it was last read."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pathspec import GitIgnoreSpec

from me5.errors import InputError
from me5.search.readers import known

IGNORE_FILE = ".me5ignore"
# Never what a person wants to find; hidden files and folders, and other stores, are passed over too.
_PASSED_OVER = frozenset({"node_modules", "__pycache__"})
# File systems know years (2446 in ext4) whose nanoseconds no longer fit the 64 bits of a column.
_LATEST = (1 << 63) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Stamp:
    """What a file looks like without reading it: bytes, and nanoseconds of its last change."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Stamp":
        """That of a file by its status."""
        return cls(status.st_size, min(status.st_mtime_ns, _LATEST))

    @property
    def modified(self) -> datetime:
        """The time of the last change, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.mtime_ns // 1000)


@dataclass
class Found:
    """The files under some paths, by their absolute paths, in order.

    `roots` are the paths themselves. `others` counts suffixes that have no reader, `links` symbolic links that were not
    followed, `excluded` files and folders that patterns leave out. `unreadable` tells why paths cannot be listed or
    read.
    """

    roots: list[Path]
    files: dict[str, Stamp] = field(default_factory=dict)
    others: "Counter[str]" = field(default_factory=Counter)
    links: int = 0
    excluded: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)

    def covers(self, path: str | None) -> bool:
        """Whether a file would be among those found if it were there: its absence means that it was deleted."""
        return (
            path is not None
            and any(Path(path).is_relative_to(root) for root in self.roots)
            and not any(Path(path).is_relative_to(hidden) for hidden in self.unreadable)
        )

    def under(self, root: Path) -> dict[str, Stamp]:
        """The files at or under a path."""
        folder = str(root).rstrip("/") + "/"
        return {path: stamp for path, stamp in self.files.items() if path == str(root) or path.startswith(folder)}


def find(paths: Iterable[Path | str] | Path | str, *, exclude: Sequence[str] = (), follow_links: bool = False) -> Found:
    """Every file at or under the paths. A file that is named itself is taken whatever its suffix.

    `exclude` and the files called `.me5ignore` hold patterns as in `.gitignore`. Symbolic links within folders are
    followed only with `follow_links`. Raises `InputError` for a path that is not there: had its disk gone away, its
    passages would be lost.
    """
    roots = roots_of(paths)
    found = Found(roots)
    excluded = _spec(exclude, "--exclude")
    for root in roots:
        if root.is_dir():
            for path in _Walk(root, found, excluded, follow_links).files():
                if known(path) is not None:
                    _take(path, found)
                else:
                    found.others[path.suffix.lower() or "no suffix"] += 1
        elif excluded.match_file(root.name):
            found.excluded += 1
        else:
            _take(root, found)
    return found


def roots_of(paths: Iterable[Path | str] | Path | str) -> list[Path]:
    """The paths in full. Raises `InputError` for one that is not there."""
    # Symbolic links stay as they were named: the name is what a person knows the file by.
    roots = [Path(os.path.abspath(Path(path).expanduser())) for path in listed(paths)]  # noqa: PTH100
    for root in roots:
        if not root.exists():
            raise InputError(f"{shown(root)} does not exist; to drop what was indexed from it, use `me5 index remove`")
    return roots


def check(paths: Iterable[Path | str] | Path | str, exclude: Sequence[str] = ()) -> None:
    """Raise `InputError` for what `find` would refuse, without looking for files."""
    roots_of(paths)
    _spec(exclude, "--exclude")


def listed(paths: Iterable[Path | str] | Path | str) -> list[Path | str]:
    """The paths; a single one is one path, and not its letters."""
    return [paths] if isinstance(paths, str | Path) else list(paths)


def shown(path: str | Path) -> str:
    """A path as it can be printed and kept: bytes of a name that are no UTF-8 are written `\\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class _Walk:
    """One folder with all that is in it. Patterns in a lower folder count for more, those of `excluded` for most."""

    def __init__(self, root: Path, found: Found, excluded: GitIgnoreSpec, follow_links: bool) -> None:
        self._root = root
        self._found = found
        self._specs = {root: [(root, excluded)]}
        self._follow_links = follow_links
        self._seen: set[tuple[int, int]] = set()

    def files(self) -> Iterator[Path]:
        """The files that are wanted, folder by folder, in order."""
        for name, folders, names in os.walk(self._root, onerror=self._unlisted, followlinks=self._follow_links):
            folder = Path(name)
            specs = self._specs.pop(folder)
            if self._circular(folder) or not self._read_ignored(folder, names, specs):
                folders[:] = []
                continue
            folders[:] = sorted(inner for inner in folders if self._wanted(folder / inner, specs, folder=True))
            self._specs.update((folder / inner, list(specs)) for inner in folders)
            yield from (path for inner in sorted(names) if self._wanted(path := folder / inner, specs, folder=False))

    def _circular(self, folder: Path) -> bool:
        """Whether a link has led back to a folder that was walked already."""
        if not self._follow_links:
            return False
        status = folder.stat()
        key = (status.st_dev, status.st_ino)
        seen = key in self._seen
        self._seen.add(key)
        return seen

    def _wanted(self, path: Path, specs: list[tuple[Path, GitIgnoreSpec]], *, folder: bool) -> bool:
        hidden = folder and (path.name in _PASSED_OVER or path.suffix == ".lance")
        if path.name.startswith(".") or hidden:
            return False
        if path.is_symlink() and not self._follow_links:
            self._found.links += 1
            return False
        for base, spec in specs:
            matched = spec.check_file(path.relative_to(base).as_posix() + "/" * folder).include
            if matched is not None:
                self._found.excluded += matched
                return not matched
        return True

    def _read_ignored(self, folder: Path, names: list[str], specs: list[tuple[Path, GitIgnoreSpec]]) -> bool:
        """Put what the folder's `.me5ignore` says before that of the folders above; False where it cannot be read."""
        if IGNORE_FILE in names:
            try:
                lines = (folder / IGNORE_FILE).read_text("utf-8").splitlines()
                specs.insert(1, (folder, _spec(lines, IGNORE_FILE)))
            except (OSError, ValueError) as error:
                # What it was to keep out would get in.
                self._found.unreadable[str(folder)] = f"passed over, for its {IGNORE_FILE} cannot be read: {error}"
                return False
        return True

    def _unlisted(self, error: OSError) -> None:
        self._found.unreadable[str(error.filename)] = f"cannot be listed: {error.strerror}"


def _spec(patterns: Sequence[str], place: str) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from error


def _take(path: Path, found: Found) -> None:
    try:
        status = path.stat()
        str(path).encode()
    except OSError as error:
        found.unreadable[str(path)] = f"cannot be read: {error.strerror}"
    except UnicodeEncodeError:
        found.unreadable[str(path)] = "its name is not valid UTF-8; rename it"
    else:
        if stat.S_ISREG(status.st_mode):
            found.files[str(path)] = Stamp.of(status)
        else:
            found.others["no regular file"] += 1


def content_hash(path: str) -> str:
    """The BLAKE2b hash of a file's bytes, 128 bits in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def text_hash(text: str) -> str:
    """The same of a text in UTF-8."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def check_place(uri: str) -> None:
    """Raise `InputError` where a new store would lie among files, other than hidden ones and tables of LanceDB."""
    place = Path(uri)
    if "://" in uri or not place.exists():
        return
    if not place.is_dir():
        raise InputError(f"{uri} is a file, expected a folder or an object-store URL")
    for name in sorted(path.name for path in place.iterdir()):
        if not name.startswith(".") and not name.endswith(".lance") and name != "lost+found":
            raise InputError(
                f"{uri} holds other files ({name}), and a store has a folder of its own; choose a new name, such as "
                f"{uri.rstrip('/')}.lance"
            )
