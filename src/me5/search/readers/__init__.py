"""Readers: a file → documents, one module per kind of format, chosen by suffix.

A file that cannot be read at all is an `InputError`; a row that cannot be used is told to `complain`, and the rest of
its file goes on.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from me5.errors import InputError
from me5.search.documents import Complain, Document
from me5.search.readers import docx, html, markdown, pdf, plain, tables
from me5.search.readers.tables import Columns

# Raised when readers or the splitter make something else of the same file: files that are indexed are then read again.
VERSION = 2
Reader = Callable[[Path, Columns, Complain], Iterator[Document]]


class Kind(NamedTuple):
    """A kind of file: what `Hit.kind` calls it, and its reader."""

    name: str
    read: Reader


def _whole(read: Callable[[Path], Iterator[Document]]) -> Reader:
    """A reader for formats that know neither columns nor rows."""
    return lambda path, columns, complain: read(path)  # noqa: ARG005


_CODE = """
    .bash .c .cc .clj .cpp .cs .css .dart .ex .exs .fs .go .h .hpp .hs .java .jl .js .jsx .kt .lua .mjs .ml .php .pl
    .proto .ps1 .py .pyi .r .rb .rs .scala .sh .sql .swift .toml .ts .tsx .vue .yaml .yml .zig
"""
_KINDS: Mapping[Kind, str] = {
    Kind("text", _whole(plain.read_text)): ".txt .text .rst .adoc .org .tex",
    Kind("markdown", _whole(markdown.read)): ".md .markdown .mdx .qmd .rmd",
    Kind("html", _whole(html.read)): ".html .htm .xhtml",
    Kind("pdf", _whole(pdf.read)): ".pdf",
    Kind("docx", _whole(docx.read)): ".docx",
    Kind("jsonl", tables.read_jsonl): ".jsonl .ndjson",
    Kind("csv", tables.read_csv): ".csv .tsv",
    Kind("parquet", tables.read_parquet): ".parquet",
    Kind("code", _whole(plain.read_code)): _CODE,
}
BY_SUFFIX: Mapping[str, Kind] = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}


def kind_of(path: Path) -> Kind:
    """The kind of a file by its suffix. Raises `InputError` for one that has no reader."""
    if (kind := BY_SUFFIX.get(path.suffix.lower())) is None:
        named = [suffix for suffix in BY_SUFFIX if suffix not in _CODE]
        raise InputError(f"no reader for {path.suffix or 'files without a suffix'}; known are {', '.join(named)}, code")
    return kind
