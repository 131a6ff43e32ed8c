"""The matrix products of one XLM-R-large layer alone, at the size of a packed batch: what no encoder here can exceed.

    python benchmarks/ceiling.py [--threads 2]

Prints GFLOP/s, and the tokens/s that they would give at 606 MFLOP per token (24 layers of 12.6 M weights, 2 operations
each), through torch's oneDNN. One JSON line last.
"""

import argparse
import json
import statistics
import time

import torch

TOKENS, HIDDEN, INNER = 1152, 1024, 4096
SHAPES = [(HIDDEN, HIDDEN)] * 4 + [(INNER, HIDDEN), (HIDDEN, INNER)]
FLOP_PER_TOKEN = 606e6


def measure(dtype: torch.dtype, repeats: int) -> float:
    """Median GFLOP/s over repeats of all six products of a layer, with other weights each time."""
    layers = [[torch.randn(shape).to(dtype) for shape in SHAPES] for _ in range(6)]
    inputs = {width: torch.randn(TOKENS, width).to(dtype) for width in (HIDDEN, INNER)}
    operations = sum(2 * TOKENS * rows * columns for rows, columns in SHAPES) * len(layers)
    speeds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        for layer in layers:
            for weight in layer:
                torch.nn.functional.linear(inputs[weight.shape[1]], weight)
        speeds.append(operations / (time.perf_counter() - started) / 1e9)
    return statistics.median(speeds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result: dict[str, float] = {}
    for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
        result[name] = round(measure(dtype, options.repeats))
        print(f"{name:5} {result[name]:6.0f} GFLOP/s = {result[name] * 1e9 / FLOP_PER_TOKEN:6.0f} tokens/s at most")
    print(json.dumps({"benchmark": "ceiling", "threads": options.threads, "gflops": result}))


if __name__ == "__main__":
    main()
