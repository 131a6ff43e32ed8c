"""EPUB: one document per chapter in the order of reading, so that a hit tells its chapter."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from me5.errors import InputError
from me5.search.documents import Document, NoTextError
from me5.search.readers import archives, charset, html
from me5.search.readers.archives import Archive

_PAGES = ("application/xhtml+xml", "text/html")
_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
# XHTML may close at once what a parser of HTML reads to its end.
_EMPTY = re.compile(r"<(title|script|style|iframe|textarea)\b([^<>]*)/>", re.IGNORECASE)


@dataclass(frozen=True)
class _Book:
    """What the package document says: title, language, and the names of the chapters."""

    title: str
    language: str
    chapters: list[str]


def read(path: Path) -> Iterator[Document]:
    """The text of each chapter. Raises `InputError` for a book that is damaged or locked."""
    with archives.opened(path, "EPUB", whole=False) as file:
        book = _book(file)
        if _locked(file) & {*book.chapters}:
            raise InputError("is locked against copying (DRM); use a copy without it")
        file.check_unpacked(book.chapters)
        seen = False
        for number, name in enumerate(book.chapters, 1):
            document = _chapter(file, name, book)
            if document is not None:
                seen = True
                yield replace(document, at=number)
        if not seen:
            raise NoTextError("holds no text, only pictures")


def _book(file: Archive) -> _Book:
    package = next((one.get("full-path") for one in _all(file.xml(_CONTAINER), "rootfile")), None)
    if not package:
        raise InputError("cannot be read as EPUB: its container names no package")
    tree = file.xml(package)
    names = {
        item.get("id"): posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(item.get("href", ""))))
        for item in _all(tree, "item")
        if item.get("media-type") in _PAGES and "nav" not in (item.get("properties") or "").split()
    }
    chapters = [names[id_] for one in _all(tree, "itemref") if (id_ := one.get("idref")) in names]
    return _Book(_first(tree, "title"), _first(tree, "language"), list(dict.fromkeys(chapters)))


def _chapter(file: Archive, name: str, book: _Book) -> Document | None:
    """A chapter under the title of the book; None for one without text, such as a cover."""
    try:
        page = _EMPTY.sub(r"<\1\2></\1>", charset.decode(file.load(name)))
        document = html.page(page, book.title)
    except NoTextError:
        return None
    if not document.text.strip():
        return None
    return document if document.language else replace(document, language=book.language)


def _locked(file: Archive) -> set[str]:
    """The files that are encrypted; fonts often are in books that are open."""
    if _ENCRYPTION not in file.names:
        return set()
    return {unquote(one.get("URI", "")) for one in _all(file.xml(_ENCRYPTION), "CipherReference")}


def _all(tree: Element, tag: str) -> Iterator[Element]:
    """Elements by their name in any namespace."""
    return (one for one in tree.iter() if isinstance(one.tag, str) and one.tag.rpartition("}")[2] == tag)


def _first(tree: Element, tag: str) -> str:
    return next((" ".join((element.text or "").split()) for element in _all(tree, tag)), "")
