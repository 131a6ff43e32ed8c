"""What a reader makes of a file: documents, and the sections under their headings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from me5.errors import InputError

# The kinds of files in which every row is a document; a page of a PDF is none.
TABLES = ("jsonl", "csv", "parquet")
# And those in which each place is a document of its own: a message is one too.
SEVERAL = (*TABLES, "email")
# The place of a problem that concerns a file as a whole.
NOWHERE = -1
# Told of a row that cannot be used: its place in the file, and the reason.
Complain = Callable[[int, str], None]


class NoTextError(InputError):
    """A sound file without text, such as a scan: nothing is wrong that its next reading could mend."""


@dataclass(frozen=True)
class Section:
    """The part of a document under one heading: characters `start` to `end` of its text, heading left out."""

    title: str
    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """A text with its title.

    `at` is its place where a file holds several: the page of a PDF, the chapter of an EPUB, the slide of a PPTX, the
    sheet of an XLSX, the message of an mbox, the line of JSONL or CSV (all from 1), the row of Parquet (from 0), the
    second at which a part of subtitles begins. `sections` cover what is to be searched; without any it is the
    whole text. `metadata` is kept as JSON; dates become strings in ISO form. `language` is what the file states: a code
    such as `de` or `de-AT`, or a name such as `German`.
    """

    text: str
    title: str = ""
    at: int | None = None
    sections: tuple[Section, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    language: str = ""
