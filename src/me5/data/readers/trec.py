"""MIRACL, Mr.TyDi and their kin: topics.NAME-SPLIT, qrels.NAME-SPLIT, and a corpus of JSONL files {docid, title, text}.

Topics and qrels lie in the folder or in `topics` and `qrels` below it. The corpus of topics.miracl-v1.0-sw-train.tsv is
looked for in miracl-corpus-v1.0-sw, miracl-v1.0-sw, corpus/sw, corpus and collection. Judged as in BEIR's form: what
annotators found not relevant is a negative.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from me5.data.contract import Query
from me5.data.readers.beir import Judgement, assemble
from me5.data.readers.reading import Reading
from me5.data.readers.records import kind_of
from me5.data.writing import Item
from me5.errors import InputError

NAME = "trec"
_TOPICS = re.compile(r"topics\.(?P<set>.+)[-.](?P<split>train|dev|validation|test[-\w]*?)(\.(tsv|txt))?(\.gz|\.zst)?")
# Mr.TyDi spells languages out.
_LANGUAGES = {
    "arabic": "ar", "bengali": "bn", "english": "en", "finnish": "fi", "indonesian": "id", "japanese": "ja",
    "korean": "ko", "russian": "ru", "swahili": "sw", "telugu": "te", "thai": "th",
}  # fmt: skip


def recognises(folder: Path) -> bool:
    """Whether a folder looks like this format."""
    return any(_topics(folder))


def read(paths: Sequence[Path], reading: Reading) -> Iterator[Item]:
    """The examples of all collections in some folders that have the split."""
    for folder in paths:
        found = [(path, match) for path, match in _topics(folder) if match["split"] == reading.options.split]
        if not found:
            there = sorted({match["split"] for _, match in _topics(folder)})
            raise InputError(
                f"{folder} has no topics of the split {reading.options.split}; --split {' or '.join(there)}"
            )
        for path, match in found:
            yield from _collection(folder, path, match["set"], reading)


def _topics(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    for path in sorted([*folder.glob("topics.*"), *folder.glob("topics/topics.*")]):
        if (match := _TOPICS.fullmatch(path.name)) is not None:
            yield path, match


def _collection(folder: Path, topics: Path, name: str, reading: Reading) -> Iterator[Item]:
    code = re.sub(r"^.*v[\d.]+[-.]", "", name)
    lang = _LANGUAGES.get(code, code)
    options = reading.options
    options = replace(options, query_lang=options.query_lang or lang, document_lang=options.document_lang or lang)
    local = replace(reading, options=options)
    judged = list(_judgements(_qrels(topics), local))
    wanted = {query for _, (query, _, _) in judged}
    source = options.source or name
    yield from assemble(local, source, judged, (_queries(local, topics, wanted), _corpus(folder, name, code)))


def _queries(reading: Reading, path: Path, wanted: set[str]) -> Iterator[tuple[str, tuple[str, Query]]]:
    for number, line in reading.lines(path):
        name, tab, text = line.partition("\t")
        if line and not tab:
            raise InputError(f"{path}, line {number}: expected query id TAB text, got {line[:60]!r}")
        if name in wanted:
            yield f"{path}, line {number}", (name, reading.query(text))


def _judgements(path: Path, reading: Reading) -> Iterator[tuple[str, Judgement]]:
    for number, line in reading.lines(path):
        fields = line.split()
        if not fields:
            continue
        try:
            query, _, document, grade = fields
            yield f"{path}, line {number}", (query, document, float(grade))
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: expected query, Q0, document, grade, got {line[:60]!r}"
            ) from error


def _qrels(topics: Path) -> Path:
    stem = re.sub(r"(\.(tsv|txt))?(\.gz|\.zst)?$", "", topics.name.replace("topics.", "qrels.", 1))
    for folder in (topics.parent, topics.parent / "qrels", topics.parent.parent / "qrels"):
        for path in sorted(folder.glob(f"{stem}*")):
            if re.fullmatch(r"(\.(tsv|txt))?(\.gz|\.zst)?", path.name.removeprefix(stem)):
                return path
    raise InputError(f"{topics} has no {stem} beside it or in a folder qrels")


def _corpus(folder: Path, name: str, code: str) -> list[Path]:
    family = re.split(r"[-.]", name)[0]
    long = name.replace(f"{family}-", f"{family}-corpus-", 1)
    for place in (folder / at for at in (long, name, f"corpus/{code}", "corpus", "collection")):
        if files := sorted(path for path in place.rglob("*") if kind_of(path)):
            return files
    raise InputError(
        f"{folder} has no corpus of {name}: expected JSONL files in {long}, {name}, corpus/{code} or corpus"
    )
