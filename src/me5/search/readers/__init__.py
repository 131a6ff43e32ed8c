"""Readers: a file → documents, one module per kind of format, chosen by suffix.

A file that cannot be read at all is an `InputError`; a row or page that cannot be used is told to `complain`, and the
rest of its file goes on.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from me5.errors import InputError
from me5.files.compression import bare_name, is_packed
from me5.search.documents import Complain, Document, NoTextError
from me5.search.readers import (
    asciidoc,
    docx,
    epub,
    html,
    mail,
    markdown,
    notebook,
    odt,
    pdf,
    plain,
    pptx,
    rst,
    subtitles,
    tables,
    xlsx,
)  # fmt: skip
from me5.search.readers.tables import Columns

# Raised when readers or the splitter make something else of the same file: files that are indexed are then read again.
VERSION = 3
Reader = Callable[[Path, Columns, Complain], Iterator[Document]]

# Bytes from which a library may take long over what was made to harm: 8 KiB of nested quotes in Markdown take half a
# second, 60 KiB half a minute.
_SAFE = 1 << 13


class Kind(NamedTuple):
    """A kind of file: what `Hit.kind` calls it, and its reader.

    Files of more than `safe` bytes are read in a process of its own, None for formats that need none.
    """

    name: str
    read: Reader
    safe: int | None = None


def _whole(read: Callable[[Path], Iterator[Document]]) -> Reader:
    """A reader for formats that know neither columns nor rows."""
    return lambda path, columns, complain: read(path)  # noqa: ARG005


def _telling(read: Callable[[Path, Complain], Iterator[Document]]) -> Reader:
    """A reader for formats that know no columns."""
    return lambda path, columns, complain: read(path, complain)  # noqa: ARG005


_CODE = """
    .bash .c .cc .clj .cpp .cs .css .dart .ex .exs .fs .go .h .hpp .hs .java .jl .js .jsx .kt .lua .mjs .ml .php .pl
    .proto .ps1 .py .pyi .r .rb .rs .scala .sh .sql .swift .toml .ts .tsx .vue .yaml .yml .zig
"""
_KINDS: Mapping[Kind, str] = {
    Kind("text", _whole(plain.read_text)): ".txt .text .org .tex",
    Kind("markdown", _whole(markdown.read), _SAFE): ".md .markdown .mdx .qmd .rmd",
    Kind("html", _whole(html.read), _SAFE): ".html .htm .xhtml",
    Kind("notebook", _whole(notebook.read), _SAFE): ".ipynb",
    Kind("rst", _whole(rst.read), 0): ".rst",
    Kind("asciidoc", _whole(asciidoc.read), _SAFE): ".adoc .asciidoc",
    Kind("pdf", _telling(pdf.read), 0): ".pdf",
    Kind("docx", _whole(docx.read), 0): ".docx",
    Kind("odt", _whole(odt.read), 0): ".odt",
    Kind("pptx", _whole(pptx.read), 0): ".pptx .pptm .ppsx",
    Kind("xlsx", _telling(xlsx.read), 0): ".xlsx .xlsm",
    Kind("epub", _whole(epub.read), 0): ".epub",
    Kind("email", _telling(mail.read), 0): ".eml .mbox",
    Kind("subtitles", _whole(subtitles.read), _SAFE): ".srt .vtt",
    Kind("jsonl", tables.read): ".jsonl .ndjson",
    Kind("csv", tables.read): ".csv .tsv",
    Kind("parquet", tables.read, 0): ".parquet",
    Kind("code", _whole(plain.read_code)): _CODE,
}
# Kinds whose line breaks mean something; in the others they may only fill a page.
LINES = (
    "code", "html", "docx", "odt", "pptx", "xlsx", "epub", "markdown", "notebook", "rst", "asciidoc",
)  # fmt: skip
BY_SUFFIX: Mapping[str, Kind] = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}


def known(path: Path) -> Kind | None:
    """The kind of a file by its suffix, None where it has no reader. Lines of records may be compressed."""
    if is_packed(path):
        kind = BY_SUFFIX.get(Path(bare_name(path)).suffix.lower())
        return kind if kind is not None and kind.name in ("jsonl", "csv") else None
    return BY_SUFFIX.get(path.suffix.lower())


def kind_of(path: Path) -> Kind:
    """The kind of a file by its suffix. Raises `InputError` for one that has no reader."""
    if (kind := known(path)) is None:
        named = [suffix for suffix in BY_SUFFIX if suffix not in _CODE]
        raise InputError(f"no reader for {path.suffix or 'files without a suffix'}; known are {', '.join(named)}, code")
    return kind


def read(path: Path, columns: Columns, complain: Complain) -> Iterator[Document]:
    """The documents of a file, here and now. Raises `NoTextError` for a file without any text.

    Empty source files are usual, and no error.
    """
    kind = kind_of(path)
    empty, complained = True, False

    def told(at: int, reason: str) -> None:
        nonlocal complained
        complained = True
        complain(at, reason)

    for document in kind.read(path, columns, told):
        empty = empty and not document.text.strip()
        yield document
    if empty and not complained and kind.name != "code":
        raise NoTextError("holds no text; nothing of it can be found")
