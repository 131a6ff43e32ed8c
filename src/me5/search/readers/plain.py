"""Plain text and source code: UTF-8, or UTF-16 with a byte order mark."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from me5.errors import InputError
from me5.search.documents import Document


def read_text(path: Path) -> Iterator[Document]:
    """The file as one document without a title."""
    yield Document(decode(path.read_bytes()))


def read_code(path: Path) -> Iterator[Document]:
    """The file as one document under its name: code seldom says what it is."""
    yield Document(decode(path.read_bytes()), title=path.name)


def decode(raw: bytes) -> str:
    """The text of a file, with line feeds as its only line ends. Raises `InputError` for anything but Unicode."""
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start + 1:,} is not valid {encoding.removesuffix('-sig').upper()}; convert the file, for "
            "example with `iconv -f WINDOWS-1252 -t UTF-8`"
        ) from error
    if "\0" in text:
        raise InputError("holds NUL characters, so it is no text; rename it, or leave it out")
    return text.replace("\r\n", "\n").replace("\r", "\n")
