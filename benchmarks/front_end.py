"""The tokenizer alone: kitoken, as me5 uses it, against `tokenizers`, on the bundled vocabulary, in turns.

    python benchmarks/front_end.py FILE… [--repeats 5]

FILE are texts, one a line; their ids are compared first. Prints tokens a second of processor time on one thread, the
processor time of opening a vocabulary and of dropping it, the memory that each takes in a fresh process, and last the
JSON that it writes to benchmarks/results/front_end_MACHINE_DATE.json.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness import results

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from me5 import unigram
from me5.checkpoint import BUNDLED_FILE
from me5.encoding import Encoder
from me5.gguf import header
from me5.gguf import tokenizer as gguf

_BATCH = 500
_OPENED = {
    "kitoken": "from me5 import unigram; opened = unigram.Unigram(terms)",
    "tokenizers": "opened = gguf.build(terms)",
}
_MEMORY = """
import ctypes, gc
from me5.checkpoint import BUNDLED_FILE
from me5.gguf import header, tokenizer as gguf
terms = gguf.read(header.read(BUNDLED_FILE))
def resident():
    gc.collect(); ctypes.CDLL(None).malloc_trim(0)
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
{opened}
print(resident() - before)
"""


def spent(work: Callable[[], object]) -> float:
    """Seconds of processor time; what `work` returns is dropped within them."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    given = parser.parse_args()
    run = results.begin("front_end")
    unigram._THREADS = 1
    texts = [line for file in given.files for line in file.read_text(encoding="utf-8").splitlines() if line]
    batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
    terms = gguf.read(header.read(BUNDLED_FILE))
    fast, slow = unigram.Unigram(terms), Encoder(BUNDLED_FILE).library

    def by_library(batch: list[str]) -> list[list[int]]:
        return [found.ids for found in slow.encode_batch_fast(batch, add_special_tokens=False)]

    tokens = differing = left = 0
    for batch in batches:
        for ids, expected in zip(fast.encode(batch), by_library(batch), strict=True):
            tokens, left = tokens + len(expected), left + (ids is None)
            differing += ids not in (None, expected)
    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "kitoken": (lambda: [fast.encode(batch) for batch in batches], lambda: unigram.Unigram(terms)),
        "tokenizers": (lambda: [by_library(batch) for batch in batches], lambda: gguf.build(terms)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    opening: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.repeats):
        for name, (encode, build) in ways.items():
            rates[name].append(tokens / spent(encode))
            opening[name].append(spent(build))
    memory = {
        name: int(subprocess.check_output([sys.executable, "-c", _MEMORY.format(opened=code)]))
        for name, code in _OPENED.items()
    }
    found = {
        name: {
            "tokens_per_second": round(statistics.median(rates[name])),
            "open_and_drop_seconds": round(statistics.median(opening[name]), 3),
            "resident_mb": round(memory[name] / 1e6),
        }
        for name in ways
    }
    print(f"{len(texts):,} texts, {tokens:,} tokens: {differing} differ, {left} are left to tokenizers")
    for name, figures in found.items():
        print(f"{name:10}  " + "  ".join(f"{key} {value:,}" for key, value in figures.items()))
    ratio = statistics.median(a / b for a, b in zip(rates["kitoken"], rates["tokenizers"], strict=True))
    print(f"kitoken is {ratio:.2f} times as fast")
    run |= {"texts": len(texts), "tokens": tokens, "differ": differing, "left": left, "ratio": ratio, **found}
    print(results.save(run, given.out))


if __name__ == "__main__":
    main()
