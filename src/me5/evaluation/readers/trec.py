"""MIRACL, Mr.TyDi and others in TREC's form: topics.NAME, qrels.NAME, and a corpus of JSONL files.

    topics/topics.miracl-v1.0-sw-dev.tsv          query id TAB text
    qrels/qrels.miracl-v1.0-sw-dev.tsv            query id, Q0, document id, grade
    miracl-corpus-v1.0-sw/docs-0.jsonl.gz         {"docid", "title", "text"}

Topics and qrels may lie in folders of these names or beside each other, as may the corpus: in a folder of the
collection's name, in `corpus` or `collection`, each inside or beside the folder that is read.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from me5.errors import InputError
from me5.evaluation.languages import UNKNOWN, of_name
from me5.evaluation.readers import ranked
from me5.evaluation.readers.beir import SPLITS
from me5.evaluation.readers.tables import holds_records, lines
from me5.evaluation.task import Reranking, Retrieval, Subset
from me5.prompts import evaluation_sentence

_NAME = re.compile(r"topics\.(?P<set>(?P<family>[a-z]+)[-.].*?)[-.](?P<split>test|dev|validation)(\.(tsv|txt))?(\.gz)?")
# Mr.TyDi spells languages out.
_MR_TYDI = {
    "arabic": "ar", "bengali": "bn", "english": "en", "finnish": "fi", "indonesian": "id", "japanese": "ja",
    "korean": "ko", "russian": "ru", "swahili": "sw", "telugu": "te", "thai": "th",
}  # fmt: skip
# How papers and mteb write the names.
_TASKS = {"miracl": "MIRACL", "mrtydi": "MrTyDi"}


def topics_of(folder: Path) -> dict[str, re.Match[str]]:
    """The topic files of a folder by name; of one collection only the best split of `SPLITS` that has judgements."""
    best: dict[str, re.Match[str]] = {}
    for path in sorted([*folder.glob("topics.*"), *folder.glob("topics/topics.*")]):
        match = _NAME.fullmatch(path.name)
        if match is None or _qrels(path) is None:
            continue
        held = best.get(match["set"])
        if held is None or SPLITS.index(match["split"]) < SPLITS.index(held["split"]):
            best[match["set"]] = match
    return best


def read(folder: Path) -> list[Retrieval | Reranking]:
    """One task per collection (language) of a folder. Raises `InputError` naming file and line."""
    return [_read(folder, match) for _, match in sorted(topics_of(folder).items())]


def _read(folder: Path, match: re.Match[str]) -> Retrieval | Reranking:
    topics = next(path for path in (folder / match.string, folder / "topics" / match.string) if path.exists())
    qrels = _qrels(topics)
    if qrels is None:
        raise InputError(f"{topics} has no qrels beside it")
    collection = match["set"]
    language = re.sub(r"^.*v[\d.]+[-.]", "", collection)
    code = _MR_TYDI.get(language, language)
    task = _TASKS.get(match["family"], match["family"])
    languages = of_name(code) if re.fullmatch(r"[a-z]{2,3}", code) else UNKNOWN
    return ranked.assemble(
        Subset(task, code, languages, match["split"], evaluation_sentence(task)),
        asked=dict(_topics(topics)),
        corpus=_corpus(folder, collection, match["family"], language),
        judged=_judgements(qrels),
        source=str(qrels),
    )


def _qrels(topics: Path) -> Path | None:
    """The judgements that belong to a topics file, in its folder or in `qrels` beside it."""
    stem = re.sub(r"(\.(tsv|txt))?(\.gz)?$", "", topics.name.replace("topics.", "qrels.", 1))
    for folder in (topics.parent, topics.parent / "qrels", topics.parent.parent / "qrels"):
        for ending in ("", ".tsv", ".txt", ".tsv.gz", ".txt.gz"):
            if (path := folder / f"{stem}{ending}").is_file():
                return path
    return None


def _corpus(folder: Path, collection: str, family: str, language: str) -> list[Path]:
    long = collection.replace(f"{family}-", f"{family}-corpus-", 1)
    named = [long, collection, f"{family}-corpus/{long}", f"corpus/{language}", "corpus", "collection"]
    looked = [root / name for root in (folder, folder.parent) for name in named[: 6 if root == folder else 3]]
    for place in looked:
        files = sorted(path for path in place.rglob("*") if holds_records(path)) if place.is_dir() else []
        if files:
            return files
    raise InputError(
        f"{folder} has topics and qrels of {collection} but no corpus: expected JSONL files (docid, title, text) in "
        f"{looked[0]}, {looked[1].name}, corpus/{language} or corpus"
    )


def _topics(path: Path) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for number, line in lines(path):
        name, tab, text = line.partition("\t")
        if not tab or not text.strip():
            raise InputError(f"{path}, line {number}: expected query id TAB text, got {line[:60]!r}")
        if name in seen:
            raise InputError(f"{path}, line {number}: the id {name!r} stands there a second time")
        seen.add(name)
        yield name, text


def _judgements(path: Path) -> Iterator[ranked.Judgement]:
    for number, line in lines(path):
        fields = line.split()
        if len(fields) != 4 or not fields[3].lstrip("-").isdigit():
            raise InputError(
                f"{path}, line {number}: expected query id, Q0, document id and whole number, got {line[:60]!r}"
            )
        yield f"{path}, line {number}", fields[0], fields[2], int(fields[3])
