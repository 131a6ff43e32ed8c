"""Forked and spawned processes: what cannot work is refused, and nothing hangs.

Each case runs in an interpreter of its own, under limits: a child that hangs is ended by its alarm and fails the test.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

LIMIT_S = 120

PARENT = """
import os, signal, sys
from me5 import Embedder, EngineError

def load():
    return Embedder.load(sys.argv[1], prompts="none")

def fork(in_child):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        print("child:", in_child(), flush=True)
        sys.exit(0)  # the ordinary way out, which destroys the objects that the parent made
    _, status = os.waitpid(pid, 0)
    print("status:", status)

def error_of(call):
    try:
        return call()
    except EngineError as error:
        return error
"""


def run(script: str, folder: Path, tmp_path: Path) -> str:
    program = tmp_path / "program.py"
    program.write_text(PARENT + script, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, program, folder], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_an_embedder_is_refused_in_a_forked_child(xlmr: Path, tmp_path: Path) -> None:
    out = run("e = load(); e.encode('a'); fork(lambda: error_of(lambda: e.encode('a')))", xlmr, tmp_path)
    assert "child: this process was forked" in out
    assert "Load the first Embedder in the child" in out
    assert "'spawn'" in out
    assert "status: 0" in out


def test_loading_is_refused_in_the_child_of_a_process_that_has_loaded(xlmr: Path, tmp_path: Path) -> None:
    """It would work most times and hang the others: always, then."""
    out = run("e = load(); fork(lambda: error_of(load))", xlmr, tmp_path)
    assert "child: this process was forked" in out
    assert "status: 0" in out


def test_a_child_that_drops_the_parents_embedder_does_not_hang(xlmr: Path, tmp_path: Path) -> None:
    script = """
e = load()
e.encode("a")
def drop():
    global e
    del e
    return "dropped"
fork(drop)
print(e.encode("b").shape)  # the parent goes on
"""
    out = run(script, xlmr, tmp_path)
    assert "child: dropped" in out
    assert "status: 0" in out
    assert "(1, 64)" in out


def test_children_of_a_process_that_has_loaded_none_embed(xlmr: Path, tmp_path: Path) -> None:
    script = "fork(lambda: load().encode('a').shape); fork(lambda: load().encode('a').shape); print(load().dim)"
    out = run(script, xlmr, tmp_path)
    assert out.count("child: (1, 64)") == 2
    assert out.count("status: 0") == 2
    assert "64" in out.splitlines()[-1]


def test_spawned_children_embed_beside_their_parent(xlmr: Path, tmp_path: Path) -> None:
    script = """
import multiprocessing

def work(text):
    signal.alarm(60)
    return load().encode(text).tobytes()

if __name__ == "__main__":
    ours = load().encode("a").tobytes()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print("same:", pool.map(work, ["a"])[0] == ours)
"""
    assert "same: True" in run(script, xlmr, tmp_path)


def test_the_torch_engine_is_refused_in_a_forked_child(xlmr: Path, tmp_path: Path) -> None:
    script = """
e = Embedder.load(sys.argv[1], device="torch-cpu", prompts="none")
e.encode("a")
fork(lambda: error_of(lambda: e.encode("a")))
"""
    out = run(script, xlmr, tmp_path)
    assert "child: this process was forked" in out
    assert "'spawn'" in out
    assert "status: 0" in out


def test_a_signal_after_embedders_were_freed_in_their_order(xlmr: Path, tmp_path: Path) -> None:
    out = run(
        """
first, second = load(), load()
del first
del second
came = []
signal.signal(signal.SIGTERM, lambda *_: came.append("signal"))
os.kill(os.getpid(), signal.SIGTERM)
print(came)
""",
        xlmr,
        tmp_path,
    )
    assert out == "['signal']\n"
