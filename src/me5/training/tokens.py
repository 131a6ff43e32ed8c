"""A dataset -> token ids on disk, mapped: made once per dataset, tokenizer and length, and read at any place.

    ids.u32               the ids of every text, end to end, without special tokens
    starts.npy            where each text begins there
    keys.npy              a number per text, equal for texts that differ in case alone
    pairs.npy             (pairs, 3): query, text of the document, group; one row per positive relation
    scores.npy            what a teacher said of each pair (NaN: nothing)
    queries.npy           (queries, 2): text of the query, text of its instruction (-1: none)
    known.npz             by query, the texts of its positives and of those to ignore: never its negatives
    negatives.npz         by query, its negatives and their teacher scores
    store.json            groups (source and languages), counts, how many texts were cut

The folder is named by what it was made of, so that nothing old is ever taken for new.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from me5.data.contract import Dataset
from me5.errors import InputError
from me5.files.atomic import new_folder
from me5.progress import Advance
from me5.tokenizer import Tokenizer

Ids = npt.NDArray[np.int64]
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
    """The token ids of a dataset and who belongs to whom. Made and opened by `open_store`."""

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
    made_of = [dataset.fingerprint, hashlib.sha256(tokenizer_file.read_bytes()).hexdigest(), tokenizer.max_tokens]
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
    """One pass over each table; texts are held a block at a time, the names of rows as 12 bytes."""

    def __init__(self, dataset: Dataset, tokenizer: Tokenizer, ids: IO[bytes], advance: Advance) -> None:
        self._dataset, self._tokenizer, self._ids, self._advance = dataset, tokenizer, ids, advance
        self._lengths = array("q")
        self._keys = array("q")
        self._cut = 0

    def build(self, folder: Path) -> None:
        documents, document_langs = self._documents()
        queries, query_langs, rows = self._queries()
        relations = _Relations(self._dataset, documents, queries)
        names = [
            Group(source, query_langs[query], document_langs[document])
            for query, document, source in zip(relations.queries, relations.documents, relations.sources, strict=True)
        ]
        groups = {group: number for number, group in enumerate(sorted(set(names), key=astuple))}
        pairs = np.array(
            [relations.queries, relations.documents, [groups[name] for name in names]], np.int64
        ).T.reshape(-1, 3)
        starts = np.zeros(len(self._lengths) + 1, np.int64)
        np.cumsum(self._lengths, out=starts[1:])
        arrays: dict[str, npt.NDArray[Any]] = {
            "starts": starts, "keys": np.array(self._keys, np.int64), "pairs": pairs,
            "scores": np.array(relations.scores, np.float32), "queries": np.array(rows, np.int64).reshape(-1, 2),
        }  # fmt: skip
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
        _save_lists(folder / "known.npz", relations.known, len(queries))
        _save_lists(folder / "negatives.npz", relations.negatives, len(queries))
        facts = {
            "dataset": str(self._dataset.folder), "fingerprint": self._dataset.fingerprint,
            "groups": [asdict(group) for group in groups], "texts": len(self._lengths), "tokens": int(starts[-1]),
            "cut": self._cut, "max_tokens": self._tokenizer.max_tokens,
        }  # fmt: skip
        (folder / "store.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")

    def _documents(self) -> tuple[dict[bytes, int], dict[int, str]]:
        known: dict[bytes, int] = {}
        langs: dict[int, str] = {}
        for batch in self._dataset.documents():
            columns = batch.to_pydict()
            texts = [f"{title} {text}".strip() for title, text in zip(columns["title"], columns["text"], strict=True)]
            first = self._add(texts)
            for offset, (name, lang) in enumerate(zip(columns["id"], columns["lang"], strict=True)):
                known[bytes.fromhex(name)] = first + offset
                langs[first + offset] = lang
        return known, langs

    def _queries(self) -> tuple[dict[bytes, int], list[str], list[tuple[int, int]]]:
        known: dict[bytes, int] = {}
        langs: list[str] = []
        rows: list[tuple[int, int]] = []
        instructions: dict[str, int] = {"": -1}
        for batch in self._dataset.queries():
            columns = batch.to_pydict()
            first = self._add(columns["text"])
            for offset, (name, sentence) in enumerate(zip(columns["id"], columns["instruction"], strict=True)):
                if sentence not in instructions:
                    instructions[sentence] = self._add([sentence])
                known[bytes.fromhex(name)] = len(rows)
                rows.append((first + offset, instructions[sentence]))
            langs += columns["lang"]
        return known, langs, rows

    def _add(self, texts: Sequence[str]) -> int:
        """Tokenize texts; the number of the first."""
        first = len(self._lengths)
        for ids, lost in self._tokenizer.bare(texts):
            self._ids.write(np.array(ids, np.uint32).tobytes())
            self._lengths.append(len(ids))
            self._cut += lost > 0
        self._keys.extend(map(_key, texts))
        self._advance(len(texts), sum(self._lengths[first:]))
        return first


class _Relations:
    """The relations of a dataset by number: pairs, and what else is known of each query."""

    def __init__(self, dataset: Dataset, documents: dict[bytes, int], queries: dict[bytes, int]) -> None:
        self.queries: list[int] = []
        self.documents: list[int] = []
        self.scores: list[float] = []
        self.sources: list[str] = []
        self.known: list[tuple[int, int, float]] = []
        self.negatives: list[tuple[int, int, float]] = []
        for batch in dataset.relations(["query_id", "document_id", "kind", "teacher_score", "source"]):
            for query_id, document_id, kind, score, source in zip(*_columns(batch), strict=True):
                try:
                    query, document = queries[bytes.fromhex(query_id)], documents[bytes.fromhex(document_id)]
                except (KeyError, ValueError) as error:
                    raise InputError(
                        f"{dataset.folder} relates {query_id!r} to {document_id!r}, one of which it does not have; "
                        "look at it with `me5 data check`"
                    ) from error
                said = float("nan") if score is None else score
                (self.negatives if kind == "negative" else self.known).append((query, document, said))
                if kind == "positive":
                    self.queries.append(query)
                    self.documents.append(document)
                    self.scores.append(said)
                    self.sources.append(source)
        if not self.queries:
            raise InputError(f"{dataset.folder} has no positive relation: there is nothing to train on")


def _columns(batch: pa.RecordBatch) -> Iterator[list[Any]]:
    return (column.to_pylist() for column in batch.columns)


def _key(text: str) -> int:
    digest = hashlib.blake2b(" ".join(text.casefold().split()).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _save_lists(path: Path, entries: list[tuple[int, int, float]], queries: int) -> None:
    owners = np.array([query for query, _, _ in entries], np.int64)
    order = np.argsort(owners, kind="stable")
    np.savez(
        path,
        starts=np.searchsorted(owners[order], np.arange(queries + 1)),
        items=np.array([item for _, item, _ in entries], np.int32)[order],
        scores=np.array([score for _, _, score in entries], np.float32)[order],
    )


def _load_lists(path: Path) -> Lists:
    with np.load(path, allow_pickle=False) as stored:
        return Lists(stored["starts"], stored["items"], stored["scores"])
