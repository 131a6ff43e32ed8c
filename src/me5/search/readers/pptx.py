"""PPTX: one document per slide with all that it shows, its notes and its comments, so that a hit tells its slide.

Shapes are walked as XML: python-pptx knows no text of charts, diagrams and comments, and brings a library for pictures.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from me5.search.documents import Document
from me5.search.readers import archives
from me5.search.readers.archives import Archive
from me5.search.readers.outline import Outline

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_PRESENTATION, _CORE = "ppt/presentation.xml", "docProps/core.xml"
# The same once more, for older programs.
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# What fills a page of notes beside the notes: the slide itself, its number, the date.
_FRAME = ("sldImg", "sldNum", "dt", "hdr", "ftr")


def read(path: Path) -> Iterator[Document]:
    """The slides in their order; hidden ones have `hidden` in their metadata."""
    with archives.opened(path, "PPTX") as file:
        title = file.title(_CORE)
        parts = {id_: name for id_, _, name in file.related(_PRESENTATION)}
        slides = file.xml(_PRESENTATION).iterfind(f"{_P}sldIdLst/{_P}sldId")
        for number, slide in enumerate(slides, 1):
            yield replace(_slide(file, parts[slide.get(_ID, "")], title), at=number)


def _slide(file: Archive, name: str, title: str) -> Document:
    root = file.xml(name)
    outline = Outline(title)
    headings = [shape for shape in root.iter(f"{_P}sp") if _placeholder(shape) in ("title", "ctrTitle")]
    for shape in headings:
        outline.heading(1, " ".join(map(_text, shape.iter(f"{_A}p"))))
    _write(root, outline, headings)
    for _, kind, part in file.related(name):
        if kind == "notesSlide":
            notes = file.xml(part)
            _write(notes, outline, [shape for shape in notes.iter(f"{_P}sp") if _placeholder(shape) in _FRAME])
        elif kind == "diagramData":
            _write(file.xml(part), outline, [])
        elif kind == "chart":
            _chart(file.xml(part), outline)
        elif kind == "comments":
            for comment in file.xml(part).iter(f"{_P}text"):
                outline.write(comment.text or "")
                outline.end_line()
            _write(file.xml(part), outline, [])  # those of newer programs hold paragraphs
    hidden = {"hidden": True} if root.get("show") in ("0", "false") else {}
    return replace(outline.document(), metadata=hidden)


def _placeholder(shape: Element) -> str:
    """What a shape is there for, nothing for one of its own."""
    found = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
    return "" if found is None else found.get("type", "body")


def _write(root: Element, outline: Outline, left_out: list[Element]) -> None:
    """Paragraphs and rows under an element, in their order, but not those of some shapes."""
    for element in root:
        if element in left_out or element.tag == _FALLBACK:
            continue
        if element.tag == f"{_A}p":
            outline.write(_text(element))
            outline.end_line()
        elif element.tag == f"{_A}tr":
            # What a merged cell covers is empty.
            cells = (" ".join(filter(None, map(_text, cell.iter(f"{_A}p")))) for cell in element.iter(f"{_A}tc"))
            outline.write("\t".join(cells).rstrip("\t"))
            outline.end_line()
        else:
            _write(element, outline, left_out)


def _chart(root: Element, outline: Outline) -> None:
    """Titles of a chart, and the names of its series and of what they count, once each."""
    _write(root, outline, [])
    names = (", ".join(name.text or "" for name in cache.iter(f"{_C}v")) for cache in root.iter(f"{_C}strCache"))
    for line in dict.fromkeys(names):
        outline.write(line)
        outline.end_line()


def _text(paragraph: Element) -> str:
    """The text of a paragraph, with its fields and line breaks."""
    return "".join(
        "\n" if element.tag == f"{_A}br" else element.text or ""
        for element in paragraph.iter()
        if element.tag in (f"{_A}t", f"{_A}br")
    )
