"""PDF: one document per page, so that a hit tells its page."""

import logging
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from pypdf import PageObject, PdfReader
from pypdf.errors import PyPdfError

from me5.errors import InputError
from me5.search.documents import Complain, Document, NoTextError
from me5.search.readers.outline import SOFT_HYPHEN

# It tells of every oddity of a file that it can read all the same.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)

_OCR = "run OCR on it first, for example with `ocrmypdf`"
# Bytes of drawing that a blank page may have.
_FRAME = 200
# A word that goes on in the next line; what follows begins with a small letter, or a letter without case.
_BROKEN = re.compile(r"(?P<left>[^\W\d_]+)(?P<hyphen>[-‐\u00ad])[ \t]*\n[ \t]*(?P<right>[^\W\d_]+)")
# "Haupt- und Nebensatz": the hyphen stands for a part that two words share.
_SHARED = frozenset("und oder bzw sowie and or to et ou y o e u en of och eller og i".split())  # noqa: SIM905


def read(path: Path, complain: Complain) -> Iterator[Document]:
    """The text of each page; pages that are pictures of text are told.

    Raises `InputError` for a file that is damaged, locked, or holds such pages only.
    """
    try:
        with path.open("rb") as file:
            reader = PdfReader(file)
            if reader.is_encrypted and not reader.decrypt(""):
                raise InputError("is locked with a password; save a copy without it")
            title = str((reader.metadata.title if reader.metadata else None) or "").strip()
            seen, empty, pictures = 0, list[int](), False
            for number, page in enumerate(reader.pages, 1):
                text = whole_words(page.extract_text())
                if text.strip():
                    seen += 1
                else:
                    empty.append(number)
                    pictures = pictures or _has_pictures(page)
                yield Document(text, title, at=number)
    except InputError:
        raise
    # A damaged file ends in whatever the first missing piece leads to.
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(f"cannot be read as PDF: {error or type(error).__name__}") from error
    if not seen:
        raise NoTextError(f"holds no text, only pictures of it; {_OCR}")
    # Here and there a page may be left blank.
    if pictures or len(empty) > seen:
        complain(empty[0], f"{_listed(empty)} no text, only pictures of it or nothing; {_OCR}. The others are indexed")


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


def _has_pictures(page: PageObject) -> bool:
    """Whether more is drawn on a page than a frame."""
    resources = page.get("/Resources")
    objects = resources.get_object().get("/XObject") if resources is not None else None
    contents = page.get_contents()
    return bool(objects is not None and objects.get_object()) or (
        contents is not None and len(contents.get_data()) > _FRAME
    )


def _listed(numbers: list[int]) -> str:
    """Page numbers as ranges, and the verb that goes with them."""
    starts = [number for before, number in pairwise([-1, *numbers]) if number != before + 1]
    ends = [number for number, after in pairwise([*numbers, -1]) if after != number + 1]
    ranges = [f"{start}" if start == end else f"{start} to {end}" for start, end in zip(starts, ends, strict=True)]
    shown = ", ".join(ranges[:12]) + (", …" if len(ranges) > 12 else "")
    return f"page {shown} holds" if len(numbers) == 1 else f"pages {shown} hold"
