"""`me5 bulk` killed with SIGKILL at any moment: completed afterwards, its table is that of an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

TEXTS = 600


@pytest.fixture
def job(tmp_path, xlmr):
    """The arguments of a job with the engine and a tiny model, and its undisturbed table's folder."""
    (tmp_path / "t.txt").write_text("".join(f"text {n % 500} {'word ' * (n % 40)}\n" for n in range(TEXTS)))

    def arguments(out):
        return ["t.txt", "--out", str(out), "--part-texts", "40", "-m", str(xlmr), "-p", "f32", "--threads", "1",
                "--prompts", "none", "--quiet"]  # fmt: skip

    assert _command(tmp_path, *arguments("whole")).wait(120) == 0
    return arguments


def _command(folder, *arguments):
    return subprocess.Popen([sys.executable, "-m", "me5", "bulk", *arguments], cwd=folder, start_new_session=True)


def _commits(out):
    return len(list((out / "commits").glob("part*.json"))) if (out / "commits").exists() else 0


def _kill_at(process, out, commits, delay=0.0):
    """Kill a process once there are so many commits, and a moment later; True if it was still running."""
    deadline = time.monotonic() + 120
    while process.poll() is None and _commits(out) < commits and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(delay)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
    return running


def test_a_killed_driver_resumes_to_the_same_table(tmp_path, job, read):
    out = tmp_path / "out"
    assert _kill_at(_command(tmp_path, *job(out)), out, 3)
    done = _commits(out)
    assert 3 <= done < 15
    assert _command(tmp_path, "resume", "out", "--quiet").wait(120) == 0
    assert read(out).table.equals(read(tmp_path / "whole").table)
    assert read(out).table.num_rows == TEXTS


@pytest.mark.slow
def test_twenty_kills_of_the_driver(tmp_path, job, read):
    draw, killed, number = random.Random(1), 0, 0
    while killed < 20:
        number += 1
        out = tmp_path / f"out-{number}"
        while True:
            process = _command(tmp_path, *job(out))
            if not _kill_at(process, out, _commits(out) + draw.randint(0, 2), draw.random() * 0.05):
                break
            killed += 1
        assert process.returncode == 0
        assert read(out).table.equals(read(tmp_path / "whole").table)
