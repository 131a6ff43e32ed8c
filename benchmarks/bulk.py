"""`me5 bulk` measured: the engine's share of the time, Ray's overhead, memory, resuming, and a job of 10⁹ texts.

    python benchmarks/bulk.py FOLDER… --field positive
    python benchmarks/bulk.py FOLDER… --stages memory,jobs

FOLDER holds Parquet files with a field of texts. `share` and `ray` run the bundled model on --passages of them; the
others have an engine that computes nothing, since what they measure is everything else: `memory` the peak of jobs of a
fifth of --texts and of all, `jobs` what parts cost beside their texts, up to a job of 10⁹ texts (files that repeat one
text), of which some parts are really embedded and the others only committed. Every figure of memory is of a process of
its own. The figures are written to benchmarks/results/bulk_MACHINE_DATE.json after every stage.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import DEFAULT, patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
from harness import machine, results

from me5 import Embedder
from me5.bulk import resume, run, worker
from me5.bulk.commit import Commit, commit, commits
from me5.bulk.driver import plan
from me5.bulk.finish import finish
from me5.bulk.folders import folder_of
from me5.bulk.job import Job, open_job
from me5.bulk.manifest import Settings
from me5.bulk.part import peak_memory
from me5.bulk.status import status
from me5.checkpoint import resolve
from me5.engine.base import Engine

# Repeats a command that ends with 2: a busy machine takes longer to start Ray than Ray waits.
AGAIN = ["sh", "-c", 'for _ in 1 2 3 4 5; do "$@"; code=$?; [ $code = 2 ] || break; done; exit $code', "-"]
# Of a job on Ray.
PARTS = 10
STAGES = ("share", "ray", "memory", "jobs")
# Rows of a file and of a part in the jobs that only count parts.
FILE_ROWS, PART_ROWS = 1_000_000, 100_000


class NoEngine(Engine):
    """One and the same vector for every text, at once."""

    precision, dim, batch_tokens = "f32", 384, 1 << 20

    def embed(self, sequences: Sequence[Any]) -> Any:
        return np.full((len(sequences), self.dim), 1 / np.sqrt(self.dim), np.float32)

    def states(self, sequences: Sequence[Any]) -> Any:
        raise NotImplementedError("a bulk job needs no states")


def texts(folders: Iterable[str], field: str) -> Iterator[str]:
    """The different texts of a field of all files, in order."""
    seen: set[int] = set()
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(columns=[field]):
                for text in batch[field].to_pylist():
                    if text and hash(text) not in seen:
                        seen.add(hash(text))
                        yield text


def share(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Which share of the time of its parts a job in one process is in the engine."""
    embedder = Embedder.load(threads=options.threads)
    inside, original = 0.0, embedder.engine.embed

    def embed(sequences: Sequence[Any]) -> Any:
        nonlocal inside
        started = perf_counter()
        vectors = original(sequences)
        inside += perf_counter() - started
        return vectors

    embedder.engine.embed = embed
    embedder.encode_document(["warm up"] * 8)
    inside = 0.0
    out = Path(options.keep) if options.keep else work / "share"
    result = run(
        _head(work, options.passages), out, model=embedder, part_texts=options.part_texts, keep_text=bool(options.keep),
        show_progress_bar=True,
    )  # fmt: skip
    seconds = sum(done.seconds for done in commits(result.job))
    return {
        "passages": result.texts,
        "parts": result.parts,
        "tokens": result.tokens,
        "precision": embedder.precision,
        "seconds": seconds,
        "engine_share": inside / seconds,
        "tokens_per_second": result.tokens / seconds,
        "whole_run_engine_share": inside / result.seconds,
    }


