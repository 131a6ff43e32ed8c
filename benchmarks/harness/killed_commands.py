"""Commands that write folders, killed at random moments and completed: what lies there beside a run without a kill.

The moments are counted in changes on disk, so that they spread over the work and not over the loading of libraries.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.processes import environment

LOOK_S = 0.01
# What tells when and how often a command ran, and is another in each run.
TIMES = ("seconds", "evaluation_time")
TELLS_TIMES = ("run.json", "events.out.tfevents")


@dataclass(frozen=True)
class Task:
    """A command of me5 that works in the folder it is started in; `name` is the case's."""

    name: str
    arguments: Sequence[str]

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, with its folder for temporary files inside."""
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        variables = environment(1) | {"TMPDIR": str(folder / "tmp")}
        with (folder.parent / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "me5", *self.arguments],
                cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def complete(self, folder: Path) -> None:
        """Run it to its end."""
        if self.start(folder).wait() != 0:
            log = (folder.parent / f"{self.name}.log").read_text(errors="replace")
            raise SystemExit(f"{self.name}: the run in {folder} failed: {log[-2000:]}")


@dataclass
class Damage:
    """What kills did, in files (and, of caches, rows): counts over all rounds; names of the first few."""

    case: str
    kills: int = 0
    rounds: int = 0
    compared: int = 0
    lost: int = 0
    left_behind: int = 0
    differ: int = 0
    processes_left: int = 0
    names: tuple[str, ...] = ()

    def add(self, clean: dict[str, bytes], killed: dict[str, bytes]) -> None:
        """Compare a completed folder with a clean one."""
        lost, left = clean.keys() - killed.keys(), killed.keys() - clean.keys()
        other = {name for name in clean.keys() & killed.keys() if clean[name] != killed[name]}
        self.rounds += 1
        self.compared += len(clean)
        self.lost += len(lost)
        self.left_behind += len(left)
        self.differ += len(other)
        self.names = (*self.names, *sorted(lost | left | other))[:5]

    def report(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)


def kill_command(task: Task, folder: Path, kills: int) -> Damage:
    """A clean run, then rounds of one to three kills and a run to the end, each compared with it."""
    clean, damage, draw = folder / f"{task.name}-clean", Damage(task.name), random.Random(task.name)
    running, changes = task.start(clean), 0
    seen = disk(clean)
    while running.poll() is None:
        changes, seen = changes + (seen != (seen := disk(clean))), seen
        time.sleep(LOOK_S)
    if running.returncode:
        task.complete(clean)  # fails again, and tells why
    truth = contents(clean)
    while damage.kills < kills:
        place = folder / f"{task.name}-killed"
        for _ in range(min(draw.randint(1, 3), kills - damage.kills)):
            if not killed(task, place, draw.randint(0, changes), draw.random() * 0.05, damage):
                break
        task.complete(place)
        damage.add(truth, contents(place))
        shutil.rmtree(place)
    return damage


def killed(task: Task, folder: Path, changes: int, wait: float, damage: Damage) -> bool:
    """Kill a run after so many changes on disk and a moment; whether it was not over before."""
    running = task.start(folder)
    seen = disk(folder)
    while running.poll() is None and changes > 0:
        changes, seen = changes - (seen != (seen := disk(folder))), seen
        time.sleep(LOOK_S)
    time.sleep(wait)
    running.send_signal(signal.SIGKILL)
    if running.wait() != -signal.SIGKILL:
        return False
    damage.kills += 1
    damage.processes_left += len(session(running.pid))
    return True


def session(leader: int, patience: float = 10) -> list[int]:
    """The processes of a session whose leader is gone, as far as they have not ended within some seconds."""
    until = time.monotonic() + patience
    while True:
        found = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and of(entry) == leader]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def of(process: Path) -> int:
    """The session of a process in /proc; 0 where it is gone or only waits to be reaped."""
    try:
        state, _, _, number = (process / "stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return 0
    return 0 if state == "Z" else int(number)


def disk(folder: Path) -> frozenset[tuple[str, int, int]]:
    """Names, sizes and times of all that lies in a folder at a moment."""
    found = set()
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                told = os.stat(os.path.join(path, name))  # noqa: PTH116, PTH118  looked at a hundred times a second
            except FileNotFoundError:
                continue
            found.add((os.path.join(path, name), told.st_size, told.st_mtime_ns))  # noqa: PTH118
    return frozenset(found)


def contents(folder: Path) -> dict[str, bytes]:
    """What a folder holds by name, without what tells times: files, folders, and of caches their rows."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name.startswith(TELLS_TIMES):
            continue
        if path.suffix == ".sqlite":
            with sqlite3.connect(path) as file:
                found |= {f"{name}: {key.hex()}": value for key, value in file.execute("SELECT * FROM vectors")}
            file.close()
        else:
            found[name] = b"" if path.is_dir() else untimed(path)
    return found


def untimed(path: Path) -> bytes:
    """A file's bytes; of logs and results those without seconds."""
    content = path.read_bytes()
    if path.name == "log.jsonl":
        return json.dumps([without_times(json.loads(line)) for line in content.splitlines()]).encode()
    if path.suffix == ".json" and b'"evaluation_time"' in content:
        return json.dumps(without_times(json.loads(content))).encode()
    return content


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
    return value
