"""Train the encoder with InfoNCE from the static vectors; the last part weighs questions and given negatives more."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from data import Pairs
from encoder import POSITIONS, embed, info_nce, log, pad_batch, save_atomically, warm_start
from prompts import SYMMETRIC, choose, instruct
from tokenizers import Tokenizer
from transformers import XLMRobertaModel

# The mixture of the last part: retrieval decides there, bitext only keeps the languages together.
FINAL_SHARE = {"parallel": 0.30, "ui": 0.03, "term": 0.05, "title-body": 0.22, "qa": 0.37, "paraphrase": 0.03}
SHORT = 48  # tokens of a query, a sentence or a term, without the prompt


@dataclass(frozen=True)
class Settings:
    """What a run is made of; stored with the checkpoint."""

    steps: int
    minutes: float
    seed: int
    peak_rate: float = 1e-3
    word_rate: float = 1e-3
    temperature: float = 0.03
    tokens: int = 12_288  # per step, both sides, without negatives
    most_pairs: int = 256
    final_part: float = 0.75  # progress at which the final mixture begins
    save_minutes: float = 3.0


@dataclass
class Batch:
    """Token ids of one step and the hashes that tell equal texts."""

    queries: torch.Tensor
    positives: torch.Tensor
    hashes: tuple[np.ndarray, np.ndarray]
    negatives: torch.Tensor | None
    negative_hash: np.ndarray | None
    shifts: tuple[torch.Tensor, torch.Tensor]


class Batches:
    """Turns drawn rows into padded batches with prompts."""

    def __init__(self, pairs: Pairs, tokenizer: Tokenizer, settings: Settings) -> None:
        self.pairs, self.tokenizer, self.settings = pairs, tokenizer, settings
        self.prefixes: dict[str, np.ndarray] = {}

    def prefix(self, task: str) -> np.ndarray:
        """Return the token ids of a prompt; it ends before the text's first piece, which carries its own mark."""
        if task not in self.prefixes:
            ids = self.tokenizer.encode(instruct(task).rstrip(" "), add_special_tokens=False).ids if task else []
            self.prefixes[task] = np.array(ids, dtype=np.uint16)
        return self.prefixes[task]

    def shift(self, ids: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Move half of the texts to a random place, so that all 512 positions are trained."""
        room = POSITIONS - ids.shape[1]
        moved = rng.integers(0, room + 1, len(ids)) * (rng.random(len(ids)) < 0.5)
        return torch.from_numpy(moved)

    def hard(self, rows: np.ndarray, limit: int, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
        """Return one given negative for each row that has any."""
        start = self.pairs.negative_start
        texts = []
        for row in rows:
            if start[row + 1] > start[row]:
                texts.append(self.pairs.negatives[int(rng.integers(start[row], start[row + 1]))][:limit])
        texts = [text for text in texts if len(text)]
        return texts, np.array([content(text) for text in texts], dtype=np.int64)

    def make(self, step: int, final: bool) -> Batch:
        """Build the batch of a step."""
        pairs, settings = self.pairs, self.settings
        rows, kind, rng = pairs.draw(settings.seed, step, settings.most_pairs)
        symmetric = kind in SYMMETRIC
        task, both = choose(kind, rng)
        long = 192 if final and rng.random() < 0.25 else 112
        limits = (SHORT, SHORT if symmetric else long)
        first = [pairs.queries[row][: limits[0]] for row in rows]
        second = [pairs.positives[row][: limits[1]] for row in rows]
        prefix = self.prefix(task)
        width = max(map(len, first)) + max(map(len, second)) + len(prefix) * (1 + both) + 4
        count = max(min(len(rows), settings.tokens // width), 8)
        rows, first, second = rows[:count], first[:count], second[:count]
        hashes = (pairs.query_hash[rows], pairs.positive_hash[rows])
        if symmetric and rng.random() < 0.5:
            first, second, hashes = second, first, hashes[::-1]
        hard, hard_hash = self.hard(rows, limits[1], rng) if final and kind == "qa" else ([], np.zeros(0))
        if hard:  # the hash of a negative is over its tokens, so the positives' must be too
            hashes = (hashes[0], np.array([content(text) for text in second], dtype=np.int64))
        queries = pad_batch([np.concatenate([prefix, text]) for text in first], POSITIONS)
        positives = pad_batch([np.concatenate([prefix, text]) if both else text for text in second], POSITIONS)
        return Batch(
            queries, positives, hashes,
            pad_batch(hard, POSITIONS) if hard else None, hard_hash if hard else None,
            (self.shift(queries, rng), self.shift(positives, rng)),
        )  # fmt: skip


def content(text: np.ndarray) -> int:
    """Return a hash of token ids."""
    return hash(text.tobytes()) >> 1


def parameter_groups(model: XLMRobertaModel, settings: Settings) -> list[dict]:
    """Weight decay on matrices of the layers alone; the word table has its own rate."""
    word = [model.embeddings.word_embeddings.weight]
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("encoder")]
    rest = [
        p for n, p in model.named_parameters() if not (p.ndim == 2 and n.startswith("encoder")) and p is not word[0]
    ]
    return [
        {"params": word, "peak": settings.word_rate, "weight_decay": 0.0},
        {"params": matrices, "peak": settings.peak_rate, "weight_decay": 0.01},
        {"params": rest, "peak": settings.peak_rate, "weight_decay": 0.0},
    ]


class Trainer:
    """The training loop with its checkpoint."""

    def __init__(self, run: Path, settings: Settings) -> None:
        self.run, self.settings, self.step, self.minutes = run, settings, 0, 0.0
        static = torch.load(run / "static.pt", weights_only=True)
        self.model = warm_start(static["words"], static["frequency"])
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, settings), lr=0.0, betas=(0.9, 0.98), eps=1e-9, fused=True
        )
        tokenizer = Tokenizer.from_file(str(run / "tokenizer.json"))
        self.batches = Batches(Pairs(run / "pairs.npz"), tokenizer, settings)
        checkpoint = run / "checkpoint.pt"
        if checkpoint.exists():
            state = torch.load(checkpoint, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.minutes = state["step"], state["minutes"]
            print(f"resumed at step {self.step}", flush=True)

    def save(self) -> None:
        """Write the checkpoint: everything that resuming needs."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        state |= {"step": self.step, "minutes": self.minutes, "settings": asdict(self.settings)}
        save_atomically(state, self.run / "checkpoint.pt")

    def progress(self) -> float:
        """Return the done share of the run, by steps where their number is given, else by time."""
        settings = self.settings
        return self.step / settings.steps if settings.steps else self.minutes / settings.minutes

    def one_step(self, progress: float) -> tuple[float, int]:
        """Do one update; return the loss and the number of tokens."""
        settings = self.settings
        batch = self.batches.make(self.step, progress >= settings.final_part)
        scale = min(progress / 0.04, (1 - progress) / 0.96)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * scale
        queries = embed(self.model, batch.queries, batch.shifts[0])
        positives = embed(self.model, batch.positives, batch.shifts[1])
        negatives = embed(self.model, batch.negatives) if batch.negatives is not None else None
        loss = info_nce(queries, positives, batch.hashes, settings.temperature, negatives, batch.negative_hash)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        extra = 0 if batch.negatives is None else batch.negatives.numel()
        return loss.item(), batch.queries.numel() + batch.positives.numel() + extra

    def loop(self) -> None:
        """Train to the end, logging every 20 steps and saving every few minutes."""
        losses, tokens, last_save, last_log = [], 0, time.monotonic(), time.monotonic()
        earlier, started, final = self.minutes, time.monotonic(), False
        self.model.train()
        while (progress := self.progress()) < 1:
            if progress >= self.settings.final_part and not final:
                self.batches.pairs.reweigh(FINAL_SHARE)
                final = True
            loss, count = self.one_step(progress)
            losses.append(loss)
            tokens += count
            now = time.monotonic()
            self.minutes = earlier + (now - started) / 60
            if self.step % 20 == 0:
                log(
                    self.run / "train.jsonl", step=self.step, loss=float(np.mean(losses)),
                    rate=self.optimizer.param_groups[1]["lr"], tokens_per_second=tokens / (now - last_log),
                    minutes=self.minutes, eta=self.minutes / max(self.progress(), 1e-6) - self.minutes,
                )  # fmt: skip
                losses, tokens, last_log = [], 0, now
            if now - last_save > 60 * self.settings.save_minutes:
                self.save()
                last_save = now
        self.save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=0, help="number of steps; 0: as many as fit into --minutes")
    parser.add_argument("--minutes", type=float, default=45.0)
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    Trainer(arguments.run, Settings(arguments.steps, arguments.minutes, arguments.seed)).loop()


if __name__ == "__main__":
    main()
