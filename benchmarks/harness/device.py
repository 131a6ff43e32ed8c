"""What a device can do at most, and what a training step makes of it. A process of its own; one JSON line out.

    python -m harness.device --device cuda --layers 24 --hidden 1024 --inner 4096 --tokens 65536

Ceilings are the matrix products of one layer alone, in TFLOP/s. A step is forward and backward of the encoder that
training uses, mixed lengths, bfloat16 by autocast, without and with gradient checkpointing.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from harness.workloads import SEED, mixed_lengths
from me5.checkpoint import ModelConfig
from me5.model.encoder import Encoder, Linear
from me5.model.float8 import Float8Linear, quantise
from me5.model.sequences import Sequences, concatenate

LEAST_S = 1.0
WARM = 3


def median_seconds(work: Callable[[], object], device: torch.device, least_s: float) -> float:
    """Of whole runs, the device waited for; not fewer than 5."""
    for _ in range(WARM):
        work()
    seconds: list[float] = []
    while sum(seconds) < least_s or len(seconds) < 5:
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ceiling(config: ModelConfig, device: torch.device, dtype: torch.dtype, tokens: int, least_s: float) -> float:
    """TFLOP/s of the four products of a layer, with other weights in each of several layers."""
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = [(3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner)]
    linears = [[Linear(columns, rows, device=device) for rows, columns in shapes] for _ in range(4)]
    if dtype == torch.float8_e4m3fn:
        runs: list[Callable[[], object]] = [scaled(linear, tokens) for layer in linears for linear in layer]
    else:
        inputs = {width: torch.randn(tokens, width, device=device, dtype=dtype) for width in (hidden, inner)}
        runs = [partial(linear.to(dtype), inputs[linear.in_features]) for layer in linears for linear in layer]
    operations = len(linears) * sum(2 * tokens * rows * columns for rows, columns in shapes)
    with torch.inference_mode():
        seconds = median_seconds(lambda: [run() for run in runs], device, least_s)
    return operations / seconds / 1e12


def scaled(linear: Linear, tokens: int) -> Callable[[], object]:
    """A float8 product alone, its input rounded beforehand."""
    module = Float8Linear(linear)
    x, scale = quantise(torch.randn(tokens, linear.in_features, device=linear.weight.device))
    return lambda: torch._scaled_mm(
        x, module.weight.t(), scale, module.scale, module.bias, out_dtype=torch.bfloat16, use_fast_accum=True
    )


def operations(config: ModelConfig, lengths: list[int]) -> float:
    """Of a forward pass: products with weights, and queries with keys and values within each sequence."""
    hidden = config.hidden_size
    weights = 4 * hidden * hidden + 2 * hidden * config.intermediate_size
    return config.layers * (2.0 * weights * sum(lengths) + 4.0 * hidden * sum(length**2 for length in lengths))


def step(
    config: ModelConfig, device: torch.device, tokens: int, least_s: float, *, checkpointing: bool, compiled: bool
) -> dict[str, float]:
    """Forward and backward; operations count three forward passes, the recomputed one not: as MFU is defined."""
    encoder = Encoder(config).to(device).train()
    encoder.checkpointing = checkpointing
    if compiled:
        encoder.compile_fused()
    lengths, packed = batch(config, device, tokens)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def work() -> None:
        encoder.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            vectors = encoder.embed(packed)
        (vectors * weights).sum().backward()

    weights = torch.randn(len(lengths), config.hidden_size, device=device)
    seconds = median_seconds(work, device, least_s)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return {
        "tokens_per_s": sum(lengths) / seconds,
        "tflops": 3 * operations(config, lengths) / seconds / 1e12,
        "gpu_peak_bytes": peak,
        "tokens": sum(lengths),
    }


def batch(config: ModelConfig, device: torch.device, tokens: int) -> tuple[list[int], Sequences]:
    """About so many tokens in sequences of mixed lengths, the longest first."""
    random = np.random.default_rng(SEED)
    lengths = mixed_lengths(max(1, tokens // 85), config.max_tokens, random)  # their mean is about 85
    lengths.sort(reverse=True)
    ids = [random.integers(0, config.vocab_size, length) for length in lengths]
    return lengths, concatenate(ids, config.first_position).to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    for name, default in (("layers", 24), ("hidden", 1024), ("inner", 4096), ("tokens", 65536), ("step-tokens", 16384)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--vocabulary", type=int, default=250_002)
    parser.add_argument("--least-s", type=float, default=LEAST_S)
    args = parser.parse_args()
    device = torch.device(args.device.removeprefix("torch-"))
    config = ModelConfig(
        body="xlm-roberta", vocab_size=args.vocabulary, hidden_size=args.hidden, layers=args.layers,
        heads=args.hidden // 64, intermediate_size=args.inner, max_positions=514, type_vocab_size=1,
        layer_norm_eps=1e-5, first_position=2, pooling="mean", max_tokens=512, hidden_dropout=0.0,
        attention_dropout=0.0,
    )  # fmt: skip
    result: dict[str, object] = {"name": "CPU", "torch": torch.__version__}
    kinds = {"bf16": torch.bfloat16, "f16": torch.float16}
    if device.type == "cuda":
        result["name"] = torch.cuda.get_device_name(device)
        result["gpus"] = torch.cuda.device_count()
        if torch.cuda.get_device_capability(device) >= (8, 9):
            kinds["fp8"] = torch.float8_e4m3fn
    result["ceilings"] = {
        name: ceiling(config, device, kind, args.tokens, args.least_s) for name, kind in kinds.items()
    }
    result["operations_per_token"] = {
        name: operations(config, lengths) / sum(lengths)
        for name, lengths in {
            "16": [16],
            "128": [128],
            "512": [512],
            "mixed": batch(config, device, args.tokens)[0],
        }.items()
    }
    result["steps"] = {
        name: step(
            config, device, args.step_tokens, args.least_s, checkpointing=checkpointing, compiled=device.type == "cuda"
        )
        for name, checkpointing in (("plain", False), ("checkpointing", True))
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
