"""Commands that are killed, and what is left of them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

# Seconds after which something hangs, also on a machine that is very busy.
PATIENCE = 900


def command(folder, *arguments, **environment):
    """Start `me5 bulk` in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "me5", "bulk", *map(str, arguments)], cwd=folder, start_new_session=True,
        env=os.environ | environment,
    )  # fmt: skip


def commits(out):
    """How many parts of a job are done."""
    return len(list((out / "commits").glob("part*.json"))) if (out / "commits").exists() else 0


def await_commits(process, out, wanted):
    """Wait until so many parts are done, or the process has ended."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and commits(out) < wanted and time.monotonic() < deadline:
        time.sleep(0.002)


def kill_at(process, out, wanted, delay=0.0):
    """Kill a command once so many parts are done, and a moment later; True if it was still running."""
    await_commits(process, out, wanted)
    time.sleep(delay)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
    return running


def kill(pid):
    """Kill a process, if there is one, and say whether there was."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def below(pid, title):
    """The processes below another one, children of children too, whose commands begin with a title."""
    parents, titles = {}, {}
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_text()

    def is_below(child):
        while child in parents:
            child = parents[child]
            if child == pid:
                return True
        return False

    return [child for child, found in titles.items() if found.startswith(title) and is_below(child)]
