"""Copies out of a dataset: equal letters, and nearly equal documents; what related to a copy relates to what stays.

Nearly equal is an estimated Jaccard similarity of the 5-character pieces of two texts' letters (MinHash, Broder 1997),
candidates coming from bands of equal signature columns (LSH, as in Mining of Massive Datasets, chapter 3). Short texts
and texts with different numbers are never called nearly equal: "Chapter 10" is no copy of "Chapter 11". Nor are two
documents of which one answers a query and the other does not: a hard negative may differ from the positive in a word.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from me5.data.contract import Dataset, Document, Query, Relation
from me5.data.letters import figures, key, letters
from me5.data.writing import Item, write_dataset
from me5.errors import InputError, MissingExtraError
from me5.files.atomic import explained
from me5.progress import Advance, track

try:
    from rensa import RMinHash
except ImportError as error:
    raise MissingExtraError("finding copies needs one more library: pip install 'me5[train]'") from error

Rows = npt.NDArray[np.int64]
# 128 values: an estimate is off by at most 0.035 (one standard deviation, at 0.8). 16 bands of 8 make a pair of
# similarity 0.8 a candidate with probability 0.95, one of 0.9 with 0.9999, one of 0.5 with 0.06.
_VALUES, _BANDS = 128, 16
_MULTIPLIERS = np.random.default_rng(0).integers(1 << 63, size=_VALUES // _BANDS, dtype=np.uint64) * 2 + 1
_PIECE = 5
# Below so many letters a change of one word changes the meaning. From 40 on, answers to choose from and hypotheses to
# tell apart were joined in real data: "larger at the coast and smaller inland" with "… and larger inland".
_SHORTEST = 200
_AT_ONCE = 256


@dataclass(frozen=True)
class Settings:
    """`near` is the similarity from which documents (with `near_queries`, queries too) are copies; None: only equal."""

    near: float | None = 0.8
    near_queries: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.near is not None and not 0.5 <= self.near <= 1:
            raise InputError(f"near is {self.near}; expected a similarity from 0.5 to 1, or none for equal texts only")


@dataclass
class _Copies:
    """Row by row of a table: its id, the first row that is equal, and of those the row that it is near.

    28 bytes a row, and 512 on disk for `near`.
    """

    equal: Rows
    near: Rows
    ids: bytearray = field(default_factory=bytearray)

    def by_id(self) -> dict[bytes, str]:
        """Id of a removed copy -> id of what stays."""
        stays = self.near[self.equal]
        gone = np.flatnonzero(stays != np.arange(len(stays)))
        return {self.id(row): self.id(int(stays[row])).hex() for row in gone.tolist()}

    def removed(self) -> dict[str, int]:
        """How many went, by why."""
        rows = np.arange(len(self.near))
        return {"equal": int((self.equal != rows).sum()), "near": int((self.near != rows).sum())}

    def id(self, row: int) -> bytes:
        """The id of a row."""
        return bytes(self.ids[12 * row : 12 * row + 12])


def deduplicate(
    dataset: Dataset, folder: Path, settings: Settings, *, show_progress_bar: bool = False, overwrite: bool = False
) -> Dataset:
    """Write a dataset without copies; of each group the first row stays, and takes over all relations.

    Relations that so fall together become one, as `write_dataset` merges them: a text that was a negative of a query
    and has a copy among its positives is a positive.
    """
    removed: dict[str, dict[str, int]] = {}
    step = {"step": "deduplicate", "settings": vars(settings), "input": dataset.fingerprint, "removed": removed}
    total = 2 * sum(dataset.counts[table] for table in ("documents", "queries", "relations"))
    with track(total, show=show_progress_bar, description="Looking for copies", unit="rows") as advance:
        documents = _copies(dataset, "documents", settings.near, settings.seed, advance)
        near = settings.near if settings.near_queries else None
        queries = _copies(dataset, "queries", near, settings.seed, advance)
        _keep_apart(dataset, documents, queries.by_id(), advance)
        removed |= {"documents": documents.removed(), "queries": queries.removed()}
        items = _left(dataset, documents.by_id(), queries.by_id(), advance)
        return write_dataset(folder, items, step=step, before=dataset, repeats="merge", overwrite=overwrite)


def _left(dataset: Dataset, documents: dict[bytes, str], queries: dict[bytes, str], advance: Advance) -> Iterator[Item]:
    for table, gone in (("documents", documents), ("queries", queries)):
        for value in dataset.items(table):  # type: ignore[arg-type]
            assert isinstance(value, Document | Query)
            advance(1, 0)
            if bytes.fromhex(value.id) not in gone:
                yield value
    for relation in dataset.items("relations"):
        assert isinstance(relation, Relation)
        advance(1, 0)
        query = queries.get(bytes.fromhex(relation.query_id), relation.query_id)
        document = documents.get(bytes.fromhex(relation.document_id), relation.document_id)
        yield Relation(
            query, document, relation.kind, relation.label, relation.teacher_score, relation.teacher, relation.source,
            relation.licence,
        )  # fmt: skip


def _copies(dataset: Dataset, table: Any, near: float | None, seed: int, advance: Advance) -> _Copies:
    rows = dataset.counts[table]
    found = _Copies(np.arange(rows), np.arange(rows))
    first: dict[bytes, int] = {}
    # Signatures lie in a file: in memory they would weigh as much as the texts.
    with TemporaryFile() as scratch:
        signatures = _signatures(scratch, rows if near else 0)
        numbers = np.zeros(rows if near else 0, "V8")
        kept: list[int] = []
        pieces: list[tuple[int, list[str]]] = []
        for row, value in enumerate(dataset.items(table)):
            advance(1, 0)
            assert not isinstance(value, Relation)
            found.ids += bytes.fromhex(value.id)
            text = _text(value)
            place = first.setdefault(key(text), row)
            if place != row:
                found.equal[row] = place
                continue
            if near and len(reduced := letters(text)) >= _SHORTEST:
                kept.append(row)
                numbers[row] = figures(text)
                pieces.append((row, [reduced[at : at + _PIECE] for at in range(len(reduced) - _PIECE + 1)]))
                if len(pieces) == _AT_ONCE:
                    _sign(signatures, pieces, seed)
        if near:
            _sign(signatures, pieces, seed)
            _join(found.near, signatures, numbers, np.array(kept, np.int64), near)
    return found


def _keep_apart(dataset: Dataset, documents: _Copies, queries: dict[bytes, str], advance: Advance) -> None:
    """Undo what would make a positive and another kind of one query the same document."""
    copies = np.flatnonzero(documents.near != np.arange(len(documents.near)))
    concerned = np.flatnonzero(np.isin(documents.near[documents.equal], documents.near[copies]))
    rows = {documents.id(row): int(documents.equal[row]) for row in concerned.tolist()}
    # (query, what stays) -> documents that answer it, documents that do not.
    sides: defaultdict[tuple[str, int], tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    for relation in dataset.items("relations"):
        assert isinstance(relation, Relation)
        advance(1, 0)
        row = rows.get(bytes.fromhex(relation.document_id))
        if row is not None:
            query = queries.get(bytes.fromhex(relation.query_id), relation.query_id)
            sides[query, int(documents.near[row])][relation.kind != "positive"].add(row)
    for (_, stays), (right, wrong) in sides.items():
        if right and wrong:
            for row in (right if stays in wrong else wrong) - {stays}:
                documents.near[row] = row


def _text(value: Document | Query) -> str:
    """What has to be equal: with its title, and with its instruction."""
    return f"{value.title} {value.text}" if isinstance(value, Document) else f"{value.instruction}\n{value.text}"


def _signatures(file: IO[bytes], rows: int) -> npt.NDArray[np.uint32]:
    if not rows:
        return np.zeros((0, _VALUES), np.uint32)
    with explained(f"{gettempdir()}, for signatures of {rows:,} rows,"):
        # Taken at once: a write to mapped memory for which there is no room ends the process without a word.
        os.posix_fallocate(file.fileno(), 0, 4 * _VALUES * rows)
    return np.memmap(file, np.uint32, "r+", shape=(rows, _VALUES))


def _sign(signatures: npt.NDArray[np.uint32], pieces: list[tuple[int, list[str]]], seed: int) -> None:
    """Write the signatures of some rows, and forget their pieces."""
    if pieces:
        made = RMinHash.digests_from_token_sets([of_row for _, of_row in pieces], _VALUES, seed)
        signatures[[row for row, _ in pieces]] = np.array(made, np.uint32)
        pieces.clear()


def _join(stays: Rows, signatures: npt.NDArray[np.uint32], numbers: npt.NDArray[Any], kept: Rows, near: float) -> None:
    """Let each row give way to the first that stays and is near it.

    A row is compared with what stays, never with what went: no chain of small changes joins texts that are far apart.
    """
    pairs = _candidates(signatures, kept)
    for earlier, later in pairs.tolist():
        place = int(stays[earlier])
        open_and_alike = stays[later] == later and numbers[place] == numbers[later]
        if open_and_alike and np.mean(signatures[place] == signatures[later]) >= near:
            stays[later] = place


def _candidates(signatures: npt.NDArray[np.uint32], kept: Rows) -> Rows:
    """(earlier row, later row) of what agrees in a band, by the later: with the first of its bucket, and the last."""
    width = _VALUES // _BANDS
    found = []
    for band in range(_BANDS):
        columns = signatures[kept, band * width : (band + 1) * width]
        buckets = columns.astype(np.uint64) @ _MULTIPLIERS
        order = np.argsort(buckets, kind="stable")
        ordered = buckets[order]
        same = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
        starts = np.searchsorted(ordered, ordered[same])
        found += [np.stack([kept[order[at]], kept[order[same]]], 1) for at in (same - 1, starts)]
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
