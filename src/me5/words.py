"""Text → the words that BM25 counts: in the yardstick of `me5 eval`, and with their pieces in the index of a store."""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Literal

# Scripts that are written without spaces between words (blocks of Unicode 17).
_SYLLABIC = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff\u19e0-\u19ff"  # Khmer
    "\u1950-\u19df\u1a20-\u1aaf\uaa80-\uaadf"  # Tai Le, New Tai Lue, Tai Tham, Tai Viet
)
_SPACELESS = (
    _SYLLABIC + "\u3040-\u30ff\u31f0-\u31ff\U0001b000-\U0001b16f"  # kana
    "\u3100-\u312f\u31a0-\u31bf"  # bopomofo
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3038-\u303b"  # radicals, 々 〆 〇, numerals
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003347f"  # Chinese characters, with all extensions
)
# Soft hyphen, joiners and the like: they stand within words, and are not seen.
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u034f\u200d\u2060\ufeff"))
# Every mark (category M) of Unicode 17 is below the first limit or in the last range.
_WITH_MARKS = (range(0x20000), range(0xE0100, 0xE01F0))
# How many characters the pieces of a word have, by script: a character of Ethiopic and Korean is a syllable, Hebrew and
# Arabic write few vowels. nDCG@10 of BM25 on retrieval sets, words → words and pieces: Amharic 86.9 → 93.7, Arabic
# 72.7 → 84.0, Hebrew 90.3 → 94.3, German 64.5 → 77.2, Turkish 79.9 → 82.7, Kazakh 64.4 → 75.4, Thai 88.6 → 94.7.
_PIECES = (
    (re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]"), 2),  # Korean
    (re.compile("[\u1200-\u139f\u2d80-\u2ddf\uab00-\uab2f]"), 2),  # Ethiopic
    (re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]"), 3),  # Hebrew, Arabic, Syriac
    (re.compile(""), 4),
)
# What a passage's run of a script without spaces is looked up by; a question's, by its longest that fit.
_RUNS = ((re.compile(f"[{_SYLLABIC}]"), (2, 3)), (re.compile(""), (1, 2)))
# Words joined into one name or number with a digit in it: 8,611, e-1042, v1.2.3, 2026-01-31, 12:30.
_CODE = re.compile(r"(?<!\w)[^\W_]+(?:[-+.,:/'’_][^\W_]+)+")
_GROUPING = re.compile(r"(?<=\d)[,'’](?=\d{3}(?!\d))")

Kind = Literal["word", "run"]


def words(text: str) -> list[str]:
    """Case-folded words, and overlapping pairs of characters of scripts without spaces."""
    found: list[str] = []
    for kind, piece in _split(_folded(text)):
        found += _cut(piece, 2) if kind == "run" else [piece]
    return found


def terms(text: str, *, question: bool = False) -> list[str]:
    """What a passage is found by: its words, names and numbers as they are, and the pieces of words.

    The pieces find other forms of a word, and a word within another. All terms of a question are terms of a passage
    with the same text. Where a passage has pieces of several lengths, a question has the longest that fit; its words
    count twice, so that a word that is there outweighs one that shares pieces with it.
    """
    folded = _folded(text)
    found = [_GROUPING.sub("", code) for code in _CODE.findall(folded) if any(map(str.isdigit, code))]
    for kind, piece in _split(folded):
        found += _of_run(piece, question=question) if kind == "run" else _of_word(piece, question=question)
    return found


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_UNSEEN).casefold()


def _split(folded: str) -> Iterator[tuple[Kind, str]]:
    """Words, and runs of scripts without spaces, in order."""
    for match in _pattern().finditer(folded):
        yield ("word" if match.lastgroup else "run"), match.group()


@cache
def _pattern() -> re.Pattern[str]:
    r"""A run of a script without spaces, or a word of any other. `\w` leaves out the vowel signs of Indic scripts."""
    codes = (code for part in _WITH_MARKS for code in part)
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code))[0] == "M")
    return re.compile(rf"[{_SPACELESS}]+|(?P<word>(?:(?![{_SPACELESS}])[^\W_]|[{marks}])+)")


def _cut(text: str, length: int) -> list[str]:
    """All parts of a length, overlapping; a shorter text as it is."""
    return [text[at : at + length] for at in range(max(len(text) - length, 0) + 1)]


def _of_word(word: str, *, question: bool) -> list[str]:
    """A word and its pieces; one with a digit is a name or a number, and stays whole."""
    length = next(length for script, length in _PIECES if script.match(word))
    whole = [word] * (2 if question else 1)
    return whole if len(word) <= length or any(map(str.isdigit, word)) else whole + _cut(word, length)


def _of_run(run: str, *, question: bool) -> list[str]:
    lengths = [length for length in next(of for script, of in _RUNS if script.match(run)) if length <= len(run)]
    if not lengths:
        return [run]
    return [part for length in (lengths[-1:] if question else lengths) for part in _cut(run, length)]
