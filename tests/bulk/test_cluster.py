"""Workers on Ray: the same table, whoever dies. Ray runs in processes of its own, outside of pytest's."""

import os
import random
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from killing import PATIENCE, await_commits, below, command, commits, kill, kill_at

from me5 import InputError
from me5.bulk import Model, cluster, run
from me5.bulk.folders import folder_of
from me5.bulk.job import open_job
from me5.bulk.ray import Embed

pytest.importorskip("ray", reason="the extra ray is not installed")

WORKER = "ray::RemoteWorker"


@contextmanager
def _two_nodes(environment):
    """A cluster of two nodes, and its address; a line to its input kills the second."""
    script = Path(__file__).with_name("ray_nodes.py")
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=os.environ | environment,
    )  # fmt: skip
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(PATIENCE)
        process.stdout.close()


def test_workers_on_ray_write_the_same_table_and_one_may_be_killed(tmp_path, killable, read, short):
    out = tmp_path / "out"
    for _ in range(5):
        driver = command(tmp_path, *killable(out), "--part-texts", 2, "--workers", 2, "--ray", "local", **short)
        await_commits(driver, out, 2)
        if driver.poll() != 2:  # on a busy machine Ray may give up its start
            break
    assert kill(below(driver.pid, WORKER)[0])
    assert driver.wait(PATIENCE) == 0
    assert read(out).table.equals(read(tmp_path / "whole").table)


@pytest.mark.slow
def test_twenty_kills_of_drivers_on_ray(tmp_path, killable, read, short):
    draw, killed, number = random.Random(3), 0, 0
    with _two_nodes(short) as (nodes, address):
        while killed < 20:
            number += 1
            out = tmp_path / f"out-{number}"
            while True:
                driver = command(tmp_path, *killable(out), "--ray", address, **short)
                if not kill_at(driver, out, commits(out) + draw.randint(0, 2), draw.random() * 0.05):
                    break
                killed += 1
            assert driver.returncode == 0
            assert read(out).table.equals(read(tmp_path / "whole").table)
        deadline = time.monotonic() + PATIENCE
        while below(nodes.pid, WORKER) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not below(nodes.pid, WORKER)  # Ray has ended the workers of the drivers that were killed


@pytest.mark.slow
def test_twenty_kills_of_workers_on_ray(tmp_path, killable, read, short):
    draw, killed, number = random.Random(4), 0, 0
    with _two_nodes(short) as (nodes, address):
        while killed < 20:
            number += 1
            out = tmp_path / f"out-{number}"
            driver = command(tmp_path, *killable(out), "--ray", address, **short)
            for wanted in (1, 4, 7, 10):
                await_commits(driver, out, wanted)
                time.sleep(draw.random() * 0.05)
                if driver.poll() is None and (workers := below(nodes.pid, WORKER)):
                    killed += kill(draw.choice(workers))
            # A part may have failed three times; the same command tries it again.
            while driver.wait(PATIENCE) == 1:
                driver = command(tmp_path, *killable(out), "--ray", address, **short)
            assert driver.returncode == 0
            assert read(out).table.equals(read(tmp_path / "whole").table)


@pytest.mark.slow
def test_a_job_outlives_one_of_two_nodes(tmp_path, killable, read, short):
    out = tmp_path / "out"
    with _two_nodes(short) as (nodes, address):
        driver = command(tmp_path, *killable(out), "--ray", address, **short)
        await_commits(driver, out, 2)
        workers = below(nodes.pid, WORKER)
        nodes.stdin.write("kill\n")
        nodes.stdin.flush()
        assert nodes.stdout.readline() == "killed\n"
        assert driver.wait(PATIENCE) == 0
        assert len(workers) == 2
    assert read(out).table.equals(read(tmp_path / "whole").table)


