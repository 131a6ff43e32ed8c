"""Parallel sentences: two files whose lines belong together, or one of sentence TAB sentence without a header.

Languages come from names (`news.en` and `news.de`, `tatoeba.deu-eng.deu`, `deu-eng.tsv`) where the options name none.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from me5.data.readers.reading import Reading
from me5.data.writing import Item
from me5.errors import InputError, counted
from me5.files.compression import bare_name

NAME = "parallel"
_CODE = re.compile(r"[a-z]{2,3}(-[a-z]{2,4})?", re.IGNORECASE)
_PAIR = re.compile(r"(?:.*[._])?([a-z]{2,3})-([a-z]{2,3})", re.IGNORECASE)


def is_tabular(path: Path) -> bool:
    """Whether a file is of two columns, by its name."""
    return bare_name(path).endswith(".tsv")


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of some files: .tsv each by itself, others in twos."""
    lone = [path for path in paths if not is_tabular(path)]
    if len(lone) % 2:
        raise InputError(
            f"{counted(len(lone), 'file')} of lines; they belong together in twos: {', '.join(map(str, lone[:4]))}"
        )
    for path in paths:
        if is_tabular(path):
            pair = _PAIR.fullmatch(Path(bare_name(path)).stem)
            langs = (pair[1], pair[2]) if pair else ("", "")
            yield from _examples(reading, _columns(path, reading), reading.source_of(path), langs)
    for left, right in zip(lone[::2], lone[1::2], strict=True):
        langs = (_language(left), _language(right))
        yield from _examples(reading, _aligned(left, right, reading), reading.source_of(left), langs)


def _examples(
    reading: Reading, rows: Iterator[tuple[str, tuple[str, str]]], source: str, langs: tuple[str, str]
) -> Iterator[Item]:
    options = reading.options
    query_lang, document_lang = options.query_lang or langs[0], options.document_lang or langs[1]

    def convert(row: tuple[str, str]) -> Iterator[Item]:
        query = reading.query(row[0], lang=query_lang)
        return reading.examples(query, [row[1]], source=source, lang=document_lang)

    return reading.convert(rows, convert)


def _columns(path: Path, reading: Reading) -> Iterator[tuple[str, tuple[str, str]]]:
    for number, line in reading.lines(path):
        left, tab, right = line.partition("\t")
        if not tab or "\t" in right:
            raise InputError(f"{path}, line {number}: expected sentence TAB sentence, got {line[:60]!r}")
        yield f"{path}, line {number}", (left, right)


def _aligned(left: Path, right: Path, reading: Reading) -> Iterator[tuple[str, tuple[str, str]]]:
    for one, other in zip_longest(reading.lines(left), reading.lines(right)):
        if one is None or other is None:
            longer, shorter = (right, left) if one is None else (left, right)
            number = (one or other)[0]
            raise InputError(f"{longer} has a line {number}, {shorter} has none: the files do not belong together")
        yield f"{left} and {right.name}, line {one[0]}", (one[1], other[1])


def _language(path: Path) -> str:
    code = Path(bare_name(path)).suffix[1:]
    return code if _CODE.fullmatch(code) and code not in ("txt",) else ""
