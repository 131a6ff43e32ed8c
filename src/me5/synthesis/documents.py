"""A user's own documents → passages, as `me5 index` reads and cuts them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from me5.data.contract import Document
from me5.embedder import Embedder
from me5.errors import InputError
from me5.progress import track
from me5.search import language
from me5.search.documents import Document as Read
from me5.search.documents import NoTextError
from me5.search.files import find
from me5.search.readers import LINES, kind_of
from me5.search.readers.confined import Confined
from me5.search.readers.tables import Columns
from me5.search.splitting import Splitter

PASSAGE_TOKENS = 256
_LONGEST_TITLE = 200


@dataclass
class Passages:
    """The passages of some files, each once, in order; and what could not be read, with the reason."""

    documents: list[Document] = field(default_factory=list)
    files: int = 0
    bad: list[str] = field(default_factory=list)


def read_passages(
    folder: Path, embedder: Embedder, *, tokens: int = PASSAGE_TOKENS, show_progress_bar: bool = False
) -> Passages:
    """All passages of the files under a folder. Raises `InputError` where there are none."""
    if not folder.expanduser().exists():
        raise InputError(f"{folder} does not exist; expected a folder of documents, or one file")
    splitter = Splitter(embedder, min(tokens, embedder.max_seq_length))
    passages, found = Passages(), find(folder)
    seen: set[str] = set()
    passages.bad += [f"{path}: {reason}" for path, reason in found.unreadable.items()]
    if found.others:
        kinds = ", ".join(f"{number:,} × {suffix}" for suffix, number in found.others.most_common(8))
        passages.bad.append(f"{folder}: files without a reader are left out: {kinds}")
    with (
        Confined() as confined,
        track(len(found.files), show=show_progress_bar, description="Reading", unit="files") as advance,
    ):
        for name in found.files:
            path = Path(name)
            try:
                for document in _of_file(path, confined, splitter, passages.bad):
                    if document.id not in seen:
                        seen.add(document.id)
                        passages.documents.append(document)
            except (InputError, OSError) as error:
                passages.bad.append(f"{path}: {error}")
            passages.files += 1
            advance(1, 0)
    if not passages.documents:
        why = f": {passages.bad[0]}" if passages.bad else ""
        raise InputError(f"{folder} has no documents that can be read ({passages.files} files tried){why}")
    return passages


def _of_file(path: Path, confined: Confined, splitter: Splitter, bad: list[str]) -> Iterator[Document]:
    def complain(at: int, reason: str) -> None:
        bad.append(f"{path}:{at}: {reason}")

    kind = kind_of(path).name
    try:
        for document in confined.read(path, Columns(), complain):
            lang = _language(document, kind)
            for passage in splitter.split(document, wrapped=kind not in LINES):
                title = " ".join(passage.title.split())[:_LONGEST_TITLE]
                yield Document(passage.text, title, lang)
    except NoTextError as error:
        bad.append(f"{path}: {error}")


def _language(document: Read, kind: str) -> str:
    if kind == "code":
        return ""
    return language.declared(document.language) or language.detect(document.text)
