"""Deduplication: equal letters, and nearly equal documents; what related to a copy relates to what stays.

Nearly equal is an estimated Jaccard similarity of the 5-character pieces of two texts' letters (MinHash, Broder 1997),
candidates coming from bands of equal signature columns (LSH, as in Mining of Massive Datasets, chapter 3). Short texts
and texts with different numbers are never called nearly equal: "Chapter 10" is not a copy of "Chapter 11". Nor are two
documents of which one answers a query and the other does not: a hard negative may differ from the positive in a word.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from me5.data.contract import Document, Query, Relation
from me5.data.dataset import Dataset, Mask, TextTable, id_digits
from me5.data.letters import figures, letters, text_key
from me5.data.relations import POSITIVE, Int64, Relations, number_relations
from me5.data.writing import write_dataset
from me5.errors import InputError, MissingExtraError
from me5.files.atomic import explained
from me5.progress import Advance, track

try:
    from rensa import RMinHash
except ImportError as error:
    raise MissingExtraError("deduplication needs one more library: pip install 'me5[train]'") from error

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
class DeduplicationSettings:
    """`near` is the similarity from which documents (with `near_queries`, queries too) are copies; None: only equal.

    `shortest_query` is the letters from which queries of the same instruction may be nearly equal.
    """

    near: float | None = 0.8
    near_queries: bool = False
    seed: int = 0
    shortest_query: int = _SHORTEST

    def __post_init__(self) -> None:
        if self.near is not None and not 0.5 <= self.near <= 1:
            raise InputError(f"near is {self.near}; expected a similarity from 0.5 to 1, or none for equal texts only")


@dataclass
class _Copies:
    """Of each row of a table the first row that is equal, and of those rows the row that stays for near copies."""

    equal: Int64
    near: Int64

    @property
    def stays(self) -> Int64:
        """The row that stays for each row, itself where it is not a copy."""
        return self.near[self.equal]

    @property
    def kept(self) -> Mask:
        """Whether each row is not a copy."""
        kept: Mask = self.stays == np.arange(len(self.near))
        return kept

    def removed(self) -> dict[str, int]:
        """How many rows are removed, by reason."""
        rows = np.arange(len(self.near))
        return {"equal": int((self.equal != rows).sum()), "near": int((self.near != rows).sum())}


def deduplicate(
    dataset: Dataset,
    folder: Path,
    settings: DeduplicationSettings,
    *,
    show_progress_bar: bool = False,
    overwrite: bool = False,
) -> Dataset:
    """Write a dataset without copies; of each group the first row stays, and takes over all relations.

    Relations that become relations of the same pair are merged as `write_dataset` does: a text that was a negative of a
    query and has a copy among its positives is a positive.
    """
    removed: dict[str, dict[str, int]] = {}
    step = {"step": "deduplicate", "settings": vars(settings), "input": dataset.fingerprint, "removed": removed}
    counts = dataset.counts
    total = 2 * (counts["documents"] + counts["queries"]) + counts["relations"]
    with track(total, show=show_progress_bar, description="Deduplicating", unit="rows") as advance:
        documents = _copies(dataset, "documents", settings.near, settings.seed, _SHORTEST, advance)
        near = settings.near if settings.near_queries else None
        queries = _copies(dataset, "queries", near, settings.seed, settings.shortest_query, advance)
        relations = number_relations(dataset)
        _keep_apart(relations, documents, queries)
        removed |= {"documents": documents.removed(), "queries": queries.removed()}
        items = dataset.items(
            documents=documents.kept,
            queries=queries.kept,
            relations=_moved(dataset, relations, documents, queries, advance),
            advance=advance,
        )
        return write_dataset(folder, items, step=step, before=dataset, repeats="merge", overwrite=overwrite)


def _moved(
    dataset: Dataset, relations: Relations, documents: _Copies, queries: _Copies, advance: Advance
) -> Iterator[Relation]:
    """The relations of a dataset, from copies to what stays."""
    document_ids, query_ids = dataset.ids("documents"), dataset.ids("queries")
    to_query, to_document = queries.stays[relations.queries], documents.stays[relations.documents]
    for place, relation in enumerate(dataset.relations(advance=advance)):
        yield replace(
            relation,
            query_id=id_digits(query_ids[to_query[place]]),
            document_id=id_digits(document_ids[to_document[place]]),
        )


def _copies(
    dataset: Dataset, table: TextTable, near: float | None, seed: int, shortest: int, advance: Advance
) -> _Copies:
    rows = dataset.counts[table]
    copies = _Copies(np.arange(rows), np.arange(rows))
    first: dict[int, int] = {}
    # Signatures lie in a file: in memory they would weigh as much as the texts.
    with TemporaryFile() as scratch:
        signatures = _signatures(scratch, rows if near else 0)
        numbers = np.zeros(rows if near else 0, "V8")
        kept: list[int] = []
        pieces: list[tuple[int, list[str]]] = []
        for row, value in enumerate(dataset.texts(table, advance=advance)):
            place = first.setdefault(text_key(_text(value)), row)
            if place != row:
                copies.equal[row] = place
                continue
            # An instruction that many queries share would make them alike.
            text, instruction = (value.whole, "") if isinstance(value, Document) else (value.text, value.instruction)
            if near and len(reduced := letters(text)) >= shortest:
                kept.append(row)
                numbers[row] = figures(text, instruction)
                pieces.append((row, [reduced[at : at + _PIECE] for at in range(len(reduced) - _PIECE + 1)]))
                if len(pieces) == _AT_ONCE:
                    _sign(signatures, pieces, seed)
        if near:
            _sign(signatures, pieces, seed)
            _join(copies.near, signatures, numbers, np.array(kept, np.int64), near)
    return copies


def _keep_apart(relations: Relations, documents: _Copies, queries: _Copies) -> None:
    """Undo what would make a positive and another kind of one query the same document."""
    copies = np.flatnonzero(documents.near != np.arange(len(documents.near)))
    concerned = np.isin(documents.stays, documents.near[copies])
    places = np.flatnonzero(concerned[relations.documents])
    rows = documents.equal[relations.documents[places]]
    of_queries, stays = queries.stays[relations.queries[places]], documents.near[rows]
    wrong = relations.kinds[places] != POSITIVE
    # (query, what stays) -> documents that answer it, documents that do not.
    sides: defaultdict[tuple[int, int], tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    for query, place, row, side in zip(of_queries.tolist(), stays.tolist(), rows.tolist(), wrong.tolist(), strict=True):
        sides[query, place][side].add(row)
    for (_, place), (right, others) in sides.items():
        if right and others:
            for row in (right if place in others else others) - {place}:
                documents.near[row] = row


def _text(value: Document | Query) -> str:
    """What has to be equal: with its title, and with its instruction."""
    return value.whole if isinstance(value, Document) else f"{value.instruction}\n{value.text}"


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


def _join(
    stays: Int64, signatures: npt.NDArray[np.uint32], numbers: npt.NDArray[Any], kept: Int64, near: float
) -> None:
    """Let each row give way to the first that stays and is near it.

    A row is compared with what stays, never with what went: no chain of small changes joins texts that are far apart.
    """
    pairs = _candidates(signatures, kept)
    for earlier, later in pairs.tolist():
        place = int(stays[earlier])
        open_and_alike = stays[later] == later and numbers[place] == numbers[later]
        if open_and_alike and np.mean(signatures[place] == signatures[later]) >= near:
            stays[later] = place


def _candidates(signatures: npt.NDArray[np.uint32], kept: Int64) -> Int64:
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
