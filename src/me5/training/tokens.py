"""A dataset -> token ids on disk, mapped: computed once per dataset, tokenizer and length, read in any order.

    ids.u32               the ids of every text, end to end, without special tokens
    starts.npy            where each text begins there
    keys.npy              a number per text, equal for the same text (`text_key`), a document's title apart
    pairs.npy             (pairs, 3): query, text of the document, group; one row per positive relation
    scores.npy            a teacher's score of each pair (NaN: none)
    queries.npy           (queries, 2): text of the query, text of its instruction (-1: none)
    known.npz             by query, the texts of its positives and of those to ignore: never its negatives
    negatives.npz         by query, its negatives and their teacher scores
    store.json            groups (source and languages), counts, how many texts were truncated

The folder is named by a fingerprint of what it was made of, so that a stale store is never used.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from me5.data.contract import Document, Query
from me5.data.dataset import Dataset
from me5.data.letters import text_key
from me5.data.relations import NEGATIVE, POSITIVE, Relations, number_relations
from me5.errors import InputError
from me5.files.atomic import new_folder
from me5.progress import Advance
from me5.tokenizer import Tokenizer

Ids = npt.NDArray[np.int64]
_Value = TypeVar("_Value", Document, Query)
FORMAT = 2
# Texts that are tokenized together.
_BLOCK = 8192
_MAPPED = ("starts", "keys", "pairs", "scores", "queries")


@dataclass(frozen=True)
class Group:
    """What a batch may be homogeneous in: a source and the languages of both sides."""

    source: str
    query_lang: str
    document_lang: str


@dataclass(frozen=True)
class Lists:
    """A list per query, all end to end: query q has `items[starts[q]:starts[q + 1]]`, and `scores` likewise."""

    starts: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]

    def of(self, query: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The items of a query, and their scores."""
        here = slice(self.starts[query], self.starts[query + 1])
        return self.items[here], self.scores[here]


class TokenStore:
    """The token ids and relations of a dataset. Built and opened by `open_store`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts: dict[str, Any] = json.loads((folder / "store.json").read_text("utf-8"))
        # As plain arrays over the mapped memory: np.memmap's own indexing takes a third of the time of making a batch.
        arrays = {
            name: np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)) for name in _MAPPED
        }
        self._ids = np.asarray(np.memmap(folder / "ids.u32", np.uint32, "r"))
        self._starts, self.keys, self.pairs = arrays["starts"], arrays["keys"], arrays["pairs"]
        self.scores, self.queries = arrays["scores"], arrays["queries"]
        self.known, self.negatives = (_load_lists(folder / f"{name}.npz") for name in ("known", "negatives"))
        self.groups = [Group(**group) for group in self.facts["groups"]]
        order = np.argsort(self.pairs[:, 2], kind="stable")
        bounds = np.searchsorted(self.pairs[order, 2], np.arange(len(self.groups) + 1))
        self.members = [order[start:end] for start, end in pairwise(bounds.tolist())]

    def __len__(self) -> int:
        return len(self.pairs)

    def text(self, index: int, limit: int) -> Ids:
        """The first `limit` ids of a text, without special tokens."""
        start, end = int(self._starts[index]), int(self._starts[index + 1])
        return np.asarray(self._ids[start : min(end, start + limit)], np.int64)

    def lengths(self, texts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many ids some texts have."""
        lengths: npt.NDArray[np.int64] = np.asarray(self._starts[texts + 1] - self._starts[texts])
        return lengths


def store_folder(dataset: Dataset, tokenizer_file: Path, tokenizer: Tokenizer, folder: Path) -> Path:
    """Where the store of a dataset lies below `folder`, named by what it is made of."""
    tokenizer_hash = hashlib.sha256(tokenizer_file.read_bytes()).hexdigest()
    made_of = [FORMAT, dataset.fingerprint, tokenizer_hash, tokenizer.max_tokens]
    if tokenizer.lower_case:
        made_of.append("lower case")
    return folder / hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]


def is_built(store: Path) -> bool:
    """Whether a store's folder is there, and so complete."""
    return (store / "store.json").exists()


def open_store(
    dataset: Dataset, tokenizer_file: Path, tokenizer: Tokenizer, folder: Path, *, advance: Advance
) -> TokenStore:
    """The store of a dataset below `folder`, which is built where it is not there yet."""
    store = store_folder(dataset, tokenizer_file, tokenizer, folder)
    if not is_built(store):
        with new_folder(store, overwrite=True) as partial, (partial / "ids.u32").open("wb") as ids:
            _Builder(dataset, tokenizer, ids, advance).build(partial)
    return TokenStore(store)