@pytest.mark.slow
def test_more_workers_than_there_is_room_for_and_a_request_to_end(tmp_path, killable, read, short):
    out = tmp_path / "out"
    with _two_nodes(short) as (_, address):
        cluster = ["--ray", address, "--workers", 4]
        driver = command(tmp_path, *killable(out), "--part-texts", 2, *cluster, **short)
        await_commits(driver, out, 5)
        driver.terminate()
        assert driver.wait(PATIENCE) == 143  # as me5 ends, not as Ray does
        assert 5 <= commits(out) < 300
        assert command(tmp_path, "resume", out, "--quiet", *cluster, **short).wait(PATIENCE) == 0
    assert read(out).table.equals(read(tmp_path / "whole").table)


@pytest.mark.slow
def test_the_class_for_pipelines_in_ray_data(tmp_path, xlmr, short):
    code = f"""
import ray
from ray.data import ActorPoolStrategy
from me5.bulk import Model
from me5.bulk.ray import Embed
ray.init("local", include_dashboard=False, num_cpus=2)
texts = ray.data.from_items([{{"text": f"text {{n}}"}} for n in range(200)])
model = Model({str(xlmr)!r}, precision="f32", threads=1, prompts="none")
embedded = texts.map_batches(
    Embed, fn_constructor_kwargs={{"model": model}}, batch_format="pyarrow", batch_size=64,
    compute=ActorPoolStrategy(size=1),
)
embedded.write_parquet({str(tmp_path / "out")!r})
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | short, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "out").to_pydict()
    vectors = dict(zip(table["text"], table["vector"], strict=True))
    texts = [f"text {n}" for n in range(200)]
    embedder = Model(str(xlmr), precision="f32", threads=1, prompts="none").load()
    np.testing.assert_array_equal([vectors[text] for text in texts], embedder.encode_document(texts))


@pytest.fixture
def embed(xlmr):
    return Embed(Model(str(xlmr), precision="f32", prompts="none", threads=1), column="body", vectors="int8")


def test_the_class_for_pipelines_adds_columns_and_loses_no_row(embed):
    batch = pa.table({"n": [1, 2, 3, 4], "body": ["one", None, "two", "one"]})
    table = embed(batch)
    assert table.column_names == ["n", "body", "vector", "scale", "error"]
    assert table.select(["n", "body"]).equals(batch)
    assert table["error"].to_pylist() == [None, "is None, expected a text", None, None]
    assert [vector is None for vector in table["vector"].to_pylist()] == [False, True, False, False]
    assert table["vector"][0] == table["vector"][3] != table["vector"][2]
    assert embed(batch.slice(0, 0)).schema == table.schema
    with pytest.raises(InputError, match="there is no column 'body' in the batch; it has n"):
        embed(batch.select(["n"]))


@pytest.mark.parametrize(
    ("device", "threads", "workers", "rooms", "shape"),
    [
        ("cpu", None, None, [16, 16], (2, 16, 0, 16)),
        ("cpu", None, None, [4, 17], (5, 4, 0, 4)),
        ("cpu", 8, None, [16, 20], (4, 8, 0, 8)),
        ("cpu", None, 4, [16, 16], (4, 8, 0, 8)),
        ("cpu", None, 2, [4, 16], (2, 4, 0, 4)),
        ("cpu", None, 9, [2, 2], (9, 1, 0, 1)),
        ("cpu", 4, 3, [], (3, 4, 0, 4)),
        ("cuda", None, None, [8, 4], (12, 1, 1, None)),
        ("cuda", None, 2, [], (2, 1, 1, None)),
    ],
)
def test_workers_fill_the_nodes(device, threads, workers, rooms, shape):
    found = cluster._shape(Model(device=device, threads=threads), workers, rooms)
    assert (found.size, found.cpus, found.gpus, found.threads) == shape


@pytest.mark.parametrize(
    ("device", "threads", "rooms", "message"),
    [
        ("cpu", None, [], "the Ray cluster has no CPUs at the moment; say with --workers"),
        ("cuda", None, [], "the Ray cluster has no GPUs at the moment"),
        ("cuda:1", None, [2], "a GPU of its own; expected --device cuda, got cuda:1"),
        ("cpu", 8, [4, 2], "no node of the Ray cluster has 8 CPUs, the largest has 4; name fewer"),
    ],
)
def test_workers_that_fit_nowhere_are_refused(device, threads, rooms, message):
    with pytest.raises(InputError, match=message):
        cluster._shape(Model(device=device, threads=threads), None, rooms)


def test_dead_nodes_and_nodes_without_processors_have_no_room():
    nodes = [{"Alive": alive, "Resources": resources} for alive, resources in
             [(True, {"CPU": 4.0, "GPU": 1.0}), (False, {"CPU": 8.0}), (True, {"memory": 1.0})]]  # fmt: skip
    assert cluster._rooms(nodes, "CPU") == [4]
    assert cluster._rooms(nodes, "GPU") == [1]


def test_a_node_that_does_not_see_the_job_says_so(tmp_path, xlmr):
    (tmp_path / "t.txt").write_text("a\nb\n")
    run(tmp_path / "t.txt", tmp_path / "out", model=Model(str(xlmr), precision="f32", prompts="none"))
    plan = open_job(folder_of(str(tmp_path / "out"))).manifest.plan
    worker = cluster.RemoteWorker()
    for folder, other, message in [
        ("other", plan, "holds no bulk job"), ("out", "0", "out holds another job there"), ("out", plan, None),
    ]:  # fmt: skip
        said = worker.open(str(tmp_path / folder), other, "cpu", 1)
        if message is None:
            assert said is None
        else:
            assert message in said
            assert "must lie in an object store, or in folders that all nodes share" in said
    assert "unknown device 'gpu'" in worker.open(str(tmp_path / "out"), plan, "gpu", 1)
    outcome, progress = worker.run(0)
    assert (outcome.part, outcome.error, progress) == (0, None, (0, 0))
    (tmp_path / "t.txt").unlink()
    assert "t.txt cannot be read" in worker.open(str(tmp_path / "out"), plan, "cpu", 1)


@pytest.mark.parametrize("address", ["ray://head:10001", "corpus/", "head"])
def test_what_is_no_address_is_refused(address):
    message = r"is not an address of a Ray cluster; expected auto, local or HOST:PORT"
    with pytest.raises(InputError, match=message), cluster._connected(address):
        pass


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "auto",
            r"there is no Ray at auto: none is running. Start a cluster with ray start --head, or let Ray run for",
        ),
        ("local", r"Ray cannot be started on this machine: none is running\."),
    ],
)
def test_a_ray_that_is_not_there_is_one_sentence(monkeypatch, address, message):
    def fail(*arguments, **options):
        raise Exception("none\n is running.")  # as Ray itself does

    import ray

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(InputError, match=message), cluster._connected(address):
        pass


def test_a_worker_of_another_kind_is_needed(tmp_path, embedder):
    (tmp_path / "t.txt").write_text("x\ny\n")
    with pytest.raises(InputError, match="workers load the model themselves; pass a Model"):
        run(tmp_path / "t.txt", tmp_path / "out", model=embedder, ray="local")


def test_a_cluster_that_is_lost_is_one_sentence(monkeypatch):
    class Lost:
        error = LookupError

        def __init__(self, *arguments):
            pass

        def close(self):
            closed.append(True)

    closed = []
    monkeypatch.setattr(cluster, "_connected", lambda address: nullcontext())
    monkeypatch.setattr(cluster, "Cluster", Lost)
    job = SimpleNamespace(folder=SimpleNamespace(url="s3://b/out"))
    message = "the Ray cluster is lost: no head. What is committed is done; me5 bulk resume s3://b/out does the rest"
    with pytest.raises(InputError, match=message), cluster.cluster(job, Model(), "auto", 1, 1, print):
        raise LookupError("no\nhead")
    assert closed
