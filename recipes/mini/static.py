"""Train static word vectors (a text is the mean of its tokens) with InfoNCE, as the start of the encoder."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from data import Pairs, Texts
from encoder import DIMENSIONS, info_nce, log, save_atomically
from tokenizers import Tokenizer

BATCH = 2048
PEAK_RATE = 0.1  # for word vectors that start as N(0, 1)
TEMPERATURE = 0.05
LIMITS = (64, 128)  # tokens of a query and of a positive


def bag(words: torch.Tensor, texts: Texts, rows: np.ndarray, limit: int) -> torch.Tensor:
    """Return the unit mean of the word vectors of each text."""
    parts = [texts[row][:limit] for row in rows]
    offsets = np.cumsum([0, *(len(part) for part in parts[:-1])])
    ids = torch.from_numpy(np.concatenate(parts).astype(np.int64))
    return F.normalize(F.embedding_bag(ids, words, torch.from_numpy(offsets), mode="mean"), dim=1)


def rate(progress: float) -> float:
    """Warm up over the first twentieth, then fall to zero in a line."""
    return PEAK_RATE * min(progress / 0.05, (1 - progress) / 0.95)


def train(run: Path, steps: int, minutes: float, seed: int) -> None:
    """Run `steps` steps, or as many as fit into `minutes`; the result is RUN/static.pt."""
    pairs = Pairs(run / "pairs.npz")
    size = Tokenizer.from_file(str(run / "tokenizer.json")).get_vocab_size()
    torch.manual_seed(seed)
    words = torch.nn.Parameter(torch.randn(size, DIMENSIONS))
    optimizer = torch.optim.Adam([words], lr=0.0, betas=(0.9, 0.99), eps=1e-12, fused=True)
    started, step, losses = time.monotonic(), 0, []
    while True:
        spent = (time.monotonic() - started) / 60
        progress = step / steps if steps else spent / minutes
        if progress >= 1:
            break
        optimizer.param_groups[0]["lr"] = rate(progress)
        rows, _, _ = pairs.draw(seed, step, BATCH)
        queries = bag(words, pairs.queries, rows, LIMITS[0])
        positives = bag(words, pairs.positives, rows, LIMITS[1])
        loss = info_nce(queries, positives, (pairs.query_hash[rows], pairs.positive_hash[rows]), TEMPERATURE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        step += 1
        if step % 50 == 0:
            log(run / "static.jsonl", step=step, loss=float(np.mean(losses[-50:])), progress=progress, minutes=spent)
    ids = np.concatenate([pairs.queries.ids, pairs.positives.ids])
    frequency = torch.from_numpy(np.bincount(ids, minlength=size)).float()
    save_atomically({"words": words.detach(), "frequency": frequency, "steps": step}, run / "static.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=0, help="number of steps; 0: as many as fit into --minutes")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    train(arguments.run, arguments.steps, arguments.minutes, arguments.seed)


if __name__ == "__main__":
    main()
