"""A store brought up to date with files: what they are called there, which have changed, and which are gone."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

from me5.embedder import Embedder
from me5.errors import InputError
from me5.progress import track
from me5.search import files, readers
from me5.search.files import Found, Stamp, content_hash
from me5.search.indexing import Indexing
from me5.search.planning import BadFile, Forecast, Summary, Work, changes, way_of_reading
from me5.search.readers.confined import Confined
from me5.search.readers.tables import Columns, rows_of
from me5.search.schema import IndexedFile
from me5.search.sources import Sources
from me5.search.store import Store
from me5.search.upgrading import relocate, upgrade


def update(store: Store, load: Callable[[], Embedder], found: Found, columns: Columns, *, show: bool) -> Summary:
    """Index new and changed files, remove deleted ones; the model is loaded only if there is something to read."""
    known, versions = store.known_files(), store.versions()
    sources, moved = _sources(store, found, known)
    if any(source.startswith("/") for source in {*known, *versions}):
        _relocate(store, sources)
        known, versions = store.known_files(), store.versions()
    at = {name: path for path in found.files if (name := sources.name(path)) is not None}
    seen = {source: (found.files[path], _way(path, columns)) for source, path in at.items()}
    todo = changes(seen, known, versions, lambda source: found.covers(sources.path(source)))
    if todo.gone:
        store.remove(todo.gone)
    summary = Summary()
    if todo.changed:
        changed = {source: at[source] for source in todo.changed}
        summary = _index(store, load(), changed, found, columns, known, versions, show=show)
    for source in todo.unchanged:
        summary.recall(at[source], known[source])
    summary.bad += [BadFile(files.shown(path), None, reason) for path, reason in found.unreadable.items()]
    summary.removed = len(todo.gone)
    summary.others, summary.links, summary.excluded = found.others, found.links, found.excluded
    summary.moved = moved
    return summary


def _index(
    store: Store,
    embedder: Embedder,
    changed: Mapping[str, str],
    found: Found,
    columns: Columns,
    known: Mapping[str, IndexedFile],
    versions: Mapping[str, Collection[str]],
    *,
    show: bool,
) -> Summary:
    """Read files, paths by source, unless their content is the same."""
    upgrade(store)
    sizes: Counter[str] = Counter()
    for path in changed.values():
        sizes[_kind_name(path)] += found.files[path].size
    forecast = Forecast(sizes)
    with (
        track(sizes.total(), show=show, description="Indexing", unit="bytes", left=forecast.tokens) as advance,
        Confined() as confined,
        Indexing(store, embedder, versions, advance, forecast) as indexing,
    ):
        for source, path in changed.items():
            try:
                work = _work(source, path, found.files[path], columns, confined)
            except (InputError, OSError) as error:
                indexing.summary.bad.append(BadFile(path, None, str(error)))
                continue
            if source in known and known[source].version == work.version:
                indexing.touch(work, known[source])
            else:
                indexing.add(work)
    return indexing.summary


def _sources(store: Store, found: Found, known: Mapping[str, IndexedFile]) -> tuple[Sources, list[str]]:
    """The names of files, after new roots have been added to the store; and which roots have moved, in words."""
    sources = Sources(store.roots())
    moves: list[str] = []
    for root in found.roots:
        stamps = {source: file.stamp for source, file in known.items()} if sources.gone else {}
        if moved := sources.moved(root, found, stamps):
            moves += [f"{sources.roots[name]} is now {path}" for name, path in moved.items()]
            store.add_roots(moved, moved=True)
            sources = Sources(store.roots())
        # Another writer may take the same name at the same time; then the next one is tried.
        while new := sources.new(root, found, {source.partition("/")[0] for source in known}):
            store.add_roots(new)
            sources = Sources(store.roots())
    return sources, moves


def _relocate(store: Store, sources: Sources) -> None:
    """Rename the files of a store of an older me5, which named them by their absolute paths."""
    for name, path in sorted(sources.roots.items(), key=lambda root: -len(root[1])):
        relocate(store, path, name)


def _work(source: str, path: str, stamp: Stamp, columns: Columns, confined: Confined) -> Work:
    """A file and how to read it. Raises `InputError` or `OSError` for one that cannot be read."""
    kind = readers.kind_of(Path(path))
    version = f"{content_hash(path)}-{way_of_reading(kind.name, columns)}"
    problems: list[tuple[int | None, str]] = []
    work = Work(source, kind.name, version, stamp, (), rows_of(path, kind.name), path, problems)
    return replace(work, documents=confined.read(Path(path), columns, work.complain))


def _kind_name(path: str) -> str:
    kind = readers.known(Path(path))
    return "" if kind is None else kind.name


def _way(path: str, columns: Columns) -> str:
    return way_of_reading(_kind_name(path), columns)
