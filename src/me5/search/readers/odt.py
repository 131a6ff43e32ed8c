"""ODT: the text of LibreOffice's documents in its order, with notes, comments, headers, cut at its headings."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from me5.errors import InputError
from me5.search.documents import Document
from me5.search.readers import archives
from me5.search.readers.outline import Outline

_OASIS = "urn:oasis:names:tc:opendocument:xmlns"
_TEXT, _TABLE, _OFFICE, _STYLE, _DRAW, _META, _SVG = (
    f"{{{_OASIS}:{name}:1.0}}" for name in ("text", "table", "office", "style", "drawing", "meta", "svg-compatible")
)
_DC = "{http://purl.org/dc/elements/1.1/}"
_H, _P = f"{_TEXT}h", f"{_TEXT}p"
_ROW, _CELL = f"{_TABLE}table-row", f"{_TABLE}table-cell"
_SPACES = {f"{_TEXT}tab": "\t", f"{_TEXT}line-break": "\n"}
# Deleted text, the marks of notes and pages, who commented when, and what describes a picture.
_GONE = {
    f"{_TEXT}tracked-changes", f"{_TEXT}note-citation", f"{_TEXT}sequence-decls", f"{_TEXT}page-number",
    f"{_OFFICE}forms",
    f"{_DC}creator", f"{_DC}date", f"{_META}creator-initials", f"{_SVG}title", f"{_SVG}desc",
}  # fmt: skip
# Blocks that stand within a line, and are read after it.
_ASIDE = {f"{_TEXT}note-body", f"{_OFFICE}annotation", f"{_DRAW}text-box"}
_MOST_SPACES = 1000
_SPACE = re.compile(r"[ \t\r\n]+")


def read(path: Path) -> Iterator[Document]:
    """The file as one document."""
    with archives.opened(path, "ODT") as file:
        if b"encryption-data" in file.load("META-INF/manifest.xml"):
            raise InputError("is locked with a password; save a copy without it")
        content, styles = file.xml("content.xml"), file.xml("styles.xml") if "styles.xml" in file.names else None
        titles = {"Title"} | {
            style.get(f"{_STYLE}name", "")
            for style in content.iter(f"{_STYLE}style")
            if style.get(f"{_STYLE}parent-style-name") == "Title"
        }
        walk = _Walk(Outline(file.title("meta.xml")), titles)
        body = content.find(f"{_OFFICE}body")
        if body is None:
            raise InputError("cannot be read as ODT: its content has no body")
        for page in () if styles is None else styles.iter(f"{_STYLE}header"):
            walk.over(page)
        walk.over(body)
        walk.outline.leave_headings()
        for page in () if styles is None else styles.iter(f"{_STYLE}footer"):
            walk.over(page)
    yield walk.outline.document()


class _Walk:
    """Writes headings, paragraphs and tables under an element into an outline."""

    def __init__(self, outline: Outline, titles: set[str]) -> None:
        self.outline = outline
        self._titles = titles

    def over(self, root: Element) -> None:
        """Blocks at any depth: in lists, sections, nested tables and boxes too."""
        for element in root:
            if element.tag in _GONE:
                continue
            if element.tag in (_H, _P):
                self._block(element)
            elif element.tag == _ROW:
                self.outline.write("\t".join(map(self._cell, element.iterfind(_CELL))))
                self.outline.end_line()
            else:
                self.over(element)

    def _block(self, block: Element) -> None:
        aside: list[Element] = []
        text = "".join(_inline(block, aside))
        text = text.removeprefix(" ") if (block.text or "")[:1].isspace() else text  # a paragraph begins with no space
        if block.get(f"{_TEXT}style-name") in self._titles and not self.outline.title:
            self.outline.title = " ".join(text.split())
        if block.tag == _H:
            self.outline.heading(int(block.get(f"{_TEXT}outline-level", "1")), text)
        else:
            self.outline.write(text)
            self.outline.end_line()
        for one in aside:
            self.over(one)

    def _cell(self, cell: Element) -> str:
        inner = _Walk(Outline(), set())
        inner.over(cell)
        return inner.outline.document().text.strip("\n")


def _inline(element: Element, aside: list[Element]) -> Iterator[str]:
    """The text within a paragraph; the blocks that stand in it are put aside, to follow it."""
    yield _flowed(element.text)
    for child in element:
        if child.tag in _ASIDE:
            aside.append(child)
        elif child.tag in _SPACES:
            yield _SPACES[child.tag]
        elif child.tag == f"{_TEXT}s":
            yield " " * min(int(child.get(f"{_TEXT}c", "1")), _MOST_SPACES)
        elif child.tag not in _GONE:
            yield from _inline(child, aside)
        yield _flowed(child.tail)


def _flowed(text: str | None) -> str:
    """White space of the XML, line feeds too, is one space in the text."""
    return _SPACE.sub(" ", text or "")