def on_ray(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The same job in one process and by one worker on Ray, in turns: seconds of the clock and of the processors.

    Those of the processors are of all processes, Ray's own too, from the second part to the last but one: on a busy
    machine they tell more, and Ray's start is no part of them.
    """
    source, ways = _head(work, options.ray_passages), {"plain": [], "ray": ["--ray", "local", "--workers", "1"]}
    figures: dict[str, dict[str, list[float]]] = {
        name: {way: [] for way in ways}
        for name in (
            "seconds",
            "seconds_between_parts",
            "seconds_with_start",
            "cpu_seconds",
            "cpu_seconds_of_the_worker",
        )
    }
    for number in range(options.rounds):
        for way in list(ways)[:: 1 if number % 2 else -1]:
            out = work / f"{way}-{number}"
            command = [sys.executable, "-m", "me5", "bulk", str(source), "--out", str(out), "--quiet", *ways[way]]
            command += ["--part-texts", str(options.ray_passages // PARTS)]
            command += ["--threads", str(options.threads)] if options.threads else []
            started, process = perf_counter(), subprocess.Popen([*AGAIN, *command])
            used: dict[int, dict[int, float]] = {}
            while process.poll() is None:
                used[sum(1 for _ in (out / "commits").glob("part-*.json"))] = _cpu_seconds(process.pid)
                time.sleep(0.1)
            assert process.returncode == 0, way
            done = commits(open_job(folder_of(str(out))))
            cpu = [seconds - used[1].get(member, 0) for member, seconds in used[PARTS - 1].items()]
            whole = max(each.ended for each in done) - min(each.started for each in done)
            found = {
                "seconds": whole, "seconds_between_parts": whole - sum(each.seconds for each in done),
                "seconds_with_start": perf_counter() - started, "cpu_seconds": sum(cpu),
                "cpu_seconds_of_the_worker": max(cpu),
            }  # fmt: skip
            print(way, json.dumps(found), flush=True)
            for name, seconds in found.items():
                figures[name][way].append(seconds)
    tables = [pq.read_table(work / f"{way}-0" / "data", columns=["vector"]) for way in ways]
    overhead = {name: median(by["ray"]) / median(by["plain"]) - 1 for name, by in figures.items()}
    return {
        "passages": options.ray_passages,
        "parts": PARTS,
        **figures,
        "overhead": overhead,
        "vectors_equal": tables[0].equals(tables[1]),
    }


def _cpu_seconds(pid: int) -> dict[int, float]:
    """What a process, and each that it has started and that lives, have used of the processors."""
    found: dict[int, tuple[int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        values = machine.read(str(path)).rpartition(")")[2].split()
        if values:
            found[int(path.parent.name)] = int(values[1]), int(values[11]) + int(values[12])
    family = {pid}
    while more := {child for child, (parent, _) in found.items() if parent in family} - family:
        family |= more
    return {member: found[member][1] / os.sysconf("SC_CLK_TCK") for member in family if member in found}


def memory(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The peak memory of jobs of different sizes; no engine, so that half a million texts take minutes."""
    figures = {}
    for count in (options.texts // 5, options.texts):
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from bulk import one_job; "
            f"one_job({str(_head(work, count))!r}, {str(work / f'memory-{count}')!r})"
        )
        told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        figures[str(count)] = json.loads(told)
    small, large = (each["peak_mb"] for each in figures.values())
    return {"engine": "none", "jobs": figures, "growth": large / small - 1}


def one_job(source: str, out: str) -> None:
    """A job without an engine; prints what it took."""
    started = perf_counter()
    result = run(source, out, model=Embedder(resolve(None), NoEngine()))
    print(json.dumps({"parts": result.parts, "peak_mb": peak_memory() / 1e6, "seconds": perf_counter() - started}))


def jobs(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What parts cost beside their texts: planning, committing, resuming, telling the state, finishing."""
    one = work / "million.parquet"
    pq.write_table(pa.table({"text": ["the same text"] * FILE_ROWS}), one, row_group_size=PART_ROWS)
    found = {f"{rows:,} texts": _job(work, one, rows, options.real_parts) for rows in (10**8, 10**9)}
    small, large = found.values()
    ratios = {
        name: large[name]["cpu_seconds"] / small[name]["cpu_seconds"]
        for name, value in small.items() if isinstance(value, dict)
    }  # fmt: skip
    return {"engine": "none", "jobs": found, "cpu_seconds_of_ten_times_the_parts": ratios}


def _job(work: Path, one: Path, rows: int, real: int) -> dict[str, Any]:
    source, out = work / f"in-{rows}", work / f"jobs-{rows}"
    source.mkdir()
    for number in range(rows // FILE_ROWS):
        os.link(one, source / f"{number:05}.parquet")
    embedder = Embedder(resolve(None), NoEngine())
    figures: dict[str, Any] = {}
    with _timed(figures, "plan"):
        job = plan(Settings((str(source),)).absolute(), folder_of(str(out)), embedder)
    figures["parts"] = len(job.plan.parts)
    with _timed(figures, "commit_all"):
        for part in islice(job.plan.parts, len(job.plan.parts) - real):
            _pretend(job, part.number)
    _resume(out, real, figures)
    with _timed(figures, "status"):
        status(job)
    with _timed(figures, "finish"):
        finish(job)
    figures["peak_mb"] = peak_memory() / 1e6
    return figures


@contextmanager
def _timed(figures: dict[str, Any], name: str) -> Iterator[None]:
    """Note the seconds of a block, by the clock and of this process on the processors."""
    clock, cpu = perf_counter(), time.process_time()
    yield
    figures[name] = {"seconds": perf_counter() - clock, "cpu_seconds": time.process_time() - cpu}


def _pretend(job: Job, number: int) -> None:
    """Commit a part without its texts: an empty file stands for its vectors."""
    name, now = f"data/{job.part_name(number)}.{number:08x}.parquet", time.time()
    with job.folder.writing(name):
        pass
    commit(job, Commit(
        part=number, data=name, errors=None, texts=job.plan.parts[number].rows, unique=1, tokens=5, lost=0, truncated=0,
        refused=0, bytes=0, started=now, ended=now, seconds=0.0, host="none", memory=0,
    ))  # fmt: skip


def _resume(out: Path, real: int, figures: dict[str, Any]) -> None:
    """Really do the last parts of a job; note what passes from the call until the first of them begins."""
    embedder = Embedder(resolve(None), NoEngine())
    with ExitStack() as until_the_first, patch.object(worker, "attempt", wraps=worker.attempt) as attempt:
        attempt.side_effect = lambda *_: until_the_first.close() or DEFAULT
        until_the_first.enter_context(_timed(figures, "resume"))
        result = resume(out, model=embedder)
    assert (result.parts, result.finished) == (real, True)
    (out / "_SUCCESS").unlink()  # so that the end can be measured alone


def _head(work: Path, count: int) -> Path:
    """A file with the first texts of all that there are, in row groups of many sizes of part."""
    path = work / f"texts-{count}.parquet"
    if not path.exists():
        table = pq.read_table(work / "texts.parquet").slice(0, count)
        assert len(table) == count, f"the folders hold {len(table):,} different texts, expected {count:,}"
        pq.write_table(table, path, row_group_size=1000)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--field", default="positive")
    parser.add_argument("--passages", type=int, default=500_000, help="texts that the model embeds")
    parser.add_argument("--ray-passages", type=int, default=20_000, help="texts of a run on Ray, in ten parts")
    parser.add_argument("--texts", type=int, default=500_000, help="texts of the larger job without an engine")
    parser.add_argument("--part-texts", type=int, default=100_000, help="of the job with the model")
    parser.add_argument("--threads", type=int, help="of the engine; every core otherwise")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real-parts", type=int, default=2, help="parts of the largest jobs that are really embedded")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--keep", metavar="DIR", help="leave the job of `share` here, with its texts")
    parser.add_argument("--work", help="write the jobs here; a temporary folder otherwise")
    parser.add_argument("--out", type=Path, default=results.RESULTS)
    options = parser.parse_args()
    figures = results.begin("bulk")
    with tempfile.TemporaryDirectory(prefix="me5-bulk-", dir=options.work) as folder:
        work = Path(folder)
        wanted = max(options.passages, options.ray_passages, options.texts)
        pq.write_table(pa.table({"text": list(islice(texts(options.folders, options.field), wanted))}),
                       work / "texts.parquet", row_group_size=1000)  # fmt: skip
        stages = {"share": share, "ray": on_ray, "memory": memory, "jobs": jobs}
        for name in options.stages.split(","):
            figures[name] = stages[name](work, options)
            print(name, json.dumps(figures[name]), flush=True)
            results.save(figures, options.out)
            for left in work.iterdir():
                if left.is_dir():
                    shutil.rmtree(left)


if __name__ == "__main__":
    main()
