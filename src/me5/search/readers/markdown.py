"""Markdown: the file as it is, cut at its headings. Offsets count characters of the file."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

from markdown_it import MarkdownIt

from me5.search.documents import Document, Section
from me5.search.readers.plain import decode

_FRONT_MATTER = re.compile(r"---\n(.*?\n)??(?:---|\.\.\.)(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:\s*(?P<quote>[\"']?)(?P<title>.+?)(?P=quote)\s*$", re.MULTILINE)
_MARKUP = re.compile(r"[*_`]+|!?\[([^\]]*)\]\([^)]*\)|\{#[^}]*\}|<[^>]+>")


def read(path: Path) -> Iterator[Document]:
    """The file as one document; its title is that of the front matter, else its first heading of level 1."""
    text = decode(path.read_bytes())
    front = _FRONT_MATTER.match(text)
    body = front.end() if front else 0
    named = _TITLE.search(front[1] or "") if front else None
    headings = _headings(text[body:], body)
    first = next((title for level, title, _, _ in headings if level == 1), "")
    title = named["title"] if named else first
    yield Document(text, title, sections=tuple(_sections(headings, title, body, len(text))))


def _headings(text: str, offset: int) -> list[tuple[int, str, int, int]]:
    """(level, title, start, end) of each heading outside of lists and quotes; `offset` is added to both ends."""
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    tokens = MarkdownIt("commonmark").parse(text)
    found = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            title = " ".join(_MARKUP.sub(r"\1", inline.content).split())
            first, last = (min(starts[line], len(text)) + offset for line in token.map)
            found.append((int(token.tag[1]), title, first, last))
    return found


def _sections(
    headings: Sequence[tuple[int, str, int, int]], document: str, start: int, end: int
) -> Iterator[Section]:  # fmt: skip
    """What stands before the first heading, then each heading's own text under the path of headings above it."""
    path: list[tuple[int, str]] = []
    for level, title, first, last in [*headings, (0, "", end, end)]:
        titles = [above for _, above in path if above and above != document]
        yield Section(": ".join(titles), start, first)
        path = [*(above for above in path if above[0] < level), (level, title)]
        start = last
