"""DOCX: all that Word shows, in its order, cut at the paragraphs whose style is a heading.

Paragraphs are walked as XML and not by python-docx's `paragraphs`, which knows no tracked insertions, content controls,
text boxes and fields, and whose tables repeat a merged cell for each of its columns.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from me5.errors import InputError
from me5.search.documents import Document
from me5.search.readers import archives
from me5.search.readers.outline import Outline


def _w(name: str) -> str:
    """A name of WordprocessingML as lxml has it."""
    return f"{{http://schemas.openxmlformats.org/wordprocessingml/2006/main}}{name}"


_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)
_BODY_LEVEL = 9  # what Word calls "body text" in an outline
_LONGEST_CHAIN = 10  # styles that are based on each other
_MARKS = {_w("tab"): "\t", _w("br"): "\n", _w("cr"): "\n", _w("noBreakHyphen"): "-"}
_GONE = {_w(name) for name in ("del", "moveFrom", "instrText", "delText", "pPr", "rPr", "sectPr")} | {
    "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # the same once more, for older programs
}
_P, _T, _ROW, _CELL = (_w(name) for name in ("p", "t", "tr", "tc"))
# What stands beside the body: before it, and after it.
_BEFORE, _AFTER = ("HEADER",), ("FOOTNOTES", "ENDNOTES", "COMMENTS", "FOOTER")


def read(path: Path) -> Iterator[Document]:
    """The file as one document. Offsets count characters of its paragraphs, joined by line feeds."""
    import docx  # 60 ms, which searches do without
    from docx.opc.exceptions import PackageNotFoundError

    try:
        with archives.opened(path, "DOCX"):  # it is locked, damaged or too large: told before python-docx unpacks it
            file = docx.Document(str(path))
        walk = _Walk(Outline((file.core_properties.title or "").strip()), _levels(file))
        for part in _beside(file, _BEFORE):
            walk.over(part)
        walk.over(file.element.body)
        walk.outline.leave_headings()
        for part in _beside(file, _AFTER):
            walk.over(part)
    except (PackageNotFoundError, KeyError, ValueError, SyntaxError) as error:  # lxml's is a SyntaxError
        raise error if isinstance(error, InputError) else InputError(f"cannot be read as DOCX: {error}") from error
    yield walk.outline.document()


def _levels(file: Any) -> dict[str, tuple[int, str]]:
    """The level (0 for none) and the name of each paragraph style, by its id."""
    styles = {style.get(_w("styleId")): style for style in file.styles.element.iter(_w("style"))}
    return {name: (_level(style, styles), _value(style, "name")) for name, style in styles.items()}


def _level(style: Any, styles: dict[str, Any]) -> int:
    """By name, by outline level, or as the style that it is based on."""
    for _ in range(_LONGEST_CHAIN):
        if (named := _HEADING.match(_value(style, "name"))) is not None:
            return int(named[1])
        if outline := _value(style.find(_w("pPr")), "outlineLvl"):
            return int(outline) + 1 if int(outline) < _BODY_LEVEL else 0
        style = styles.get(_value(style, "basedOn"))
        if style is None:
            break
    return 0


def _value(element: Any, child: str) -> str:
    found = None if element is None else element.find(_w(child))
    return "" if found is None else found.get(_w("val")) or ""


def _beside(file: Any, kinds: tuple[str, ...]) -> Iterator[Any]:
    """The roots of the parts of these kinds; headers that repeat each other's text are walked once."""
    from docx.opc.constants import RELATIONSHIP_TYPE
    from docx.opc.oxml import parse_xml

    seen: set[str] = set()
    for kind in kinds:
        for relationship in file.part.rels.values():
            if relationship.is_external or relationship.reltype != getattr(RELATIONSHIP_TYPE, kind):
                continue
            part = relationship.target_part
            root = getattr(part, "element", None)
            root = parse_xml(part.blob) if root is None else root
            text = "".join(node.text or "" for node in root.iter(_T))
            if text not in seen:
                seen.add(text)
                yield root


class _Walk:
    """Writes paragraphs and tables under an element into an outline."""

    def __init__(self, outline: Outline, levels: dict[str, tuple[int, str]]) -> None:
        self.outline = outline
        self._levels = levels

    def over(self, root: Any) -> None:
        """Blocks at any depth: in content controls, insertions, nested tables and text boxes too."""
        for element in root:
            if element.tag in _GONE:
                continue
            if element.tag == _P:
                self._paragraph(element)
            elif element.tag == _ROW:
                self._row(element)
            else:
                self.over(element)

    def _paragraph(self, paragraph: Any) -> None:
        boxes: list[Any] = []
        text = "".join(_inline(paragraph, boxes))
        properties = paragraph.find(_w("pPr"))
        level, style = self._levels.get(_value(properties, "pStyle"), (0, ""))
        if style.lower() == "title" and not self.outline.title:
            self.outline.title = " ".join(text.split())
        outline = _value(properties, "outlineLvl")
        level = int(outline) + 1 if outline and int(outline) < _BODY_LEVEL else level
        if level:
            self.outline.heading(level, text)
        else:
            self.outline.write(text)
            self.outline.end_line()
        for box in boxes:
            self.over(box)

    def _row(self, row: Any) -> None:
        """Cells beside each other. What a merged cell covers holds no text of its own."""
        self.outline.write("\t".join(map(self._cell, _cells(row))))
        self.outline.end_line()

    def _cell(self, cell: Any) -> str:
        inner = _Walk(Outline(), {})
        inner.over(cell)
        return inner.outline.document().text.strip("\n")


def _cells(row: Any) -> Iterator[Any]:
    """The cells of a row, also those in content controls, but not those of nested tables."""
    for element in row:
        if element.tag == _CELL:
            yield element
        elif element.tag not in _GONE:
            yield from _cells(element)


def _inline(element: Any, boxes: list[Any]) -> Iterator[str]:
    """The text within a paragraph; the blocks of its text boxes are put aside, to follow it."""
    for child in element:
        if child.tag in _GONE:
            continue
        if child.tag == _T:
            yield child.text or ""
        elif child.tag in _MARKS:
            yield _MARKS[child.tag]
        elif child.tag == _w("txbxContent"):
            boxes.append(child)
        else:
            yield from _inline(child, boxes)
