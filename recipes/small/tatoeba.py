"""Everyday sentences of Tatoeba with their English translations, as a me5 dataset.

From a clone of github.com/Helsinki-NLP/OPUS-MT-testsets, whose Tatoeba part holds pairs of 400 pairs of languages. A
sentence without an English translation takes that of its translation into a third language. The sentences that LASER's
Tatoeba test has, all of which must stay out, are the task of `me5 data decontaminate`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING

from clones import convert

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clones import Translation

SETS = "datasets/helsinki_nlp/tatoeba/testsets"
LICENCE = "CC-BY-2.0-FR"
# ISO 639-3, as the files have them without their script, to the codes of the other data.
LANGUAGES = {
    "afr": "af", "amh": "am", "ara": "ar", "aze": "az", "bel": "be", "ben": "bn", "bos": "bs", "bul": "bg", "cat": "ca",
    "ces": "cs", "cmn": "zh", "cym": "cy", "dan": "da", "deu": "de", "ell": "el", "epo": "eo", "est": "et", "eus": "eu",
    "fas": "fa", "fin": "fi", "fra": "fr", "gle": "ga", "glg": "gl", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu",
    "hye": "hy", "ind": "id", "isl": "is", "ita": "it", "jav": "jv", "jpn": "ja", "kat": "ka", "kaz": "kk", "khm": "km",
    "kor": "ko", "lat": "la", "lav": "lv", "lit": "lt", "mal": "ml", "mar": "mr", "mkd": "mk", "mon": "mn", "msa": "ms",
    "mya": "my", "nld": "nl", "nob": "nb", "nor": "nb", "pes": "fa", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru",
    "slv": "sl", "spa": "es", "sqi": "sq", "srp": "sr", "swa": "sw", "swe": "sv", "tam": "ta", "tel": "te", "tgl": "tl",
    "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "uzb": "uz", "vie": "vi", "zho": "zh", "zsm": "ms", "xho": "xh",
}  # fmt: skip
MOST = 9_000  # pairs of a language: a sentence more of Russian teaches less than one of Thai


def lines(file: Path) -> list[str]:
    """Return the lines, parted by line feeds only."""
    return file.read_text(encoding="utf-8").rstrip("\n").split("\n")


def translations(clone: Path) -> dict[tuple[str, str], dict[str, set[str]]]:
    """Return for each (language, sentence) its translations by language, from every release and direction."""
    found: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for folder in sorted((clone / SETS).iterdir()):
        codes = folder.name.split("-")
        sides = [{"eng": "en"}.get(code, LANGUAGES.get(code, "")) for code in (c.split("_")[0] for c in codes)]
        if not all(sides) or sides[0] == sides[1]:
            continue
        for file in sorted(folder.glob(f"*.{codes[0]}")):
            for texts in zip(lines(file), lines(file.with_suffix(f".{codes[1]}")), strict=True):
                for here, there in ((0, 1), (1, 0)):
                    found[sides[here], texts[here]][sides[there]].add(texts[there])
    return found


def pairs(clone: Path) -> dict[str, list[tuple[str, str]]]:
    """Return (English, sentence) by language, direct translations before those over a third language."""
    found = translations(clone)
    direct, indirect = defaultdict(set), defaultdict(set)
    for (language, text), others in found.items():
        if language == "en":
            continue
        direct[language] |= {(english, text) for english in others.get("en", ())}
        if "en" not in others:
            for third in sorted(others):
                english = {e for between in sorted(others[third]) for e in found[third, between].get("en", ())}
                if english:
                    indirect[language].add((min(english), text))
                    break
    chosen = {}
    for language in sorted(direct):
        rng = random.Random(language)
        ranked = [rng.sample(sorted(each[language]), len(each[language])) for each in (direct, indirect)]
        chosen[language] = [*ranked[0], *ranked[1]][:MOST]
    return chosen


def translated(clone: Path) -> Iterator[Translation]:
    """Yield each English sentence with its translation."""
    for language, both in pairs(clone).items():
        for english, text in both:
            yield english, text, language, "tatoeba", LICENCE


if __name__ == "__main__":
    convert("tatoeba", __doc__, translated)
