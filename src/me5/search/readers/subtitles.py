"""Subtitles, SubRip and WebVTT: a document for each minute or so of what is said, so that a hit tells the time."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from me5.errors import InputError
from me5.search.documents import Document
from me5.search.readers.outline import SOFT_HYPHEN
from me5.search.readers.plain import decode, load

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_LANGUAGE = re.compile(r"Language:\s*([\w-]{2,30})\s*$", re.MULTILINE)
_VOICE = re.compile(r"<v(?:\.[^<>\s]{0,100})?\s+([^<>]{1,200})>")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,200}>|<[\d:.]{5,15}>|\{\\[^{}]{0,200}\}")
_END_OF_SENTENCE = re.compile(r"[.!?…。！？؟।]['\"”’»)\]]*$")
# Seconds after which a part ends with a sentence, and with any line; and the silence that ends one.
_SHORT, _LONG, _SILENCE = 45.0, 90.0, 10.0
# A line that is shown again so soon has not been said again: live captions roll up.
_AT_ONCE = 0.1


@dataclass(frozen=True)
class _Cue:
    """What is shown from one second to another."""

    start: float
    end: float
    lines: list[str]


def read(path: Path) -> Iterator[Document]:
    """Parts of about a minute; `at` is the second at which one begins, metadata has its `start` and `end`."""
    text = decode(load(path))
    stated = _LANGUAGE.search(text.partition("-->")[0])
    language = stated[1] if stated else ""
    part: list[_Cue] = []
    places: set[int] = set()
    for cue in _rolled_out(_cues(text.split("\n"), whole=path.suffix.lower() == ".srt")):
        if part and _ends(part, cue):
            yield _document(part, places, language)
            part = []
        part.append(cue)
    if part:
        yield _document(part, places, language)
    elif "-->" not in text and text.strip().removeprefix("WEBVTT").strip():
        raise InputError("is not a subtitle file: it has no line with times such as `00:01:02,000 --> 00:01:05,000`")


def _cues(lines: list[str], *, whole: bool) -> Iterator[_Cue]:
    """The cues in order. `whole` says that a blank line does not end one: what follows up to the next is its text."""
    places = [(number, found) for number, line in enumerate(lines) if "-->" in line and (found := _TIMES.match(line))]
    ends = [number for number, _ in places[1:]] + [len(lines) + 1]
    for (number, times), after in zip(places, ends, strict=False):
        block = lines[number + 1 : after]
        if whole:
            # Before the next times stands the number of its cue.
            last = len(block) - 1 if after <= len(lines) and block and block[-1].strip().isdecimal() else len(block)
            block = [line for line in block[:last] if line.strip()]
        else:
            block = block[: next((at for at, line in enumerate(block) if not line.strip()), len(block))]
        parts = times.groups()
        yield _Cue(_seconds(*parts[:4]), _seconds(*parts[4:]), [line for one in block if (line := _said(one))])


def _seconds(hours: str | None, minutes: str, seconds: str, part: str | None) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{part or 0}")


def _said(line: str) -> str:
    """A line without markup, after the name of who says it."""
    named = _TAG.sub("", _VOICE.sub(r"\1: ", line))
    return " ".join(html.unescape(named).replace(SOFT_HYPHEN, "").split())


def _rolled_out(cues: Iterator[_Cue]) -> Iterator[_Cue]:
    """The cues that say something, without the lines that the one before shows already."""
    before = _Cue(0, -1, [])
    for cue in cues:
        new = cue.lines
        # A single line after the same one may well be said twice.
        if cue.start - before.end < _AT_ONCE and max(len(new), len(before.lines)) > 1:
            most = min(len(new), len(before.lines))
            again = next((count for count in range(most, 0, -1) if before.lines[-count:] == new[:count]), 0)
            new = new[again:]
        before = cue
        if new:
            yield _Cue(cue.start, cue.end, new)


def _ends(part: list[_Cue], following: _Cue) -> bool:
    """Whether a part ends before the cue that follows."""
    last = part[-1]
    length = last.end - part[0].start
    sentence = bool(_END_OF_SENTENCE.search(last.lines[-1]))
    return length >= _LONG or (length >= _SHORT and sentence) or following.start - last.end >= _SILENCE


def _document(part: list[_Cue], places: set[int], language: str) -> Document:
    at = int(part[0].start)
    while at in places:  # each is a place of its own
        at += 1
    places.add(at)
    text = "\n".join(line for cue in part for line in cue.lines)
    return Document(text, at=at, metadata={"start": part[0].start, "end": part[-1].end}, language=language)
