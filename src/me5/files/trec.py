"""TREC's layout as MIRACL, Mr.TyDi and their kin have it: topics.NAME-SPLIT, qrels.NAME-SPLIT, and a corpus.

    topics/topics.miracl-v1.0-sw-dev.tsv          query id TAB text
    qrels/qrels.miracl-v1.0-sw-dev.tsv            query id, Q0, document id, grade
    miracl-corpus-v1.0-sw/docs-0.jsonl.gz         {"docid", "title", "text"}

Topics and qrels lie in folders of these names or beside each other; the corpus in a folder of the collection's name, in
or beside the folder that is read, or in `corpus` or `collection` within it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from me5.errors import InputError
from me5.files.lines import lines
from me5.files.place import FileError, Place
from me5.files.records import format_of
from me5.files.retrieval import Judgement, Query, judgement
from me5.progress import Advance

_ENDING = r"(\.(tsv|txt))?(\.gz|\.zst|\.bz2)?"
_TOPICS = re.compile(rf"topics\.(?P<name>.+)[-.](?P<split>train|dev|validation|test[-\w]*?){_ENDING}")
# Mr.TyDi spells languages out.
_LANGUAGES = {
    "arabic": "ar", "bengali": "bn", "english": "en", "finnish": "fi", "indonesian": "id", "japanese": "ja",
    "korean": "ko", "russian": "ru", "swahili": "sw", "telugu": "te", "thai": "th",
}  # fmt: skip


@dataclass(frozen=True)
class Collection:
    """A collection in a folder, such as `miracl-v1.0-sw`, and one split of it. `qrels` None: nothing was judged."""

    folder: Path
    topics: Path
    qrels: Path | None
    name: str
    split: str

    @property
    def family(self) -> str:
        """The beginning of its name, such as `miracl`."""
        return re.split(r"[-.]", self.name)[0]

    @property
    def language(self) -> str:
        """The code of its language, as far as its name ends with one."""
        return _LANGUAGES.get(self._language, self._language)

    @property
    def _language(self) -> str:
        return re.sub(r"^.*v[\d.]+[-.]", "", self.name)

    def judged(self) -> Path:
        """The file of the judgements. Raises `InputError` where there is none."""
        if self.qrels is None:
            raise InputError(f"{self.topics} has no {_stem(self.topics)} beside it or in a folder qrels")
        return self.qrels

    def corpus(self) -> Sequence[Path]:
        """The files of the documents. Raises `InputError` where there are none."""
        long = self.name.replace(f"{self.family}-", f"{self.family}-corpus-", 1)
        named = (long, self.name, f"{self.family}-corpus/{long}")
        inside = (*named, f"corpus/{self._language}", "corpus", "collection")
        for place in (*(self.folder / name for name in inside), *(self.folder.parent / name for name in named)):
            if files := sorted(path for path in place.rglob("*") if format_of(path)):
                return files
        raise InputError(
            f"{self.folder} has topics and qrels of {self.name} but no corpus: expected JSONL files (docid, title, "
            f"text) in {self.folder / long}, {self.name}, corpus/{self._language} or corpus"
        )


def collections(folder: Path) -> list[Collection]:
    """All collections and splits whose topics lie in a folder, by name."""
    found = []
    for path in sorted([*folder.glob("topics.*"), *folder.glob("topics/topics.*")]):
        if (match := _TOPICS.fullmatch(path.name)) is not None:
            found.append(Collection(folder, path, _qrels(path), match["name"], match["split"]))
    return found


def topics(path: Path, advance: Advance | None = None) -> Iterator[Query]:
    """Every query of a file. Raises `FileError` naming the line."""
    for number, line in lines(path, advance=advance):
        place = Place(str(path), number)
        name, tab, text = line.partition("\t")
        if line and not tab:
            raise FileError(place, f"expected query id TAB text, got {line[:60]!r}")
        if line:
            yield Query(place, name, text, {})


def judgements(path: Path, advance: Advance | None = None) -> Iterator[Judgement]:
    """Every judgement of a file. Raises `FileError` naming the line."""
    for number, line in lines(path, advance=advance):
        if fields := line.split():
            place = Place(str(path), number)
            yield judgement(place, line, [fields[0], *fields[2:]], "query id, Q0, document id and number")


def _stem(topics: Path) -> str:
    return re.sub(f"{_ENDING}$", "", topics.name.replace("topics.", "qrels.", 1))


def _qrels(topics: Path) -> Path | None:
    stem = _stem(topics)
    for folder in (topics.parent, topics.parent / "qrels", topics.parent.parent / "qrels"):
        for path in sorted(folder.glob(f"{stem}*")):
            if path.is_file() and re.fullmatch(_ENDING, path.name.removeprefix(stem)):
                return path
    return None
