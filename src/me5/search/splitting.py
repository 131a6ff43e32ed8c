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
        return f"{self.title[:longest_title]} {self.text}".strip()


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
        for section in sections:
            body = document.text[section.start : section.end]
            title = ": ".join(filter(None, (document.title, section.title)))
            if not body.strip():
                continue
            whole = Passage(body, section.start, section.end, title, document, wrapped)
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
        return max(int(self.limit * _MARGIN * len(sample) / tokens), 8)


def _cut(passage: Passage, characters: int) -> Iterator[Passage]:
    """A passage in pieces of at most so many characters, each trimmed of white space; empty ones are left out."""
    if len(passage.text) <= characters:
        pieces = [(len(passage.text) - len(passage.text.lstrip()), passage.text.strip())]
    else:
        lines = _WRAP.sub(" ", passage.text) if passage.wrapped else passage.text
        pieces = _splitter(characters).chunk_indices(lines)
    for offset, piece in pieces:
        if piece:
            text = passage.text[offset : offset + len(piece)]
            yield replace(passage, text=text, start=passage.start + offset, end=passage.start + offset + len(piece))


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
