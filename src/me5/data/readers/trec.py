"""Collections of MIRACL, Mr.TyDi and their kin, as training data.

Judged as in BEIR's layout: what annotators found not relevant is a negative.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from me5.data.readers.beir import assemble
from me5.data.readers.reading import Reading
from me5.data.writing import Item
from me5.errors import InputError
from me5.files import trec
from me5.files.trec import Collection

NAME = "trec"


def recognises(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    return bool(trec.collections(folder))


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of all collections in some folders that have the split."""
    split = reading.options.split
    for folder in paths:
        found = trec.collections(folder)
        if not any(collection.split == split for collection in found):
            there = " or ".join(sorted({collection.split for collection in found}))
            raise InputError(f"{folder} has no topics of the split {split}; --split {there}")
        for collection in found:
            if collection.split == split:
                yield from _read(collection, reading)


def _read(collection: Collection, reading: Reading) -> Iterator[Item]:
    options, lang = reading.options, collection.language
    options = replace(options, query_lang=options.query_lang or lang, document_lang=options.document_lang or lang)
    local = replace(reading, options=options)
    judged = list(trec.judgements(local.note(collection.judged()), local.advance))
    topics = trec.topics(local.note(collection.topics), local.advance)
    yield from assemble(local, options.source or collection.name, judged, topics, collection.corpus())
