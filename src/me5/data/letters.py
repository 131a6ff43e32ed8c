"""A text reduced to what says something: letters, digits and marks, in one case, so that equal content is equal text.

Marks (Unicode's M) stay: without its vowel signs a Hindi or Thai word is another word.
"""

import re
from hashlib import blake2b
from unicodedata import category, is_normalized, normalize


class _Kept(dict[int, int | None]):
    """Code point -> itself or None; filled as characters are met, for `str.translate`."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        self[code] = code if character.isalnum() or category(character)[0] == "M" else None
        return self[code]


_KEPT = _Kept()
_DIGITS = re.compile(r"\d+")


def letters(text: str) -> str:
    """NFKC, case folded, without anything else; of a text of symbols alone, the text itself."""
    folded = (text if text.isascii() else normalize("NFKC", text)).casefold()
    if not folded.isascii() and not is_normalized("NFKC", folded):
        folded = normalize("NFKC", folded)
    return folded.translate(_KEPT) or text.strip()


def text_key(text: str) -> int:
    """64 bits, signed, that are equal for "the same text": the same letters, digits and marks. 0 for no text.

    The one key for deduplication, decontamination, mining and the mask of the loss. Among a billion different texts two
    share a key by chance once in 40 times.
    """
    if not text.strip():
        return 0
    return int.from_bytes(blake2b(letters(text).encode(), digest_size=16).digest()[:8], "little", signed=True)


def figures(text: str, instruction: str = "") -> bytes:
    """8 bytes for the numbers in a text, in order, and its task: texts that differ in one say different things."""
    return blake2b(f"{instruction}\n{' '.join(_DIGITS.findall(text))}".encode(), digest_size=8).digest()
