"""Files ↔ what a store calls them: the name of a root and the path below it, so that folders and stores can move.

A root is a folder or a file that was indexed by name: `/home/ann/docs` is `docs`, and `/home/ann/docs/a/b.md` is
`docs/a/b.md`. A store keeps where each root was last seen. One that is gone from there, and whose files are found in a
new place, has moved: its files keep their names.
"""

from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path

from me5.search.files import Found, Stamp


class Sources:
    """The roots of a store: name → absolute path. `gone` are the names of those that are no longer there."""

    def __init__(self, roots: Mapping[str, str]) -> None:
        self.roots = dict(roots)
        self._names = {path: name for name, path in self.roots.items()}
        self.gone = [name for name, path in self.roots.items() if not Path(path).exists()]

    def name(self, path: str | Path) -> str | None:
        """What a file is called in the store, by the lowest of its roots; None for one under none."""
        path = Path(path)
        for root in (path, *path.parents):
            if (name := self._names.get(str(root))) is not None:
                return name if root == path else f"{name}/{path.relative_to(root).as_posix()}"
        return None

    def path(self, source: str) -> str | None:
        """Where a file was last seen; None for a document that is not a file."""
        if source.startswith("/"):
            return source  # as stores had it before they knew roots
        first, _, rest = source.partition("/")
        root = self.roots.get(first)
        return None if root is None else str(Path(root, rest)) if rest else root

    def moved(self, root: Path, found: Found, known: Mapping[str, Stamp]) -> dict[str, str]:
        """The roots that have moved to a path that is indexed, and where they are now; `known` are the files."""
        if not self.gone or self.name(root) is not None:
            return {}
        here = {path[len(str(root)) + 1 :]: stamp.size for path, stamp in found.under(root).items()}
        for name in self.gone:
            old = Path(self.roots[name])
            if "" in here and root.name != old.name:
                continue  # of two single files with other names, the same size says nothing
            there = {source[len(name) + 1 :]: stamp.size for source, stamp in known.items() if _under(source, name)}
            same = sum(here.get(rest) == size for rest, size in there.items())
            if same and 2 * same >= len(there):
                # What was indexed from within the folder has moved with it.
                return {
                    inner: str(root / Path(path).relative_to(old))
                    for inner, path in self.roots.items()
                    if Path(path).is_relative_to(old)
                }
        return {}

    def new(self, root: Path, found: Found, taken: Iterable[str]) -> dict[str, str]:
        """A root for a path that is indexed and lies under none. `taken` are names that it may not have."""
        if self.name(root) is not None or not found.under(root):
            return {}
        return {_free(root.name or "root", {*taken, *self.roots}): str(root)}


def _under(source: str, name: str) -> bool:
    return source == name or source.startswith(f"{name}/")


def _free(name: str, taken: set[str]) -> str:
    """A name that is not taken: `docs`, `docs (2)`, …, before the suffix of a file."""
    stem, suffix = Path(name).stem, Path(name).suffix
    return next(
        one for number in count(1) if (one := name if number == 1 else f"{stem} ({number}){suffix}") not in taken
    )
