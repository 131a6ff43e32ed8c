"""The parent's side of a worker: start it, ask it, end it; and the exports, each in its engine's own Python."""

import contextlib
import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from harness import exports

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
CHUNK = 1 << 24


class EngineError(Exception):
    """An engine that cannot be had, cannot run or died; the text is the reason that the report prints."""


def environment(threads: int, device: str = "cpu") -> dict[str, str]:
    """No network, a GPU only where one is measured, every thread pool that listens to a variable at the same size."""
    pools = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if not device.startswith("cuda"):
        offline["CUDA_VISIBLE_DEVICES"] = ""
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "true"}
    path = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | offline | quiet | dict.fromkeys(pools, str(threads)) | {"PYTHONPATH": path}


def last_line(log: Path) -> str:
    """The last thing that a process said before it ended."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


def warm_files(folder: Path) -> None:
    """Read every file once, so that a load measures the library and not the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                while file.read(CHUNK):
                    pass


def ensure_export(kind: str, model: Path, cache: Path, python: str, threads: int) -> Path:
    """The folder of this export, made now if it is not there yet."""
    out = exports.destination(kind, model, cache)
    if out.is_dir():
        return out
    base = exports.BASES.get(kind)
    source = ensure_export(base, model, cache, python, threads) if base else model
    cache.mkdir(parents=True, exist_ok=True)
    log = out.with_name(out.name + ".log")
    command = [python, "-m", "harness.exports", kind, str(source), str(out)]
    with log.open("w") as output:
        done = subprocess.run(command, stdout=output, stderr=output, env=environment(threads), check=False)
    if done.returncode or not out.is_dir():
        raise EngineError(f"export {kind} failed: {last_line(log)}")
    return out


class Worker:
    """A running process of harness.worker."""

    def __init__(self, python: str, cpus: list[int], log: Path, device: str = "cpu") -> None:
        self.log = log
        self.warm: set[str] = set()  # the workloads that this process has seen once
        command = [python, "-m", "harness.worker", ",".join(map(str, cpus))]
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment(len(cpus), device),
            )

    def ask(self, timeout_s: float = 1800, **request: Any) -> dict[str, Any]:
        """One request, one answer. A process that dies, fails or takes too long is an EngineError."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(timeout_s, self.process.kill)
        timer.start()
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            code = self.process.wait()
            raise EngineError(f"process ended with {code}: {last_line(self.log)}")
        reply = json.loads(line)
        if "error" in reply:
            raise EngineError(reply["error"])
        return reply

    def stop(self) -> None:
        """End the process by closing its stdin; kill it if it does not listen."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
