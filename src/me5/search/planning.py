"""What a run of indexing has to do, and its summary."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from me5.search.documents import NOWHERE, TABLES, Document
from me5.search.files import Stamp
from me5.search.readers import VERSION
from me5.search.readers.tables import Columns
from me5.search.schema import IndexedFile

# A batch takes about this long, whatever the model and the machine: it is what a kill loses.
_BATCH_SECONDS = 10.0
_FIRST_BATCH, _LARGEST_BATCH = 64, 4096
# Of the rows of one file that cannot be used so many are named, and the others counted.
_NAMED = 100
_LONGEST_REASON = 500
_MORE = "; rows after it that cannot be used: "


@dataclass(frozen=True)
class BadFile:
    """A file, or one row of it, that could not be used."""

    source: str
    at: int | None
    reason: str

    def __str__(self) -> str:
        return f"{self.source}{'' if self.at is None else f':{self.at}'}: {self.reason}"


@dataclass
class Summary:
    """What a run did.

    `reused` of the passages kept the vectors they had. `bad` are the files and rows that could not be used, as this run
    or an earlier one has found. `textless` are sound files in which this run found no text, such as scans, and
    `still_textless` counts those that earlier runs told of. `others` counts suffixes without a reader, `links` symbolic
    links that were not followed, `excluded` files and folders that patterns left out. `moved` tells of folders that
    were found in a new place.
    """

    unchanged: int = 0
    indexed: int = 0
    removed: int = 0
    passages: int = 0
    reused: int = 0
    tokens: int = 0
    bad: list[BadFile] = field(default_factory=list)
    textless: list[BadFile] = field(default_factory=list)
    still_textless: int = 0
    others: "Counter[str]" = field(default_factory=Counter)
    links: int = 0
    excluded: int = 0
    moved: list[str] = field(default_factory=list)
    seconds: float = 0.0
    engine_seconds: float = 0.0

    def recall(self, name: str, file: IndexedFile) -> None:
        """Count a file that is as an earlier run left it, and tell its problems again."""
        self.unchanged += 1
        if textless(file):
            self.still_textless += 1
        else:
            self.bad += bad_files(name, file.problems)


@dataclass(frozen=True)
class Work:
    """A source to index: a file, or documents that came from elsewhere.

    `name` is what messages call it, where it is not `source`. `version` is the hash of its content and of how it is
    read. Each document stands for `stamp.size / parts` bytes of progress. `problems` are the rows that
    cannot be used, by their place in it; after what `failed` it is to be read again.
    """

    source: str
    kind: str
    version: str
    stamp: Stamp
    documents: Iterable[Document]
    parts: int = 1
    name: str = ""
    problems: list[tuple[int | None, str]] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)

    @property
    def called(self) -> str:
        """What messages call it."""
        return self.name or self.source

    def complain(self, at: int | None, reason: str) -> None:
        """Note a row that cannot be used. From a number on the others are only counted, with the last that is named."""
        reason = reason.encode("utf-8", "backslashreplace").decode()
        reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…"
        if len(self.problems) < _NAMED:
            self.problems.append((at, reason))
            return
        place, reason = self.problems[-1]
        first, _, more = reason.partition(_MORE)
        self.problems[-1] = (place, f"{first}{_MORE}{int(more.replace(',', '') or 0) + 1:,}")


def way_of_reading(kind: str, columns: Columns) -> str:
    """A hash of what decides, beside its content, which documents a file becomes: the end of its version."""
    decisive = f"{VERSION} {columns if kind in TABLES else ''}"
    return hashlib.blake2b(decisive.encode(), digest_size=4).hexdigest()


@dataclass(frozen=True)
class Changes:
    """Sources that a run has to read, has to remove, and can leave."""

    changed: list[str]
    gone: list[str]
    unchanged: list[str]


def changes(
    found: Mapping[str, tuple[Stamp, str]],
    known: Mapping[str, IndexedFile],
    versions: Iterable[str],
    covered: Callable[[str], bool],
) -> Changes:
    """Compare the files that are there, by source with their stamp and way of reading, with those in the store.

    `covered` tells of a source whether it would have been found if it were there.
    """

    def same(source: str) -> bool:
        stamp, way = found[source]
        return source in known and known[source].stamp == stamp and known[source].version.endswith(f"-{way}")

    unchanged = [source for source in found if same(source)]
    rest = set(unchanged)
    return Changes(
        changed=[source for source in found if source not in rest],
        gone=[source for source in sorted({*known, *versions} - found.keys()) if covered(source)],
        unchanged=unchanged,
    )


class Forecast:
    """How many tokens are still to come: the bytes that are left of each kind, by what bytes of it have held so far."""

    # Until something is known of a kind, as much as this many bytes of it say.
    _BELIEF = 1 << 16
    _TOKENS_PER_BYTE: Mapping[str, float] = {
        "pdf": 0.02, "docx": 0.05, "odt": 0.05, "pptx": 0.01, "epub": 0.1, "email": 0.1,
    }  # fmt: skip
    _ELSE = 0.25

    def __init__(self, sizes: Mapping[str, float]) -> None:
        self._left = dict(sizes)
        self._bytes: defaultdict[str, float] = defaultdict(float)
        self._tokens: defaultdict[str, float] = defaultdict(float)

    def seen(self, kind: str, size: float, tokens: int) -> None:
        """Bytes of a kind that are done with, and the tokens that they held."""
        self._left[kind] = max(self._left.get(kind, 0.0) - size, 0.0)
        self._bytes[kind] += size
        self._tokens[kind] += tokens

    def tokens(self) -> float:
        """What is left."""
        return sum(left * self._share(kind) for kind, left in self._left.items())

    def _share(self, kind: str) -> float:
        prior = self._TOKENS_PER_BYTE.get(kind, self._ELSE)
        return (self._tokens[kind] + prior * self._BELIEF) / (self._bytes[kind] + self._BELIEF)


class Pace:
    """How many passages the next batch has."""

    def __init__(self) -> None:
        self.size = _FIRST_BATCH

    def took(self, seconds: float) -> None:
        """What the last one took."""
        if seconds < _BATCH_SECONDS / 2:
            self.size = min(self.size * 2, _LARGEST_BATCH)
        elif seconds > _BATCH_SECONDS * 2:
            self.size = max(self.size // 2, _FIRST_BATCH)


def textless(file: IndexedFile) -> bool:
    """Whether all that is wrong with a file is that it has no text."""
    return not file.passages and all(at == NOWHERE for at, _ in file.problems)


def bad_files(name: str, problems: Iterable[tuple[int | None, str]]) -> list[BadFile]:
    """Problems as they are shown."""
    return [BadFile(name, None if at == NOWHERE else at, reason) for at, reason in problems]


def unwritable(document: Document, metadata: str = "") -> str | None:
    """Why no store could hold a document: half of a character, such as half of an emoji, in its texts; else None."""
    titles = (section.title for section in document.sections)
    for what, text in (
        ("text", document.text),
        ("title", "\n".join((document.title, *titles))),
        ("metadata", metadata),
    ):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            code = ord(text[error.start])
            return f"its {what} holds half of a character, U+{code:04X} at character {error.start}; write it anew"
    return None
