"""The matrix products of one XLM-R-large layer alone, at the size of a packed batch: what no encoder here can exceed.

    python benchmarks/ceiling.py [--threads 2]

Prints the operations per second of each, and the tokens/s that they would give at 606 MFLOP per token (24 layers of
12.6 M weights, 2 operations each): float32 and bfloat16 through torch's oneDNN, int8 through OpenVINO's, which alone
has products of bytes with scales fused. `int8` is one after another, as in a layer, with levels that are fixed;
`int8 group` has a scale per token and group of 128 activations, as OpenVINO chooses them by itself. All in turns. The
last line is the JSON that is written to benchmarks/results/ceiling_MACHINE_DATE.json.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import results

TOKENS, HIDDEN, INNER = 1152, 1024, 4096
SHAPES = [(HIDDEN, HIDDEN)] * 4 + [(INNER, HIDDEN), (HIDDEN, INNER)]
LAYERS = 6
FLOP_PER_TOKEN = 606e6
OPERATIONS = LAYERS * sum(2 * TOKENS * rows * columns for rows, columns in SHAPES)


def by_torch(dtype: torch.dtype) -> Callable[[], object]:
    """All products of six layers, with other weights each."""
    weights = [torch.randn(shape).to(dtype) for _ in range(LAYERS) for shape in SHAPES]
    inputs = {width: torch.randn(TOKENS, width).to(dtype) for width in (HIDDEN, INNER)}
    return lambda: [torch.nn.functional.linear(inputs[weight.shape[1]], weight) for weight in weights]


def by_openvino(threads: int, group: int) -> Callable[[], object]:
    """The same of bytes, each product entering the next. `group` 0: levels that are fixed."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino as ov
    from openvino import opset13 as op

    random = np.random.default_rng(0)
    edges = [op.constant(np.full((1, 1), edge, np.float32)) for edge in (-128, 127)]
    x = entering = op.parameter([-1, HIDDEN], np.float32)
    for shape in SHAPES * LAYERS:
        whole = random.integers(-127, 128, shape).astype(np.int8)
        scale = np.full((shape[0], 1), 1 / 73 / shape[1] ** 0.5, np.float32)  # so that the next has the same range
        weights = op.multiply(op.convert(op.constant(whole), np.float32), op.constant(scale))
        x = op.matmul(x if group else op.fake_quantize(x, *edges, *edges, 256), weights, False, True)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if group:
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = str(group)
    model = ov.Model([op.result(x)], [entering], "products")
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    inputs = random.normal(0, 40, (TOKENS, HIDDEN)).astype(np.float32)
    return lambda: request.infer([inputs], share_inputs=True, share_outputs=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    options = parser.parse_args()
    run = results.begin("ceiling") | {"threads": options.threads, "repeats": options.repeats}
    torch.set_num_threads(options.threads)
    ways = {
        "f32": by_torch(torch.float32),
        "bf16": by_torch(torch.bfloat16),
        "int8": by_openvino(options.threads, 0),
        "int8 group": by_openvino(options.threads, 128),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(options.repeats + 1):
        for name, compute in ways.items():
            started = time.perf_counter()
            compute()
            if round_:
                seconds[name].append(time.perf_counter() - started)
    result = {name: round(OPERATIONS / statistics.median(taken) / 1e9) for name, taken in seconds.items()}
    for name, speed in result.items():
        print(
            f"{name:10} {speed:6.0f} GFLOP/s = {speed * 1e9 / FLOP_PER_TOKEN:6.0f} tokens/s at most, "
            f"{speed / result['bf16']:.2f} x bf16"
        )
    print(results.save(run | {"gflops": result}, options.out))


if __name__ == "__main__":
    main()
