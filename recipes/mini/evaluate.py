"""Measure an exported model folder on the evaluation sets: Tatoeba, sentence similarity, retrieval."""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
import torch
from encoder import embed, pad_batch
from prompts import BITEXT, SIMILAR, WEB, instruct
from scipy.stats import spearmanr
from tokenizers import Tokenizer
from transformers import XLMRobertaModel

# The 36 languages of the XTREME benchmark, by the names of the Tatoeba files.
XTREME_NAMES = (
    "afr ara ben bul cmn deu ell spa est eus pes fin fra heb hin hun ind ita jpn jav kat kaz kor mal mar nld por "
    "rus swh tam tel tgl tha tur urd vie"
)
TOKENS_PER_BATCH = 8192


class Embedder:
    """Embeds texts with a model folder, each text once per prompt."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.model = XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
        self.seen: dict[str, np.ndarray] = {}

    @torch.no_grad()
    def __call__(self, texts: list[str], task: str = "") -> np.ndarray:
        prompted = [instruct(task) + text for text in texts]
        new = sorted({text for text in prompted if text not in self.seen})
        encodings = self.tokenizer.encode_batch_fast(new, add_special_tokens=False)
        ids = [np.array(e.ids[:510], dtype=np.int64) for e in encodings]
        order = np.argsort([len(i) for i in ids], kind="stable")[::-1]
        start = 0
        while start < len(order):
            count = max(1, TOKENS_PER_BATCH // (len(ids[order[start]]) + 2))
            chosen = order[start : start + count]
            vectors = embed(self.model, pad_batch([ids[i] for i in chosen], 512)).numpy()
            for i, vector in zip(chosen, vectors, strict=True):
                self.seen[new[i]] = vector
            start += count
        return np.stack([self.seen[text] for text in prompted])

    def forget(self) -> None:
        """Drop the stored vectors."""
        self.seen.clear()


def tatoeba(embedder: Embedder, data: Path) -> dict[str, float]:
    """Return the accuracy per language in per cent, mean of both directions, the bitext prompt on both sides."""
    result = {}
    for path in sorted((data / "bitext" / "tatoeba").glob("*.tsv")):
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        left, right = (embedder([row[side] for row in rows], BITEXT) for side in (0, 1))
        scores, truth = left @ right.T, np.arange(len(rows))
        both = ((scores.argmax(1) == truth).mean() + (scores.argmax(0) == truth).mean()) / 2
        result[path.stem.removesuffix("-eng")] = round(100 * float(both), 2)
    return result


def similarity(embedder: Embedder, data: Path) -> dict[str, float]:
    """Return Spearman's correlation x 100 per file, the similarity prompt on both sides."""
    result = {}
    for path in sorted((data / "sts").glob("*/*.tsv")):
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        left, right = (embedder([row[side] for row in rows], SIMILAR) for side in (1, 2))
        scores = [float(row[0]) for row in rows]
        result[f"{path.parent.name}/{path.stem}"] = round(100 * float(spearmanr((left * right).sum(1), scores)[0]), 2)
    return result


def ndcg(ranked: list[str], judged: dict[str, int], depth: int = 10) -> float:
    """Return nDCG at a depth with gains as judged, as trec_eval does."""
    gain = sum(judged.get(doc, 0) / np.log2(i + 2) for i, doc in enumerate(ranked[:depth]))
    best = sum(g / np.log2(i + 2) for i, g in enumerate(sorted(judged.values(), reverse=True)[:depth]))
    return float(gain / best)


def retrieval(embedder: Embedder, folder: Path) -> float:
    """Return the mean nDCG@10 x 100 of one set: web-search prompt on queries, bare documents."""
    read = [json.loads(line) for line in (folder / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    judged: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            judged.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    asked = [query for query in asked if query["_id"] in judged]
    names = [doc["_id"] for doc in read]
    documents = embedder([f"{doc.get('title', '')} {doc['text']}".strip() for doc in read])
    queries = embedder([query["text"] for query in asked], WEB)
    best = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    values = [ndcg([names[i] for i in row], judged[q["_id"]]) for q, row in zip(asked, best, strict=True)]
    return round(100 * float(np.mean(values)), 2)


def mean(values: dict[str, float], keys: list[str] | None = None) -> float:
    """Return the mean of the values, or of the named ones."""
    return round(float(np.mean([values[key] for key in keys] if keys else list(values.values()))), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="exported model")
    parser.add_argument("data", type=Path, help="unpacked evaluation sets")
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="leave retrieval out")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    embedder, started = Embedder(arguments.folder), time.monotonic()
    bitext = tatoeba(embedder, arguments.data)
    sts = similarity(embedder, arguments.data)
    result: dict = {
        "tatoeba_112": mean(bitext), "tatoeba_36": mean(bitext, XTREME_NAMES.split()), "sts_mean": mean(sts),
        "tatoeba": bitext, "sts": sts,
    }  # fmt: skip
    print({key: value for key, value in result.items() if isinstance(value, float)}, flush=True)
    embedder.forget()
    if not arguments.quick:
        sets = {}
        for folder in sorted(path.parent for path in (arguments.data / "retrieval").glob("*/corpus.jsonl")):
            sets[folder.name] = retrieval(embedder, folder)
            print(folder.name, sets[folder.name], f"{time.monotonic() - started:.0f} s", flush=True)
        native = [name for name in sets if not name.startswith("afriqa")]
        result |= {"retrieval_mean": mean(sets), "retrieval_mean_without_afriqa": mean(sets, native), "retrieval": sets}
    arguments.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
