"""Documents → passages that fit the model: cut at headings, then paragraphs, then sentences, then words.

Sentences and words are those of the Unicode rules (ICU's), which know languages without spaces too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from semantic_text_splitter import TextSplitter

from me5.embedder import Embedder
from me5.errors import InputError
from me5.search.documents import Document, Section

# Enough to tell how many characters of a document go into a token.
_SAMPLE = 4000
# Passages end up this much below the limit on average; the few that exceed it are cut again.
_MARGIN = 0.9
_LONGEST_SENTENCE = 1 << 20
# A token is seldom more than a few characters; white space can be any number.
_MOST_CHARACTERS = 16
# The splitter looks at all of the text for each piece. It gets this many pieces' worth at a time, and its last piece
# comes again with what follows: time is linear, at 0.4 µs a character of Chinese, and the pieces are the same.
_AHEAD = 4
# A piece shorter than this part of a passage joins its neighbour: alone it says little but its title.
_LEAST = 8
# Titles are kept with each passage, and the model reads no more than the beginning.
_LONGEST_TITLE = 1000
_WORD = re.compile(r"\S")
# A line break within a paragraph: what follows is no blank line, list, table, quote or indented code.
_WRAP = re.compile(r"(?<=\S)\n(?![\s\-*+•>#|=~`]|\d+[.)]\s)")


@dataclass(frozen=True)
class Passage:
    """Characters `start` to `end` of a document's text, under its title and heading.

    `wrapped` says that a single line break means no more than a space.
    """

    text: str
    start: int
    end: int
    title: str
    document: Document
    wrapped: bool

    def written(self, longest_title: int) -> str:
        """What the model reads: the title and the passage, as the E5 models were trained on them."""
        return written(self.title, self.text, longest_title)


def written(title: str, text: str, longest_title: int) -> str:
    """What the model reads of a passage."""
    return f"{title[:longest_title]} {text}".strip()


class Splitter:
    """Cuts documents for one model. `limit` is the longest passage in tokens, with title and special tokens."""

    def __init__(self, embedder: Embedder, limit: int) -> None:
        if not 16 <= limit <= embedder.max_seq_length:
            raise InputError(
                f"passages must have between 16 and {embedder.max_seq_length} tokens (what the model reads), got "
                f"{limit}"
            )
        self.limit = limit
        # A token is rarely less than a character, so that a title leaves half of the passage.
        self.longest_title = limit // 2
        self._embedder = embedder

    def split(self, document: Document, *, wrapped: bool = True) -> Iterator[Passage]:
        """Passages in order. Their length in tokens is an estimate: `halve` those that turn out too long."""
        sections = document.sections or (Section("", 0, len(document.text)),)
        budget = self._budget(document)
        # A passage may wait for its batch long after its document: it needs no more than the place.
        place = replace(document, text="", sections=())
        for section in sections:
            body = document.text[section.start : section.end]
            title = ": ".join(filter(None, (document.title, section.title)))[:_LONGEST_TITLE]
            if not body.strip():
                continue
            whole = Passage(body, section.start, section.end, title, place, wrapped)
            yield from _cut(whole, max(budget - min(len(title), self.longest_title), budget // 2))

    def halve(self, passage: Passage) -> list[Passage]:
        """A passage that is too long, in pieces of at most half its characters."""
        return list(_cut(passage, max(len(passage.text) // 2, 1)))

    def _budget(self, document: Document) -> int:
        """The characters of this document that fill a passage."""
        text = document.text
        if len(text) <= 2 * self.limit:
            return len(text) + self.longest_title  # most fit whole; the others are halved
        middle = max((len(text) - _SAMPLE) // 2, 0)
        sample = text[middle : middle + _SAMPLE]
        tokens = self._embedder.prepare([sample], "document", truncation="end").report.tokens[0]
        characters = int(self.limit * _MARGIN * len(sample) / tokens)
        return min(max(characters, 8), self.limit * _MOST_CHARACTERS)


def _cut(passage: Passage, characters: int) -> Iterator[Passage]:
    """A passage in pieces of about so many characters, each trimmed of white space; empty ones are left out.

    What would be too short to stand alone joins its neighbour, which then is up to a quarter longer.
    """
    text = passage.text
    if len(text) <= characters:
        start = len(text) - len(text.lstrip())
        spans = iter([(start, start + len(text.strip()))] if text.strip() else [])
    else:
        spans = _joined(_spans(_WRAP.sub(" ", text) if passage.wrapped else text, characters), characters)
    for start, end in spans:
        yield replace(passage, text=text[start:end], start=passage.start + start, end=passage.start + end)


def _spans(text: str, characters: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each piece, in time that grows with the text."""
    splitter = _splitter(characters)
    at = _next_word(text, 0)
    while at < len(text):
        window = text[at : at + _AHEAD * characters]
        last = at + len(window) == len(text)
        # What ends so far from the window's end is the same whatever follows.
        sure = len(window) if last else len(window) - characters
        end = 0
        for start, piece in splitter.chunk_indices(window):
            if start + len(piece) > sure:
                break
            end = start + len(piece)
            if piece:
                yield at + start, at + end
        at = _next_word(text, at + end) if not last else len(text)


def _next_word(text: str, at: int) -> int:
    """Where the white space from here on ends."""
    found = _WORD.search(text, at)
    return len(text) if found is None else found.start()


def _joined(spans: Iterator[tuple[int, int]], characters: int) -> Iterator[tuple[int, int]]:
    """Spans of which the short ones are one with that before, or, at the start, that after."""
    least, most = characters // _LEAST, characters + 2 * (characters // _LEAST)
    kept: tuple[int, int] | None = None
    for start, end in spans:
        if kept is not None:
            if min(end - start, kept[1] - kept[0]) < least and end - kept[0] <= most:
                kept = kept[0], end
                continue
            yield kept
        kept = start, end
    if kept is not None:
        yield kept


@lru_cache(64)
def _splitter(characters: int) -> TextSplitter:
    return TextSplitter(characters)


@lru_cache(1)
def _by_sentence() -> TextSplitter:
    # "As soon as there is one character, stop": the highest level below line breaks, which is sentences.
    return TextSplitter((1, _LONGEST_SENTENCE))


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence. A line break ends one only where it stands between paragraphs."""
    spans = []
    at = 0
    for paragraph in text.split("\n\n"):
        flat = paragraph.replace("\n", " ")
        found = _by_sentence().chunk_indices(flat) if flat.strip() else []
        spans += [(at + start, at + start + len(sentence)) for start, sentence in found]
        at += len(paragraph) + 2
    return spans
