"""How long a person waits for `me5 score` in a fresh process: start, import, load the bundled model, embed, print.

    python benchmarks/cold_start.py [--repeats 15]

Prints the parts and the whole, medians in seconds, and last the JSON that it writes to
benchmarks/results/cold_start_MACHINE_DATE.json. The files are in the page cache (one run before the first counted one).
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from harness import results

PARTS = {
    "python alone": "pass",
    "import me5": "import me5",
    "load the bundled model": "import me5; me5.Embedder.load()",
    "load and embed three texts": "import me5; me5.Embedder.load().encode_document(['a', 'b', 'c'])",
}
SCORE = ["-m", "me5", "score", "-q", "how tall is K2?", "-d", "K2 rises to 8,611 metres.", "-d", "Bake for an hour."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    options = parser.parse_args()
    run = results.begin("cold_start") | {"repeats": options.repeats}
    commands = {name: ["-c", code] for name, code in PARTS.items()} | {"me5 score, in all": SCORE}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(options.repeats + 1):
        for name, arguments in commands.items():  # in turns, so that a slow moment slows all
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            if round_:
                seconds[name].append(time.perf_counter() - started)
    run["seconds"] = {
        name: {"median": statistics.median(values), "least": min(values), "most": max(values)}
        for name, values in seconds.items()
    }
    for name, told in run["seconds"].items():
        print(f"{name:28} {told['median']:.3f} s   (min {told['least']:.3f}, max {told['most']:.3f})")
    print(results.save(run, options.out))


if __name__ == "__main__":
    main()
