"""PDF: one document per page, so that a hit tells its page."""

import contextlib
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from me5.errors import InputError
from me5.search.documents import Complain, Document, NoTextError
from me5.search.readers.outline import SOFT_HYPHEN

_OCR = "run OCR on it first, for example with `ocrmypdf`"
# Lines that a blank page may have, and what PDFium calls them.
_FRAME, _PATH = 4, 2
# What PDFium puts for a hyphen and the end of its line; and glyphs that stand for no character.
_HYPHEN = "\ufffe"
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffd\uffff]")
# A word that goes on in the next line; what follows begins with a small letter, or a letter without case.
_BROKEN = re.compile(r"(?P<left>[^\W\d_]+)(?P<hyphen>[-‐\u00ad])[ \t]*\n[ \t]*(?P<right>[^\W\d_]+)")
# "Haupt- und Nebensatz": the hyphen stands for a part that two words share.
_SHARED = frozenset("und oder bzw sowie and or to et ou y o e u en of och eller og i".split())  # noqa: SIM905


def read(path: Path, complain: Complain) -> Iterator[Document]:
    """The text of each page; pages that are pictures of text are told.

    Raises `InputError` for a file that is damaged, locked, or holds such pages only.
    """
    # Here, in the readers' own process: it loads PDFium, which is not safe for several threads.
    import pypdfium2

    try:
        with contextlib.closing(pypdfium2.PdfDocument(path)) as file:
            title = file.get_metadata_value("Title").strip()
            seen, empty, pictures = 0, list[int](), False
            for number in range(1, len(file) + 1):
                with contextlib.closing(file[number - 1]) as page:
                    text = whole_words(_lines(page.get_textpage().get_text_range()))
                    if text.strip():
                        seen += 1
                    else:
                        empty.append(number)
                        pictures = pictures or _has_pictures(page)
                yield Document(text, title, at=number)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD:
            raise InputError("is locked with a password; save a copy without it") from error
        raise InputError(f"cannot be read as PDF: {error}") from error
    if not seen:
        raise NoTextError(f"holds no text, only pictures of it; {_OCR}")
    # Here and there a page may be left blank.
    if pictures or len(empty) > seen:
        complain(empty[0], f"{_listed(empty)} no text, only pictures of it or nothing; {_OCR}. The others are indexed")


def _lines(text: str) -> str:
    """PDFium's text with line feeds, hyphens at the ends of lines as they are in print, and no control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace(_HYPHEN, "-\n")
    return _CONTROLS.sub(" ", text)


def whole_words(text: str) -> str:
    """The text with words joined that were broken at the end of a line, and without soft hyphens."""
    # A word that has its hyphen elsewhere within a line keeps it.
    hyphenated = set(re.findall(r"[^\W\d_]+[-‐][^\W\d_]+", text))

    def joined(found: re.Match[str]) -> str:
        left, hyphen, right = found["left"], found["hyphen"], found["right"]
        if hyphen == SOFT_HYPHEN:
            return left + right
        if right in _SHARED:
            return f"{left}{hyphen} {right}"
        if right[0].isupper() or f"{left}{hyphen}{right}" in hyphenated:
            return f"{left}{hyphen}{right}"
        return left + right

    return _BROKEN.sub(joined, text).replace(SOFT_HYPHEN, "")


def _has_pictures(page: Any) -> bool:
    """Whether more is drawn on a page than a frame."""
    kinds = [one.type for one in page.get_objects(max_depth=2)]
    return len(kinds) > _FRAME or any(kind != _PATH for kind in kinds)


def _listed(numbers: list[int]) -> str:
    """Page numbers as ranges, and the verb that goes with them."""
    starts = [number for before, number in pairwise([-1, *numbers]) if number != before + 1]
    ends = [number for number, after in pairwise([*numbers, -1]) if after != number + 1]
    ranges = [f"{start}" if start == end else f"{start} to {end}" for start, end in zip(starts, ends, strict=True)]
    shown = ", ".join(ranges[:12]) + (", …" if len(ranges) > 12 else "")
    return f"page {shown} holds" if len(numbers) == 1 else f"pages {shown} hold"
