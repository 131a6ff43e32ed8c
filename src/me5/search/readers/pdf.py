"""PDF: one document per page, so that a hit tells its page."""

import logging
from collections.abc import Iterator
from pathlib import Path

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from me5.errors import InputError
from me5.search.documents import Document, NoTextError

# It tells of every oddity of a file that it can read all the same.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)


def read(path: Path) -> Iterator[Document]:
    """The text of each page. Raises `InputError` for a file that is damaged, locked, or holds pictures of text only."""
    try:
        with path.open("rb") as file:
            reader = PdfReader(file)
            if reader.is_encrypted and not reader.decrypt(""):
                raise InputError("is locked with a password; save a copy without it")
            title = (reader.metadata.title if reader.metadata else None) or ""
            seen = False
            for number, page in enumerate(reader.pages, 1):
                text = page.extract_text()
                seen = seen or bool(text.strip())
                yield Document(text, str(title).strip(), at=number)
    except InputError:
        raise
    # A damaged file ends in whatever the first missing piece leads to.
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise InputError(f"cannot be read as PDF: {error or type(error).__name__}") from error
    if not seen:
        raise NoTextError("holds no text, only pictures of it; run OCR on it first, for example with `ocrmypdf`")