class _Builder:
    """One pass over each table; texts are held a block at a time."""

    def __init__(self, dataset: Dataset, tokenizer: Tokenizer, ids: IO[bytes], advance: Advance) -> None:
        self._dataset, self._tokenizer, self._ids, self._advance = dataset, tokenizer, ids, advance
        self._lengths = array("q")
        self._keys = array("q")
        self._truncated = 0

    def build(self, folder: Path) -> None:
        relations = number_relations(self._dataset)
        positive = np.flatnonzero(relations.kinds == POSITIVE)
        if not len(positive):
            raise InputError(f"{self._dataset.folder} has no positive relation: there is nothing to train on")
        # The text of a document has the number of its row.
        for documents in _blocks(self._dataset.documents()):
            self._add([value.whole for value in documents], keyed=[value.text for value in documents])
        queries = self._queries()
        groups, group_of = _groups(self._dataset, relations, positive)
        starts = np.zeros(len(self._lengths) + 1, np.int64)
        np.cumsum(self._lengths, out=starts[1:])
        arrays: dict[str, npt.NDArray[Any]] = {
            "starts": starts, "keys": np.array(self._keys, np.int64),
            "pairs": np.stack([relations.queries[positive], relations.documents[positive], group_of], axis=1),
            "scores": relations.scores[positive], "queries": queries,
        }  # fmt: skip
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
        negative = relations.kinds == NEGATIVE
        _save_lists(folder / "known.npz", relations, ~negative, len(queries))
        _save_lists(folder / "negatives.npz", relations, negative, len(queries))
        facts = {
            "dataset": str(self._dataset.folder), "fingerprint": self._dataset.fingerprint,
            "groups": [asdict(group) for group in groups], "texts": len(self._lengths), "tokens": int(starts[-1]),
            "truncated": self._truncated, "max_tokens": self._tokenizer.max_tokens,
        }  # fmt: skip
        (folder / "store.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")

    def _queries(self) -> Ids:
        """Add the queries and their instructions; (queries, 2): the number of each one's text and instruction."""
        rows: list[tuple[int, int]] = []
        instructions: dict[str, int] = {"": -1}
        for queries in _blocks(self._dataset.queries()):
            texts = [query.text for query in queries]
            first = self._add(texts, keyed=texts)
            for number, query in enumerate(queries, first):
                if query.instruction not in instructions:
                    instructions[query.instruction] = self._add([query.instruction], keyed=[query.instruction])
                rows.append((number, instructions[query.instruction]))
        return np.array(rows, np.int64).reshape(-1, 2)

    def _add(self, texts: Sequence[str], *, keyed: Sequence[str]) -> int:
        """Tokenize texts and keep the keys of `keyed`; the number of the first text."""
        first = len(self._lengths)
        for ids, lost in self._tokenizer.bare(texts):
            self._ids.write(np.array(ids, np.uint32).tobytes())
            self._lengths.append(len(ids))
            self._truncated += lost > 0
        self._keys.extend(map(text_key, keyed))
        self._advance(len(texts), sum(self._lengths[first:]))
        return first


def _groups(dataset: Dataset, relations: Relations, places: Ids) -> tuple[list[Group], Ids]:
    """The groups of the relations at some places, in the order of their fields, and the number of each one's group."""
    columns = (
        np.array(relations.source_names)[relations.sources[places]],
        dataset.languages("queries")[relations.queries[places]],
        dataset.languages("documents")[relations.documents[places]],
    )
    names, numbers = zip(*(np.unique(column, return_inverse=True) for column in columns), strict=True)
    groups, group_of = np.unique(np.stack(numbers, axis=1), axis=0, return_inverse=True)
    fields = ([str(of_field[number]) for of_field, number in zip(names, row, strict=True)] for row in groups)
    return [Group(*row) for row in fields], group_of.reshape(-1)


def _blocks(values: Iterator[_Value]) -> Iterator[list[_Value]]:
    while block := list(islice(values, _BLOCK)):
        yield block


def _save_lists(path: Path, relations: Relations, chosen: npt.NDArray[np.bool_], queries: int) -> None:
    """Save a list per query of the documents of the chosen relations, with their scores."""
    places = np.flatnonzero(chosen)
    places = places[np.argsort(relations.queries[places], kind="stable")]
    np.savez(
        path,
        starts=np.searchsorted(relations.queries[places], np.arange(queries + 1)),
        items=relations.documents[places].astype(np.int32),
        scores=relations.scores[places],
    )


def _load_lists(path: Path) -> Lists:
    with np.load(path, allow_pickle=False) as stored:
        return Lists(stored["starts"], stored["items"], stored["scores"])
