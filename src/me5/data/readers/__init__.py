"""Other people's files -> documents, queries and relations; one module per format, recognised or named."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from me5.data.readers import (
    arctic,
    beir,
    columns,
    dataset,
    documents,
    flagembedding,
    nomic,
    parallel,
    sentence_transformers,
    simlm,
    tevatron,
    trec,
)
from me5.data.readers.reading import Reading, first
from me5.data.writing import Item
from me5.errors import InputError
from me5.files.records import format_of

# In the order in which a folder, and a file's first record, are tried.
_FOLDERS = (dataset, beir, trec, arctic, nomic)
_FILES = (flagembedding, tevatron, simlm, columns, sentence_transformers, documents)
_MODULES: Mapping[str, ModuleType] = {module.NAME: module for module in (*_FOLDERS, *_FILES, parallel)}
FORMATS = tuple(_MODULES)
# What takes files of documents that its examples name by id.
_WITH_CORPUS = (tevatron.NAME, simlm.NAME)

Grouped = dict[str, list[Path]]


def group(paths: Sequence[Path], form: str | None = None) -> Grouped:
    """Files and folders by format, each recognised unless `form` names it. Raises `InputError` where one is not."""
    grouped: Grouped = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist")
        for one, name in [(path, form)] if form else _recognised(path, named=True):
            grouped.setdefault(name, []).append(one)
    # Documents beside examples that name them by id are their corpus.
    for name in _WITH_CORPUS:
        if name in grouped and documents.NAME in grouped:
            grouped[name] += grouped.pop(documents.NAME)
    return grouped


def read(grouped: Grouped, reading: Reading) -> Iterator[Item]:
    """All items, format by format. Raises `InputError` naming file and row."""
    for name, paths in grouped.items():
        if name not in _MODULES:
            raise InputError(f"unknown format {name!r}; expected {', '.join(FORMATS)}")
        if name in {module.NAME for module in _FOLDERS} - {nomic.NAME} and (files := [p for p in paths if p.is_file()]):
            raise InputError(f"{files[0]} is a file; the format {name} is a folder")
        reader: Callable[[Sequence[Path], Reading], Iterator[Item]] = _MODULES[name].read
        yield from reader([file for path in paths for file in _inside(path, name)], reading)


def _inside(path: Path, name: str) -> list[Path]:
    """The files of a folder, where the format is one of files."""
    if path.is_file() or name in {module.NAME for module in _FOLDERS}:
        return [path]
    files = sorted(file for file in path.rglob("*") if format_of(file))
    if not files:
        raise InputError(f"{path} holds no files of records")
    return files


def _recognised(path: Path, *, named: bool) -> Iterator[tuple[Path, str]]:
    """A path and its format; of a folder that is none itself, all that is in it. Only what was named must be known."""
    if path.is_dir():
        found = next((str(module.NAME) for module in _FOLDERS if module.recognises(path)), None)
        if found:
            yield path, found
            return
        inner = [pair for one in sorted(path.iterdir()) for pair in _recognised(one, named=False)]
        if named and not inner:
            raise InputError(f"{path} holds no file of a known format; name its format with --format")
        yield from inner
    elif (kind := format_of(path)) is not None:
        yield path, _of_records(path, kind)
    elif named:
        yield path, parallel.NAME


def _of_records(path: Path, kind: str) -> str:
    try:
        row = first(path)
    except InputError:
        if kind != "tsv":
            raise
        return parallel.NAME  # sentences need no header, and may hold quotes
    for module in _FILES:
        if module.recognises(row):
            return str(module.NAME)
    if kind == "tsv" and len(row) == 2:
        return parallel.NAME
    raise InputError(
        f"{path}: no known format has the columns {', '.join(list(row)[:8])}; name one with --format "
        f"({', '.join(FORMATS)}), such as sentence-transformers, for which their order counts"
    )
