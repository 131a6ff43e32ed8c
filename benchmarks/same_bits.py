"""What it costs at bf16 that a text has the same vector to the bit in any company: even starts, and two other ways.

    python benchmarks/same_bits.py [MODEL] [--repeats 7]

`anywhere` lays sequences end to end, so that a vector depends on its neighbours; `even` starts them at even cells, as
me5 does; `float32` computes attention in float32, as me5 does on processors with AMX. Three workloads of token ids, all
ways in turns. Prints how many of the vectors equal those of the same sequences alone, tokens/s (medians), and last the
JSON that it writes to benchmarks/results/same_bits[_NAME]_MACHINE_DATE.json. MODEL is a folder, by default the bundled
model.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from harness import results
from harness.workloads import mixed_lengths

from me5.batching import plan
from me5.checkpoint import resolve
from me5.engine import openvino
from me5.engine.base import Float32, TokenIds
from me5.engine.openvino import OpenVinoEngine


def run(engine: OpenVinoEngine, sequences: list[TokenIds], budget: int) -> Float32:
    """Vectors of sequences in batches of so many cells."""
    vectors = np.empty((len(sequences), engine.dim), np.float32)
    for batch in plan([len(ids) for ids in sequences], budget, engine.stride):
        vectors[batch.order] = engine.embed([sequences[at] for at in batch.order])
    return vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--name", default="", help="the model's, in the file name (default: none)")
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    args = parser.parse_args()
    told = results.begin("same_bits")
    checkpoint = resolve(args.model)
    even = OpenVinoEngine(checkpoint, precision="bf16", threads=None)
    openvino._multiplies_tiles = lambda: True  # type: ignore[assignment]
    float32 = OpenVinoEngine(checkpoint, precision="bf16", threads=None)
    ways = {"anywhere": (even, 1), "even": (even, 2), "float32": (float32, 1)}
    random = np.random.default_rng(0)
    lengths = {
        "mixed": np.array(mixed_lengths(96, checkpoint.config.max_tokens, random)),
        "short": random.integers(8, 40, 192),
        "512": np.full(8, min(512, checkpoint.config.max_tokens)),
    }
    figures = []
    for workload, sizes in lengths.items():
        sequences = [random.integers(5, checkpoint.config.vocab_size, size) for size in sizes]
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        equal: dict[str, float] = {}
        for round_ in range(args.repeats + 1):
            for way, (engine, stride) in ways.items():  # in turns, so that a slow moment slows all
                engine.stride = stride
                started = time.perf_counter()
                vectors = run(engine, sequences, engine.batch_tokens)
                if round_:
                    seconds[way].append(time.perf_counter() - started)
                else:
                    alone = np.concatenate([run(engine, [ids], 1) for ids in sequences])
                    equal[way] = float((vectors == alone).all(axis=1).mean())
        rates = {way: sizes.sum() / statistics.median(taken) for way, taken in seconds.items()}
        for way, rate in rates.items():
            ratio = rate / rates["anywhere"]
            print(f"{workload:6} {way:9} {rate:8.0f} tokens/s  {ratio:.3f}  equal to the bit: {equal[way]:.1%}")
            figures.append({"workload": workload, "way": way, "rate": rate, "ratio": ratio, "equal": equal[way]})
    told |= {"model": args.name or checkpoint.name, "repeats": args.repeats, "figures": figures}
    print(results.save(told, args.out, args.name))


if __name__ == "__main__":
    main()
