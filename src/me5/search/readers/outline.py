"""What readers of formatted documents write into: text and headings in, a document with its sections out."""

from me5.search.documents import Document, Section

# A longer heading is a paragraph that someone set in the style of one.
_LONGEST_HEADING = 200
SOFT_HYPHEN = "\N{SOFT HYPHEN}"


class Outline:
    """Text in the making. Soft hyphens are left out, for a word with one in it is another word to a model.

    A heading's text belongs to the titles of what stands below it. Where nothing does it is text of the section before,
    so that it can be found. `lead` is written before the first text that is not a heading.
    """

    def __init__(self, title: str = "", lead: str = "") -> None:
        self.title = title
        self._lead = lead
        self._parts: list[str] = []
        self._length = 0
        self._path: list[tuple[int, str]] = []
        self._heading = self._start = 0
        self._empty = True
        self._sections: list[Section] = []

    @property
    def at_start(self) -> bool:
        """Whether the next character begins a line."""
        return not self._parts or self._parts[-1].endswith("\n")

    @property
    def after_space(self) -> bool:
        """Whether white space, or nothing, stands before the next character."""
        return not self._parts or self._parts[-1][-1].isspace()

    def write(self, text: str) -> None:
        """Text as it is."""
        if self._lead and text.strip():
            lead, self._lead = self._lead, ""
            self.write(lead)
            self.end_line()
        if text := text.replace(SOFT_HYPHEN, ""):
            self._parts.append(text)
            self._length += len(text)
            self._empty = self._empty and text.isspace()

    def cell(self) -> None:
        """The next cell of a row."""
        if not self.at_start:
            self._trim()
            self._parts.append("\t")
            self._length += 1

    def end_line(self) -> None:
        """A line feed, where the line holds something."""
        self._trim()
        if not self.at_start:
            self._parts.append("\n")
            self._length += 1

    def heading(self, level: int, text: str) -> None:
        """A heading, and with it the end of the section before it."""
        self.end_line()
        text = " ".join(text.replace(SOFT_HYPHEN, "").split())
        if not text:
            return
        if len(text) > _LONGEST_HEADING:
            self.write(text)
            self.end_line()
            return
        self._close(level)
        self._path = [*(above for above in self._path if above[0] < level), (level, text)]
        self._heading = self._length
        self._parts.append(f"{text}\n")
        self._length += len(text) + 1
        self._start, self._empty = self._length, True

    def leave_headings(self) -> None:
        """End the section; what follows stands under no heading."""
        self.end_line()
        self._close(0)
        self._path, self._start, self._empty = [], self._length, True

    def document(self, *, language: str = "") -> Document:
        """The whole, in the language that it states."""
        if self._lead:
            lead, self._lead = self._lead, ""
            self.write(f"{lead}\n")
        self._close(0)
        return Document("".join(self._parts), self.title, sections=tuple(self._sections), language=language)

    def _trim(self) -> None:
        """Take back the spaces before what comes."""
        while self._parts and self._parts[-1].endswith(" "):
            part = self._parts.pop()
            kept = part.rstrip(" ")
            self._length -= len(part) - len(kept)
            if kept:
                self._parts.append(kept)

    def _close(self, level: int) -> None:
        """End the section at hand; a heading of `level` follows, 0 at the end of the document."""
        own = self._path[-1][0] if self._path else 0
        if not self._empty:
            self._sections.append(Section(self._titled(self._path), self._start, self._length))
        elif self._path and level <= own:
            before = self._sections.pop() if self._sections else None
            start = before.start if before else self._heading
            title = before.title if before else self._titled(self._path[:-1])
            self._sections.append(Section(title, start, self._length))

    def _titled(self, path: list[tuple[int, str]]) -> str:
        return ": ".join(title for _, title in path if title != self.title)
