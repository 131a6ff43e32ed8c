"""One trainer, some steps, in a process of its own; one JSON line out.

    python -m harness.trainers --trainer me5 --work FOLDER --model FOLDER --precision bf16 --batch 64 --steps 8 ...

Both learn the same pairs with InfoNCE at temperature 0.05, AdamW, dropout as the checkpoint has it, clipped gradients.
Tokens are those of the texts and their special tokens; padding counts as nothing. The first steps are not timed.
"""

import argparse
import json
import resource
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

UNTIMED = 2
TRAINERS = ("me5", "me5-cached", "st", "st-cached")


@dataclass
class Clock:
    """When steps began and ended, and how many tokens each had."""

    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    computed_in: str = "unknown"

    def figures(self) -> dict[str, Any]:
        """Seconds with all that happens between steps, and seconds of the steps alone."""
        tokens = self.tokens[UNTIMED:]
        return {
            "tokens": sum(tokens),
            "seconds": self.ended[-1] - self.ended[UNTIMED - 1],
            "step_seconds": sum(self.ended[UNTIMED:]) - sum(self.began[UNTIMED:]),
            "losses": self.losses,
            "computed_in": self.computed_in,
        }

    def watch(self, network: torch.nn.Module) -> None:
        """Note what the first matrix product of the network really gives: autocast is seen there only."""

        def note(_: torch.nn.Module, __: Any, output: torch.Tensor) -> None:
            self.computed_in = str(output.dtype).removeprefix("torch.")

        next(module for module in network.modules() if isinstance(module, torch.nn.Linear)).register_forward_hook(note)


def train_me5(args: argparse.Namespace) -> Clock:
    from me5.training.loop import Trainer
    from me5.training.recipe import read_recipe

    recipe = args.work / f"me5-{args.precision}-{args.trainer}.toml"
    # Without a limit everything goes through the network at once, as in plain training.
    tokens = args.chunk_tokens if args.trainer == "me5-cached" else 1 << 40
    recipe.write_text(
        f"""
        name = "benchmark"
        steps = {args.steps + UNTIMED}
        precision = "{args.precision}"
        model = {{ start = "{args.model}", prompts = "none", max_tokens = {args.max_tokens} }}
        data = [{{ dataset = "pairs", query_tokens = {args.max_tokens}, document_tokens = {args.max_tokens} }}]
        batch = {{ size = {args.batch}, tokens = {tokens} }}
        loss = {{ temperature = 0.05 }}
        optimizer = {{ rate = 2e-5, warmup = 1 }}
        """,
        encoding="utf-8",
    )
    trainer, clock = Trainer(read_recipe(recipe), args.work / "cache", advance=lambda texts, tokens: None), Clock()  # noqa: ARG005
    clock.watch(trainer.encoder)
    source = trainer.feed.ahead(range(args.steps + UNTIMED), trainer.device)
    for step in range(args.steps + UNTIMED):
        clock.began.append(time.perf_counter())
        told = trainer.step(step, source)
        synchronise()
        clock.ended.append(time.perf_counter())
        clock.tokens.append(told.tokens)
        clock.losses.append(told.loss)
    return clock


def train_sentence_transformers(args: argparse.Namespace) -> Clock:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import CachedMultipleNegativesRankingLoss, MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    clock = Clock()
    kind = CachedMultipleNegativesRankingLoss if args.trainer == "st-cached" else MultipleNegativesRankingLoss

    class Counted(kind):
        """The loss, which also sees how many tokens come in and what comes out."""

        def forward(self, sentence_features: Any, labels: Any) -> torch.Tensor:
            features = list(sentence_features)
            clock.tokens.append(sum(int(column["attention_mask"].sum()) for column in features))
            loss = super().forward(features, labels)
            clock.losses.append(float(loss.detach()))
            return loss

    class Watch(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.began.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            synchronise()
            clock.ended.append(time.perf_counter())

    model = SentenceTransformer(str(args.model), device="cpu" if args.device == "cpu" else "cuda")
    model.max_seq_length = args.max_tokens
    clock.watch(model)
    loss = Counted(model, **({"mini_batch_size": args.chunk_texts} if args.trainer == "st-cached" else {}))
    rows = pq.read_table(args.work / "pairs.parquet").to_pydict()
    settings = SentenceTransformerTrainingArguments(
        output_dir=str(args.work / "st"), max_steps=args.steps + UNTIMED, per_device_train_batch_size=args.batch,
        learning_rate=2e-5, warmup_steps=1, weight_decay=0.01, bf16=args.precision == "bf16",
        use_cpu=args.device == "cpu",
        save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True, seed=0,
        dataloader_pin_memory=args.device != "cpu",
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        model=model, args=settings, loss=loss, callbacks=[Watch()],
        train_dataset=Dataset.from_dict({"anchor": rows["query"], "positive": rows["positive"]}),
    )  # fmt: skip
    trainer.train()
    return clock


def synchronise() -> None:
    """A GPU's work is done when it says so."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainer", choices=TRAINERS, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--precision", choices=("f32", "bf16"), required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    for name in ("batch", "steps", "max-tokens", "chunk-tokens", "chunk-texts", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = (train_me5 if args.trainer.startswith("me5") else train_sentence_transformers)(args)
    result = clock.figures()
    # Of Linux, in KiB.
    result["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if args.device == "cuda":
        result["device"] = torch.cuda.get_device_name()
        result["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
