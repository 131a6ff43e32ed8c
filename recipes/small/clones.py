"""What `similar.py` and `tatoeba.py` share: English sentences and their translations, from a clone to a me5 dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from me5.data.contract import Document, Example, Query
from me5.data.writing import write_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# (English, its translation, the translation's language, source, licence)
Translation = tuple[str, str, str, str, str]


def convert(name: str, description: str | None, translations: Callable[[Path], Iterator[Translation]]) -> None:
    """Be the command `NAME.py CLONE OUT`: write the translations of a clone that have text on both sides."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("clone", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    examples = (
        Example(Query(english, lang="en"), Document(text, lang=language), source=source, licence=licence)
        for english, text, language, source, licence in translations(arguments.clone)
        if english.strip() and text.strip()
    )
    made = write_dataset(arguments.out, examples, step={"made by": f"recipes/small, {name}"}, repeats="merge")
    print(dict(made.counts))
