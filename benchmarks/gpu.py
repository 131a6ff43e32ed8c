"""Measure text in, vectors out on a GPU: me5 in bf16, f16 and fp8 against sentence-transformers and transformers.

One command: without --model it writes XLM-R-large of true size with random weights first (1.1 GB, in the temporary
folder), with the bundled tokenizer and a word table of 250,002 rows. It measures the device's matrix ceilings, every
engine in a process of its own on lengths 16, 128, 512, mixed, and single queries, and a training step.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cuda:1 --model /tmp/me5-random-large --repeats 5
    python benchmarks/gpu.py --device torch-cpu --layers 2 --hidden 64 --quick --out /tmp/trial   # does it run at all?

Writes benchmarks/results/gpu_DEVICE_DATE.json; the last line on the screen is the JSON.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from encode import names
from harness import machine, results
from harness.catalogue import GPU_ENGINES
from harness.figures import summarize
from harness.gpu_report import TITLES, markdown
from harness.measure import Plan, measure_model
from harness.processes import environment
from harness.workloads import build, bundled_folder

HERE = Path(__file__).resolve().parent
# Texts of encode.py, times this: about 700,000 tokens of mixed lengths, a second for a large GPU.
TIMES = 170


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    engines = tuple(engine.name for engine in GPU_ENGINES)
    parser.add_argument("--device", default="cuda:0", help="cuda:N, or torch-cpu for a trial (default cuda:0)")
    parser.add_argument("--model", type=Path, help="a folder written by make_model.py (default: made now)")
    parser.add_argument("--layers", type=int, default=24, help="of the model that is made")
    parser.add_argument("--hidden", type=int, default=1024, help="of the model that is made")
    parser.add_argument("--workloads", type=names(tuple(TITLES)), default=list(TITLES), help=",".join(TITLES))
    parser.add_argument("--engines", type=names(engines), default=list(engines), help=",".join(engines))
    parser.add_argument("--repeats", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--batch", type=int, default=128, help="texts per batch of the peers (default 128)")
    parser.add_argument("--quick", action="store_true", help="a few texts, one round: only to try it out")
    parser.add_argument("--out", type=Path, default=results.RESULTS, help="folder for the JSON file")
    return parser.parse_args()


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def model_folder(args: argparse.Namespace) -> Path:
    """The given model, or one of the asked size, made once."""
    if args.model:
        return args.model.absolute()
    folder = Path(tempfile.gettempdir()) / f"me5-random-{args.layers}x{args.hidden}"
    if not (folder / "model.safetensors").is_file():
        tell(f"writing a random model to {folder}")
        vocabulary = "250002" if args.hidden >= 1024 else "0"
        command = [sys.executable, HERE / "make_model.py", folder, "--tokenizer", bundled_folder()]
        command += ["--vocabulary", vocabulary, "--layers", str(args.layers), "--hidden", str(args.hidden)]
        subprocess.run(command, check=True)
    return folder


def measure_device(args: argparse.Namespace, shape: dict[str, Any]) -> dict[str, Any]:
    """Ceilings and training steps, in a process of their own."""
    tell("matrix ceilings and a training step:")
    sizes = {
        "layers": shape["num_hidden_layers"],
        "hidden": shape["hidden_size"],
        "inner": shape["intermediate_size"],
        "vocabulary": shape["vocab_size"],
    }
    if args.quick:
        sizes |= {"tokens": 2048, "step-tokens": 1024}
    command = [sys.executable, "-m", "harness.device", "--device", args.device]
    command += [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    command += ["--least-s", "0.1"] if args.quick else []
    env = environment(len(machine.cpus()), args.device)
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything that the report tells."""
    folder = model_folder(args)
    shape = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    on_gpu = args.device.startswith("cuda")
    run = results.begin("gpu") | {
        "model": f"XLM-RoBERTa shape, {shape['num_hidden_layers']} layers of {shape['hidden_size']}, "
        f"{shape['vocab_size']:,} words, random weights",
        "trial": ("few texts, one round" if args.quick else "") if on_gpu else "CPU tensors in the place of a GPU",
        "repeats": 1 if args.quick else args.repeats,
        "device": measure_device(args, shape),
    }
    plan = Plan(
        engines=tuple(engine for engine in GPU_ENGINES if engine.name in args.engines),
        repeats=run["repeats"],
        cpus=machine.cpus(),
        batch=args.batch,
        cache=Path(tempfile.gettempdir()),
        python=sys.executable,
        pythons={},
        # Each engine's process ends with its turn: memory that one holds on the device would be missing to the next.
        reserve=machine.memory("MemTotal") if on_gpu else 0,
        tell=tell,
        device=args.device,
    )
    texts = build(args.workloads, folder, args.quick, 1 if args.quick else TIMES)
    run["data"] = summarize(texts, measure_model(plan, folder, texts))
    return run


def main() -> None:
    args = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the engines' processes are ended too
    run = measure(args)
    print(markdown(run))
    print(results.save(run, args.out, place=run["device"]["name"]))


if __name__ == "__main__":
    main()
