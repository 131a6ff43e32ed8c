"""The process of one engine: JSON lines in on stdin, one JSON line out for each. Started by processes.py.

{"do": "load", ...}                       -> {"import_s", "load_s", "first_s", "precision", "versions"}
{"do": "encode", "texts", "one_by_one",
 "from_ids", "least_s", "save"}           -> {"seconds": one figure per pass, or per text when one by one}
{"do": "peak"}                            -> {"peak_bytes", "gpu_peak_bytes"}
"""

import importlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.drivers import DRIVERS, Loaded, Setup
from harness.machine import read

MAX_PASSES = 50


class Session:
    """One loaded engine and the requests that it answers."""

    def __init__(self) -> None:
        self.loaded: Loaded | None = None

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Import, construct, encode one short text: the time to the first vector, in three parts."""
        start = time.perf_counter()
        for module in request["imports"]:
            importlib.import_module(module)
        imported = time.perf_counter()
        setup = Setup(
            model=Path(request["model"]),
            files=Path(request["files"]),
            threads=request["threads"],
            batch=request["batch"],
            options=request["options"],
            device=request.get("device", "cpu"),
        )
        loaded = DRIVERS[request["driver"]](setup)
        ready = time.perf_counter()
        loaded.encode(["One short sentence."])
        done = time.perf_counter()
        self.loaded = loaded
        versions = {name: importlib.metadata.version(name) for name in request["packages"]}
        return {
            "import_s": imported - start,
            "load_s": ready - imported,
            "first_s": done - ready,
            "precision": loaded.precision,
            "versions": versions | {"python": platform.python_version()},
        }

    def measure(self, request: dict[str, Any]) -> dict[str, Any]:
        """Whole passes over the texts until `least_s` is over, at least one."""
        assert self.loaded is not None
        texts, one_by_one = request["texts"], request["one_by_one"]
        parts: list[Any] = [[text] for text in texts] if one_by_one else [texts]
        encode: Callable[[Any], np.ndarray] = self.loaded.encode
        if request.get("from_ids"):
            assert self.loaded.halves is not None
            prepare, encode = self.loaded.halves
            parts = [prepare(part) for part in parts]
        seconds: list[float] = []
        vectors: list[np.ndarray] = []
        begin = time.perf_counter()
        for _ in range(MAX_PASSES):
            vectors = []
            for part in parts:
                start = time.perf_counter()
                vectors.append(encode(part))
                seconds.append(time.perf_counter() - start)
            if time.perf_counter() - begin >= request["least_s"]:
                break
        if request.get("save"):
            np.save(request["save"], np.concatenate(vectors).astype(np.float32))
        return {"seconds": seconds}


def peak_bytes() -> int:
    """The most memory that this process ever held.

    Linux starts ru_maxrss of a child at what its parent held, so the kernel's mark of this very process comes first.
    """
    mark = re.search(r"^VmHWM:\s*(\d+) kB", read("/proc/self/status"), re.MULTILINE)
    if mark:
        return int(mark.group(1)) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def gpu_peak_bytes() -> int:
    """The most memory of all GPUs together that torch held for this process; 0 without torch or a GPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0
    return sum(torch.cuda.max_memory_reserved(device) for device in range(torch.cuda.device_count()))


def answer(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    try:
        match request["do"]:
            case "load":
                return session.load(request)
            case "encode":
                return session.measure(request)
            case "peak":
                return {"peak_bytes": peak_bytes(), "gpu_peak_bytes": gpu_peak_bytes()}
            case other:
                return {"error": f"unknown request {other!r}"}
    except Exception as error:  # whatever a foreign library raises is this engine's result, not the harness's end
        import traceback

        traceback.print_exc()
        text = " ".join(str(error).split())
        return {"error": f"{type(error).__name__}: {text[:300]}"}


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(cpu) for cpu in sys.argv[1].split(",")])
    # Libraries print to stdout as they like; the answers keep the real one to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = Session()
    for line in sys.stdin:
        print(json.dumps(answer(session, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
