"""Train static word vectors (a text is the mean of its tokens) with InfoNCE: the yardstick, and key to the start."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer as FastTokenizer

from me5.data.dataset import Dataset
from me5.tokenizer import Tokenizer
from me5.training.batches import chosen
from me5.training.recipe import read_recipe
from me5.training.sampler import Sampler
from me5.training.tokens import open_store

DIMENSIONS = 384
BATCH, PARTS = 2048, 16
PEAK_RATE, LATER_RATE = 0.1, 0.02  # for word vectors that start as N(0, 1); for those that are trained
TEMPERATURE = 0.05


def bag(words: torch.Tensor, texts: list[np.ndarray]) -> torch.Tensor:
    """Return the unit mean of the word vectors of each text. One call, for each fills a gradient of the whole table."""
    offsets = np.cumsum([0, *(len(text) for text in texts[:-1])])
    flat = torch.from_numpy(np.concatenate(texts))
    return F.normalize(F.embedding_bag(flat, words, torch.from_numpy(offsets), mode="mean"), dim=1)


def info_nce(first: torch.Tensor, second: torch.Tensor, keys: np.ndarray, other: np.ndarray) -> torch.Tensor:
    """Return the loss in both directions; equal texts are no negatives of each other."""
    keys, other = torch.from_numpy(keys), torch.from_numpy(other)
    same = (keys[:, None] == keys) | (other[:, None] == other) | (keys[:, None] == other)
    same.fill_diagonal_(False)
    logits = (first @ second.T / TEMPERATURE).masked_fill(same, -1e4)
    target = torch.arange(len(first))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def rate(step: int, steps: int) -> float:
    """Warm up over the first twentieth, then fall to zero in a line."""
    return min(step / steps / 0.05, (1 - step / steps) / 0.95)


def train(run: Path, recipe_file: Path, steps: int, name: str, start: Path | None) -> None:
    """Train on the data of a recipe, from random vectors or those of a file; the result is RUN/NAME.safetensors."""
    recipe = read_recipe(recipe_file)
    file = run / "tokenizer" / "tokenizer.json"
    tokenizer = Tokenizer(file, 512)
    members, stores, shares, limits = [], [], [], []
    for data in recipe.data:
        store = open_store(Dataset.open(data.dataset), file, tokenizer, run / "cache", advance=lambda *_: None)
        groups = [rows for _, rows in chosen(data, store)]
        sizes = np.array([len(rows) for rows in groups], np.float64) ** data.alpha
        members += groups
        stores += [store] * len(groups)
        limits += [(data.query_tokens, data.document_tokens)] * len(groups)
        shares.append(sizes / sizes.sum() * data.weight)
    sampler = Sampler(
        [len(m) for m in members], np.concatenate(shares), seed=recipe.seed, steps=steps, batch=BATCH, parts=PARTS
    )
    torch.manual_seed(recipe.seed)
    begun = load_file(start)["words"] if start else torch.randn(tokenizer.vocabulary, DIMENSIONS)
    words, peak = torch.nn.Parameter(begun), LATER_RATE if start else PEAK_RATE
    optimizer = torch.optim.Adam([words], lr=0.0, betas=(0.9, 0.99), eps=1e-12, fused=True)
    began = time.monotonic()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = peak * rate(step, steps)
        first, second, keys, other = [], [], [], []
        for part in sampler.draw(step):
            store, limit = stores[part.group], limits[part.group]
            pairs = store.pairs[members[part.group][part.places]]
            left, right = store.queries[pairs[:, 0], 0], pairs[:, 1]
            first += [store.text(int(text), limit[0]) for text in left]
            second += [store.text(int(text), limit[1]) for text in right]
            keys.append(store.keys[left])
            other.append(store.keys[right])
        vectors = bag(words, first + second)
        loss = info_nce(*vectors.split(len(first)), np.concatenate(keys), np.concatenate(other))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            entry = {"step": step + 1, "loss": loss.item(), "minutes": (time.monotonic() - began) / 60}
            with (run / f"{name}.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(entry) + "\n")
            print(entry, flush=True)
    save_file({"words": words.detach()}, run / f"{name}.safetensors")
    # As a folder of sentence-transformers, so that `me5 eval run --model st:RUN/NAME` can judge it.
    module = StaticEmbedding(FastTokenizer.from_file(str(file)), embedding_weights=words.detach())
    SentenceTransformer(modules=[module], device="cpu").save(str(run / name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("recipe", type=Path, help="a recipe whose [[data]] is trained on")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--name", default="static")
    parser.add_argument("--start", type=Path, help="a file of word vectors to go on from")
    arguments = parser.parse_args()
    train(arguments.run, arguments.recipe, arguments.steps, arguments.name, arguments.start)


if __name__ == "__main__":
    main()
