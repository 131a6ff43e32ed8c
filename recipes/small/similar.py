"""Captions and headlines of the STS benchmark's training part in ten languages, as a me5 dataset.

From a clone of github.com/PhilipMay/stsb-multi-mt, machine translations of the benchmark. Only the parts whose licence
lets everyone use them: image captions (CC BY-SA) and headlines of the European Media Monitor. The scores are not used.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from clones import convert

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clones import Translation

LANGUAGES = ("de", "es", "fr", "it", "ja", "nl", "pl", "pt", "ru", "zh")
# The file's order is that of the benchmark's genres: MSRvid 1,000, images 1,000, deft-forum 450, MSRpar 1,000,
# deft-news 300, headlines 1,999.
PARTS = {"caption": (slice(1000, 2000), "CC-BY-SA-3.0"), "headline": (slice(3750, 5749), "EMM, with acknowledgement")}


def sentences(clone: Path, language: str, part: slice) -> list[str]:
    """Return both sentences of each row."""
    with (clone / "data" / f"stsb-{language}-train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    if len(rows) != 5749:
        raise SystemExit(f"{file.name} has {len(rows):,} rows; the training part has 5,749")
    return [text for row in rows[part] for text in row[:2]]


def translated(clone: Path) -> Iterator[Translation]:
    """Yield each English sentence with its translations."""
    for source, (part, licence) in PARTS.items():
        english = sentences(clone, "en", part)
        for language in LANGUAGES:
            for text, other in zip(english, sentences(clone, language, part), strict=True):
                yield text, other, language, source, licence


if __name__ == "__main__":
    convert("similar", __doc__, translated)
