"""Read the training pairs, tokenise them once, and draw homogeneous batches that depend on seed and step alone."""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_CHARACTERS = 600  # longer texts are cut before tokenising, which is the slow part: 0.5 M tokens a second
MAX_TOKENS = 160
MAX_ROWS = 120_000  # of a group, drawn at random
# A source of kind "wikipedia" holds 14 languages; batches of one language give harder negatives.
SPLIT_BY_LANGUAGE = frozenset({"wikipedia", "law", "ms-visualstudio-docs", "ms-business-central-docs"})
# Share of the batches per kind. User interface strings and dictionary terms are 40 % of the rows but short and alike.
KIND_SHARE = {"parallel": 0.42, "ui": 0.08, "term": 0.08, "title-body": 0.24, "qa": 0.16, "paraphrase": 0.02}
FAMILY = {"faq": "qa", "nli": "paraphrase"}
COLUMNS = ["query", "positive", "query_lang", "positive_lang", "source", "kind", "licence"]


@dataclass(frozen=True)
class Row:
    """One training pair with its group (the set it may share a batch with) and its negatives."""

    query: str
    positive: str
    query_lang: str
    positive_lang: str
    kind: str
    group: str
    source: str
    licence: str
    negatives: list[str]


def read_rows(data: Path) -> Iterator[Row]:
    """Yield every training pair below DATA/train, file by file in the order of their names."""
    for path in sorted((data / "train").glob("*/*.parquet")):
        table = pq.read_table(path)
        negatives = table.column("negatives").to_pylist() if "negatives" in table.column_names else None
        columns = [table.column(name).to_pylist() for name in COLUMNS]
        for i, (query, positive, query_lang, positive_lang, source, kind, licence) in enumerate(zip(*columns, strict=True)):
            group = f"{kind}/{path.stem}"
            if path.stem in SPLIT_BY_LANGUAGE and kind == "title-body":
                group += f"/{positive_lang}"
            if path.parent.name == "qa" and source == "afriqa":
                group += f"/{positive_lang}"
            yield Row(query, positive, query_lang, positive_lang, kind, group, path.stem, licence, negatives[i] if negatives else [])


def limit_groups(rows: list[Row], seed: int = 0) -> list[Row]:
    """Keep at most MAX_ROWS random rows of each group, in their order."""
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        members[row.group].append(i)
    kept = [rng.permutation(m)[:MAX_ROWS] for _, m in sorted(members.items())]
    return [rows[i] for i in np.sort(np.concatenate(kept))]


def text_id(text: str) -> int:
    """Return a 63-bit hash of a text, for finding equal texts inside a batch."""
    digest = hashlib.blake2b(text.casefold().encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Texts:
    """Token ids of many texts in one flat array; ids fit uint16 because the vocabulary is below 65,536."""

    def __init__(self, ids: np.ndarray, offsets: np.ndarray) -> None:
        self.ids, self.offsets = ids, offsets
        self.lengths = np.diff(offsets)

    @classmethod
    def encode(cls, tokenizer: Tokenizer, texts: list[str]) -> Texts:
        """Tokenise without special tokens, at most MAX_TOKENS each."""
        parts: list[np.ndarray] = []
        for start in range(0, len(texts), 20_000):
            print(f"{start:,} of {len(texts):,} texts", flush=True)
            chunk = [text[:MAX_CHARACTERS] for text in texts[start : start + 20_000]]
            encodings = tokenizer.encode_batch_fast(chunk, add_special_tokens=False)
            parts += [np.array(e.ids[:MAX_TOKENS], dtype=np.uint16) for e in encodings]
        offsets = np.zeros(len(parts) + 1, dtype=np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return cls(np.concatenate(parts) if parts else np.zeros(0, np.uint16), offsets)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


def prepare(data: Path, tokenizer_file: Path, output: Path) -> None:
    """Tokenise all pairs and write them with groups, text hashes and negatives to one npz file."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    rows = limit_groups(list(read_rows(data)))
    groups = sorted({row.group for row in rows})
    number = {group: i for i, group in enumerate(groups)}
    queries = Texts.encode(tokenizer, [row.query for row in rows])
    positives = Texts.encode(tokenizer, [row.positive for row in rows])
    negatives = Texts.encode(tokenizer, [text for row in rows for text in row.negatives[:1]])
    negative_start = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row.negatives[:1]) for row in rows], out=negative_start[1:])
    partial = output.with_suffix(".part.npz")
    np.savez(
        partial,
        query_ids=queries.ids, query_offsets=queries.offsets,
        positive_ids=positives.ids, positive_offsets=positives.offsets,
        negative_ids=negatives.ids, negative_offsets=negatives.offsets, negative_start=negative_start,
        query_hash=np.array([text_id(row.query) for row in rows]),
        positive_hash=np.array([text_id(row.positive) for row in rows]),
        group=np.array([number[row.group] for row in rows], dtype=np.int32),
        group_names=np.array(groups),
    )  # fmt: skip
    partial.replace(output)
    tokens = len(queries.ids) + len(positives.ids)
    print(f"{len(rows):,} pairs, {len(groups)} groups, {tokens:,} tokens", flush=True)


class Pairs:
    """The prepared pairs and a stateless sampler over them."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self.queries = Texts(stored["query_ids"], stored["query_offsets"])
            self.positives = Texts(stored["positive_ids"], stored["positive_offsets"])
            self.negatives = Texts(stored["negative_ids"], stored["negative_offsets"])
            self.negative_start = stored["negative_start"]
            self.query_hash, self.positive_hash = stored["query_hash"], stored["positive_hash"]
            group, names = stored["group"], [str(name) for name in stored["group_names"]]
        total = np.minimum(self.queries.lengths, 64) + np.minimum(self.positives.lengths, 128)
        usable = (self.queries.lengths > 0) & (self.positives.lengths > 0)
        self.members: list[np.ndarray] = []
        self.kinds: list[str] = []
        for i, name in enumerate(names):
            rows = np.flatnonzero((group == i) & usable)
            self.members.append(rows[np.argsort(total[rows], kind="stable")])
            kind = name.split("/")[0]
            self.kinds.append(FAMILY.get(kind, kind))
        self.share = self._shares(KIND_SHARE)

    def _shares(self, kind_share: dict[str, float], power: float = 0.7) -> np.ndarray:
        """Weigh groups by size**power inside their kind; groups too small for a batch are left out."""
        weight = np.array([len(m) ** power if len(m) >= 64 else 0.0 for m in self.members])
        for kind in set(self.kinds):
            here = np.array([k == kind for k in self.kinds])
            weight[here] *= kind_share.get(kind, 0.0) / max(weight[here].sum(), 1e-9)
        return weight / weight.sum()

    def reweigh(self, kind_share: dict[str, float]) -> None:
        """Change the share of the batches per kind."""
        self.share = self._shares(kind_share)

    def draw(self, seed: int, step: int, size: int) -> tuple[np.ndarray, str, np.random.Generator]:
        """Return row numbers, kind and random source of one batch: one group, texts of like length."""
        rng = np.random.default_rng((seed, step))
        group = int(rng.choice(len(self.members), p=self.share))
        rows = self.members[group]
        width = min(len(rows), 6 * size)
        start = int(rng.integers(0, len(rows) - width + 1))
        chosen = rng.choice(width, size=min(size, width), replace=False) + start
        return rows[chosen], self.kinds[group], rng


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    arguments = parser.parse_args()
    prepare(arguments.data, arguments.run / "tokenizer.json", arguments.run / "pairs.npz")


if __name__ == "__main__":
    main()
