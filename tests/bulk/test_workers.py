"""Workers as processes: the same table, whoever dies."""

import os
import random
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from me5 import InputError
from me5.bulk import Model, run
from me5.bulk.commit import COMMITS
from me5.bulk.processes import Processes

SETTINGS = {"part_texts": 30}


@pytest.fixture
def job(tmp_path, xlmr, read):
    """A model, a file of texts, and the table of one process."""
    model = Model(str(xlmr), precision="f32", threads=1, prompts="none")
    (tmp_path / "t.txt").write_text("".join(f"text {n} {'word ' * (n % 60)}\n" for n in range(900)))
    run(tmp_path / "t.txt", tmp_path / "whole", model=model, **SETTINGS)
    return model, tmp_path / "t.txt", read(tmp_path / "whole").table


def _killing(monkeypatch, kills, draw):
    """Kill workers at random moments, so many in all; the list of those that were."""
    killed = []

    def kill(pid):
        with suppress(ProcessLookupError):  # it has ended with the job
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    def submit(pool, number):
        original(pool, number)
        slot = next(slot for slot, part in pool._parts.items() if part == number)
        if len(killed) < kills and draw.random() < 0.5:
            threading.Timer(draw.random() * 0.1, kill, [pool._workers[slot].pid]).start()

    original = Processes.submit
    monkeypatch.setattr(Processes, "submit", submit)
    # A worker may have ended its part before it is killed; deaths that follow each other are no reason to give up here.
    monkeypatch.setattr("me5.bulk.dispatch.DEATHS", 1000)
    monkeypatch.setattr("me5.bulk.dispatch.TRIES", 1000)
    return killed


def test_workers_write_the_same_table_and_one_may_be_killed(tmp_path, monkeypatch, job, read):
    model, texts, whole = job
    killed = _killing(monkeypatch, 1, random.Random(2))
    result = run(texts, tmp_path / "out", model=model, workers=2, **SETTINGS)
    assert (result.parts, result.texts, result.finished) == (30, 900, True)
    assert killed
    assert read(tmp_path / "out").table.equals(whole)


@pytest.mark.slow
def test_twenty_kills_of_workers(tmp_path, monkeypatch, job, read):
    model, texts, whole = job
    total = number = 0
    while total < 20:
        number += 1
        killed = _killing(monkeypatch, 10, random.Random(number))
        assert run(texts, tmp_path / f"out-{number}", model=model, workers=2, **SETTINGS).finished
        assert read(tmp_path / f"out-{number}").table.equals(whole)
        monkeypatch.undo()
        total += len(killed)


def test_workers_that_cannot_load_the_model_end_the_run(tmp_path, job):
    model, texts, _ = job
    run(texts, tmp_path / "out", model=model, **SETTINGS)
    for path in list((tmp_path / "out" / COMMITS).iterdir())[:2]:
        path.unlink()
    from me5.bulk import resume

    with pytest.raises(InputError, match=r"unknown device 'gpu'; expected cpu"):
        resume(tmp_path / "out", model=model.on("gpu"), workers=2)


def test_workers_end_when_the_driver_is_gone(tmp_path, job):
    model, texts, _ = job
    from me5.bulk.driver import plan
    from me5.bulk.folders import folder_of
    from me5.bulk.manifest import Settings

    made = plan(Settings((str(texts),), **SETTINGS), folder_of(str(tmp_path / "out")), model)
    pool = Processes(made, model, 1, lambda texts, tokens: None)
    pool.submit(0)
    worker = pool._workers[0]
    worker.stdin.close()  # what the system does for a driver that was killed
    assert worker.wait(20) == 0
    pool.close()


def test_an_embedder_cannot_be_shared_with_workers(tmp_path, embedder):
    (tmp_path / "t.txt").write_text("x\ny\n")
    with pytest.raises(InputError, match="workers load the model themselves; pass a Model"):
        run(tmp_path / "t.txt", tmp_path / "out", model=embedder, workers=2, part_texts=1)


def test_the_memory_of_a_worker_is_not_that_of_its_driver():
    held = b"x" * (600 << 20)
    code = "from me5.bulk.part import peak_memory; print(peak_memory())"
    told = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert 10 << 20 < told < len(held)
