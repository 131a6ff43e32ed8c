"""Memory and time of the loss stage, forward and backward, beside plain autograd on the same vectors.

Each figure comes from a process of its own: its peak memory during the loss, less what it held before (vectors, torch).
Plain autograd holds several (queries × documents) matrices, so it is measured at smaller batches, and its memory and
time at the largest are extrapolated with the square of the batch.

    python benchmarks/loss_memory.py

The last line is the JSON that is written to benchmarks/results/loss_memory_MACHINE_DATE.json.
"""

import argparse
import multiprocessing
import resource
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from harness import machine, results

from me5.training.loss import contrastive_loss
from me5.training.recipe import LossSettings
from me5.training.targets import Targets

DIM = 384


@dataclass(frozen=True)
class Figures:
    """Of one loss, forward and backward."""

    mebibytes: float
    wall: float
    cpu: float
    loss: float

    def times(self, factor: float) -> "Figures":
        """What the same would take for so many times the cells."""
        return Figures(self.mebibytes * factor, self.wall * factor, self.cpu * factor, float("nan"))


def vectors(count: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed))
    return F.normalize(drawn, dim=1).requires_grad_()


def compute(way: str, count: int) -> float:
    """A step's loss on vectors that are all different texts."""
    queries, documents = vectors(count, 0), vectors(count, 1)
    if way == "plain":
        loss = F.cross_entropy(queries @ documents.T / 0.01, torch.arange(count))
    else:
        targets = Targets(
            torch.arange(count), torch.arange(count) + count, torch.arange(count)[:, None].expand(count, 2).clone()
        )
        loss, _ = contrastive_loss(queries, documents, targets, LossSettings())
    loss.backward()
    return loss.item()


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(way: str, count: int, threads: int, answer: Connection) -> None:
    torch.set_num_threads(threads)
    compute(way, 64)  # loads what torch loads late
    held = [vectors(count, seed) for seed in (2, 3)]  # as the vectors of the step, which are not the loss's
    before, started, cpu = peak(), time.perf_counter(), time.process_time()
    del held
    loss = compute(way, count)
    answer.send(Figures(peak() - before, time.perf_counter() - started, time.process_time() - cpu, loss))


def measure(way: str, count: int, threads: int) -> Figures:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(way, count, threads, there))
    process.start()
    figures: Figures = here.recv()
    process.join()
    return figures


def report(run: dict[str, Any], way: str, count: int, figures: Figures, note: str) -> None:
    run["rows"].append({"way": way, "texts": count, **asdict(figures), "note": note})
    print(
        f"{way:<8} {count:>6,} × {count:<6,} peak {figures.mebibytes:>8,.0f} MiB  {figures.wall:>7,.1f} s  "
        f"{figures.cpu:>7,.1f} s of processors  {note}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=32_768)
    parser.add_argument("--plain", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    options = parser.parse_args()
    run = results.begin("loss_memory") | {"threads": options.threads, "dim": DIM, "rows": []}
    print(f"{machine.describe()}; {DIM} dimensions, float32, {options.threads} thread(s), query → document")
    for count in options.plain:
        for way in ("plain", "me5"):
            figures = measure(way, count, options.threads)
            report(run, way, count, figures, f"loss {figures.loss:.5f}")
            if way == "plain":
                plain = figures
    report(run, "plain", options.largest, plain.times((options.largest / count) ** 2), f"extrapolated from {count:,}")
    figures = measure("me5", options.largest, options.threads)
    report(run, "me5", options.largest, figures, f"loss {figures.loss:.5f}")
    print(f"other work on the machine: load average {machine.load_average():.1f}")
    print(results.save(run, options.out))


if __name__ == "__main__":
    main()
