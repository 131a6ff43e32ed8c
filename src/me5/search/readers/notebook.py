"""Jupyter notebooks: the Markdown and the code of their cells, without what these printed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from me5.errors import InputError
from me5.search.documents import Document
from me5.search.readers import markdown
from me5.search.readers.plain import decode, load


def read(path: Path) -> Iterator[Document]:
    """The notebook as one document, cut at the headings of its Markdown."""
    try:
        notebook = json.loads(decode(load(path)))
    except (ValueError, RecursionError) as error:
        raise (
            error if isinstance(error, InputError) else InputError(f"is not a notebook: not JSON ({error})")
        ) from error
    yield markdown.document("\n\n".join(_cells(notebook)))


def _cells(notebook: Any) -> Iterator[str]:
    if not isinstance(notebook, dict):
        raise InputError(f"is not a notebook: a JSON {type(notebook).__name__}, expected an object with cells")
    sheets = notebook.get("worksheets")  # format 3
    lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)] if isinstance(sheets, list) else []
    cells = [cell for found in (notebook.get("cells"), *lists) if isinstance(found, list) for cell in found]
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        source = cell.get("source", cell.get("input", ""))
        text = "".join(filter(lambda line: isinstance(line, str), source)) if isinstance(source, list) else str(source)
        if cell.get("cell_type") == "heading":
            yield f"{'#' * _level(cell)} {text}"
        else:
            yield markdown.fenced(text) if cell.get("cell_type") == "code" else text


def _level(cell: dict[str, Any]) -> int:
    level = cell.get("level")
    return level if isinstance(level, int) and 1 <= level <= 6 else 1
