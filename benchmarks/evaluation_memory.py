"""Does the peak memory of `me5 eval run` grow with the corpus? Its retrieval protocol on generated ones.

The vectors are made up (384 dimensions), so that the figures are those of reading, checking and searching alone.

    python benchmarks/evaluation_memory.py --documents 30000 300000

The last line is the JSON that is written to benchmarks/results/evaluation_memory_MACHINE_DATE.json.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from harness import results

from me5.evaluation.encoders.base import Prompt
from me5.evaluation.protocols import evaluate
from me5.evaluation.readers import read

DIM, QUERIES, CHARACTERS = 384, 200, 1000


class MadeUp:
    """Vectors that follow from a text's number alone."""

    name, fingerprint = "made up", "0"

    def prompt(self, side, task):  # noqa: ARG002
        return Prompt(side, None, "")

    def embed(self, texts, prompt, advance=None):  # noqa: ARG002
        vectors = np.empty((len(texts), DIM), np.float32)
        for at, text in enumerate(texts):
            vectors[at] = np.random.default_rng(int(text[:12])).standard_normal(DIM, np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(documents: int, answer: Connection) -> None:
    """Write a corpus, judge it, print one line and send the figures."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "generated" / "set"
        (folder / "qrels").mkdir(parents=True)
        filling = "some words to fill the text " * (CHARACTERS // 28)
        with (folder / "corpus.jsonl").open("w") as file:
            for at in range(documents):
                file.write(json.dumps({"_id": f"d{at}", "text": f"{at:012} {filling}"}) + "\n")
        queries = "".join(json.dumps({"_id": f"q{at}", "text": f"{at:012}"}) + "\n" for at in range(QUERIES))
        (folder / "queries.jsonl").write_text(queries)
        (folder / "qrels" / "test.tsv").write_text("".join(f"q{at}\td{at}\t1\n" for at in range(QUERIES)))
        size = (folder / "corpus.jsonl").stat().st_size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        (task,) = read(folder)
        outcome = evaluate(task, MadeUp())
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{documents:>9,} documents, {size / 2**20:>5,.0f} MiB of corpus: peak {peak / 1024:,.0f} MiB, of which "
        f"{(peak - before) / 1024:,.0f} MiB by the evaluation; nDCG@10 {outcome.score:.3f}; {seconds:,.0f} s",
        flush=True,
    )
    answer.send({
        "documents": documents, "corpus_mib": size / 2**20, "peak_mib": peak / 1024,
        "evaluation_mib": (peak - before) / 1024, "ndcg_at_10": outcome.score, "seconds": seconds,
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[30_000, 300_000])
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    options = parser.parse_args()
    run = results.begin("evaluation_memory") | {"rows": []}
    context = multiprocessing.get_context("spawn")
    for documents in options.documents:
        here, there = context.Pipe()
        process = context.Process(target=measure, args=(documents, there))
        process.start()
        there.close()  # so that the end of a process that fails is an end of the answer too
        run["rows"].append(here.recv())
        process.join()
    print(results.save(run, options.out))


if __name__ == "__main__":
    main()
