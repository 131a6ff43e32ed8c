"""What kills cost: commands and the service's engine killed again and again, beside runs without a kill.

    python benchmarks/kills.py                              # 10 kills of each, 20 of indexing with 1 and 2 writers
    python benchmarks/kills.py --cases train,worker --kills 50

    index     `me5 index`, one writer and two over the same files: a round kills all as soon as the store has grown
    train     `me5 train` with evaluations on the way
    mine      `me5 data mine`
    score     `me5 data score`
    evaluate  `me5 eval run` with its cache of vectors
    worker    the engine's process of `me5 serve`, under load

The material is the toy of recipes/toy. Every command is killed one to three times at random moments, then completed;
what is lost, left behind (files, processes) or differs from a run without a kill is counted, in any bit but those that
tell times, and written to benchmarks/results/kills_MACHINE_DATE.json. Ends with status 1 where there is any such thing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import results
from harness.killed_commands import Task, kill_command
from harness.killed_index import kill_index
from harness.killed_worker import kill_worker

ROOT = Path(__file__).resolve().parents[1]
CASES = ("index", "train", "mine", "score", "evaluate", "worker")
DAMAGE = ("lost", "doubled", "left_behind", "differ", "vectors_that_differ", "processes_left")
RECIPE = """
name = "toy"
seed = 1
steps = 16
precision = "f32"
save_every = 3

[model]
start = "random"
shape = { layers = 2, hidden = 64, heads = 4, intermediate = 128 }
tokenizer = "tokenizer"
prompts = "prefix"
max_tokens = 64
dropout = 0.1

[[data]]
dataset = "pairs"
symmetric = true

[batch]
size = 32
tokens = 1024

[loss]
temperature = 0.05

[optimizer]
rate = 3e-3
warmup = 4

[evaluation]
paths = ["eval/bitext"]
every = 6
"""


def prepare(toy: Path) -> None:
    """Data, tokenizer and a checkpoint to work with."""
    toy.mkdir()
    (toy / "recipe.toml").write_text(RECIPE, "utf-8")
    subprocess.run([sys.executable, str(ROOT / "recipes" / "toy" / "make_data.py"), "."], cwd=toy, check=True)
    for arguments in (
        ("data", "read", "pairs.jsonl", "--out", "pairs"),
        ("data", "read", "questions.jsonl", "--out", "questions"),
        ("data", "tokenizer", "pairs", "questions", "--pieces", "600", "--prompts", "prefix", "--out", "tokenizer"),
        ("train", "recipe.toml", "--out", "run", "--cache", "cache"),
        ("data", "mine", "questions", "--model", "run/model", "--number", "3", "--depth", "50", "--out", "mined"),
    ):
        Task("prepare", arguments).complete(toy)


def tasks(toy: Path) -> dict[str, Task]:
    """The commands that are killed, by case."""
    model = str(toy / "run" / "model")
    mine = ("--model", model, "--number", "3", "--depth", "50", "--out", "mined", "--overwrite", "--quiet")
    score = ("--teacher", model, "--out", "scored", "--overwrite", "--quiet")
    evaluate = ("--model", model, "--no-bm25", "--cache", "vectors", "--out", "results", "--quiet")
    found = {
        "train": ("train", str(toy / "recipe.toml"), "--out", "run", "--cache", "cache", "--quiet"),
        "mine": ("data", "mine", str(toy / "questions"), *mine),
        "score": ("data", "score", str(toy / "mined"), *score),
        "evaluate": ("eval", "run", str(toy / "eval"), *evaluate),
    }
    return {name: Task(name, arguments) for name, arguments in found.items()}


def case(name: str, toy: Path, asked: argparse.Namespace) -> list[str]:
    """Its results, a line of JSON each."""
    folder = toy.parent
    if name == "index":
        settings = (asked.kills or 20, asked.files, asked.rows, asked.precision)
        return [kill_index(folder, writers, *settings) for writers in (1, 2)]
    if not toy.exists():
        prepare(toy)
    kills = asked.kills or 10
    if name == "worker":
        lines = (toy / "pairs.jsonl").read_text("utf-8").splitlines()[:64]
        texts = [" ".join(json.loads(line).values()) for line in lines]
        return [kill_worker(toy / "run" / "model", texts, folder, kills)]
    return [kill_command(tasks(toy)[name], folder, kills).report()]


def main() -> int:
    """Kill, complete, compare, tell."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", default=",".join(CASES), help=f"of {', '.join(CASES)}")
    options.add_argument("--kills", type=int, help="of each case (default: 20 of indexing, 10 of others)")
    options.add_argument("--files", type=int, default=12, help="to index")
    options.add_argument("--rows", type=int, default=400, help="of each file to index")
    options.add_argument("--precision", default="auto", help="of indexing")
    options.add_argument("--out", type=Path, default=results.RESULTS)
    asked = options.parse_args()
    damaged = False
    run = results.begin("kills") | {"cases": []}
    with tempfile.TemporaryDirectory(prefix="me5-kills-") as place:
        for name in asked.cases.split(","):
            for line in case(name, Path(place, "toy"), asked):
                print(line, flush=True)
                run["cases"].append(json.loads(line))
                damaged |= any(run["cases"][-1].get(kind) for kind in DAMAGE)
                results.save(run, asked.out)
    return int(damaged)


if __name__ == "__main__":
    sys.exit(main())
