"""Plain text and source code: UTF-8, or UTF-16 with a byte order mark."""

from collections.abc import Iterator
from pathlib import Path

from me5.errors import InputError
from me5.files.lines import NO_TEXT, encoding_of, not_unicode
from me5.search.documents import Document
from me5.search.readers.outline import SOFT_HYPHEN

# Bytes of a file that is read as a whole, and characters of a document; the largest Bible is a tenth of it.
MOST = 1 << 26


def read_text(path: Path) -> Iterator[Document]:
    """The file as one document without a title, and without the soft hyphens of its words."""
    yield Document(decode(load(path)).replace(SOFT_HYPHEN, ""))


def read_code(path: Path) -> Iterator[Document]:
    """The file as one document under its name: code seldom says what it is."""
    yield Document(decode(load(path)), title=path.name)


def load(path: Path) -> bytes:
    """The bytes of a file. Raises `InputError` for one that is too large to be read as a whole."""
    with path.open("rb") as file:
        raw = file.read(MOST + 1)
    if len(raw) > MOST:
        size = path.stat().st_size
        raise InputError(
            f"has {size:,} bytes, and at most {MOST:,} are read as one document; split it into several files"
        )
    return raw


def decode(raw: bytes) -> str:
    """The text of a file, with line feeds as its only line ends. Raises `InputError` for anything but Unicode."""
    try:
        text = raw.decode(encoding_of(raw))
    except UnicodeDecodeError as error:
        raise InputError(not_unicode(error)) from error
    if "\0" in text:
        raise InputError(f"{NO_TEXT}; rename it, or leave it out")
    return text.replace("\r\n", "\n").replace("\r", "\n")
