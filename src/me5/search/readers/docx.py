"""DOCX: paragraphs and tables in their order, cut at the paragraphs whose style is a heading."""

import re
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile

import docx
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table

from me5.errors import InputError
from me5.search.documents import Document, Section

_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


def read(path: Path) -> Iterator[Document]:
    """The file as one document. Offsets count characters of its paragraphs, joined by line feeds."""
    try:
        file = docx.Document(str(path))
    except (PackageNotFoundError, BadZipFile, KeyError, ValueError) as error:
        raise InputError(f"cannot be read as DOCX: {error}") from error
    title = (file.core_properties.title or "").strip()
    lines: list[str] = []
    path_of: list[tuple[int, str]] = []
    sections: list[Section] = []
    start = length = 0
    for block in file.iter_inner_content():
        line = _table(block) if isinstance(block, Table) else block.text
        style = "" if isinstance(block, Table) or block.style is None else block.style.name or ""
        if style == "Title" and not title:
            title = line.strip()
        if (heading := _HEADING.match(style)) is not None:
            sections.append(Section(_joined(path_of), start, length))
            level = int(heading[1])
            path_of = [*(above for above in path_of if above[0] < level), (level, line.strip())]
            start = length + len(line) + 1
        lines.append(line)
        length += len(line) + 1
    text = "\n".join(lines)
    sections.append(Section(_joined(path_of), min(start, len(text)), len(text)))
    yield Document(text, title, sections=tuple(sections))


def _joined(path: list[tuple[int, str]]) -> str:
    return ": ".join(title for _, title in path if title)


def _table(table: Table) -> str:
    return "\n".join("\t".join(cell.text for cell in row.cells) for row in table.rows)
