"""What is done stays done: shards, resuming, kill -9."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import planted
import pytest

from me5.data import mining, vectors
from me5.data.choosing import MiningSettings
from me5.data.dataset import Dataset
from me5.data.jobs import Workspace, open_job
from me5.data.mining import mine
from me5.errors import InputError
from me5.files.atomic import is_draft


def begin(folder, *, restart=False, rows=10, inputs=None, **settings):
    return open_job(
        folder, rows=rows, size=4, suffix=".txt", settings=settings, inputs=inputs or {"data": "a1"}, restart=restart
    )


def written(job):
    """Make what is missing; returns which shards that was."""
    made = []

    def work(shard, file):
        made.append(shard.number)
        file.write(f"{shard.start}-{shard.stop}".encode())

    job.run(work)
    return made


def test_a_job_makes_every_shard_once(tmp_path):
    job = begin(tmp_path / "job")
    assert written(job) == [0, 1, 2]
    assert [shard.path.read_text() for shard in job.shards] == ["0-4", "4-8", "8-10"]
    assert (job.rows_done, job.missing) == (10, [])
    job.shards[1].path.unlink()
    again = begin(tmp_path / "job")
    assert again.rows_done == 6
    assert written(again) == [1]


def test_what_fails_leaves_no_shard(tmp_path):
    def work(shard, file):
        file.write(b"half")
        if shard.number == 1:
            raise RuntimeError("broken")

    job = begin(tmp_path / "job")
    with pytest.raises(RuntimeError, match="broken"):
        job.run(work)
    assert [shard.number for shard in job.missing] == [1, 2]


def test_another_job_in_the_same_folder_is_told_what_differs(tmp_path):
    written(begin(tmp_path / "job", depth=5))
    with pytest.raises(InputError, match=r"other depth \(5 then, 6 now\).*--restart"):
        begin(tmp_path / "job", depth=6)
    with pytest.raises(InputError, match="content of data"):
        begin(tmp_path / "job", depth=5, inputs={"data": "b2"})
    with pytest.raises(InputError, match="rows"):
        begin(tmp_path / "job", depth=5, rows=11)
    assert begin(tmp_path / "job", depth=5, restart=True).rows_done == 10, "the same job is gone on with"
    assert begin(tmp_path / "job", depth=6, restart=True).rows_done == 0


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not a job's folder"):
        begin(tmp_path)
    job = tmp_path / "job"
    begin(job)
    (job / "job.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        begin(job, restart=True)
    (job / "job.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(InputError, match="another version"):
        begin(job)


def test_one_process_at_a_time(tmp_path):
    job = begin(tmp_path / "job")

    def work(shard, file):
        with pytest.raises(InputError, match="another process"):
            begin(tmp_path / "job").run(work)

    job.run(work)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import planted
from me5.data import mining, vectors
from me5.data.choosing import MiningSettings
from me5.data.dataset import Dataset
from me5.data.jobs import Workspace
vectors.SHARD_TEXTS = 8
mining.mine(Dataset.open(Path({data!r})), planted.Plane(kill_at=50), MiningSettings(number=2), out=Path({out!r}),
            workspace=Workspace(Path({workspace!r})))
"""


def test_kill_9_costs_one_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "SHARD_TEXTS", 8)
    data = planted.pairs_in_a_line(tmp_path / "data")
    script = KILLED.format(
        tests=str(Path(__file__).parent),
        data=str(data.folder),
        out=str(tmp_path / "killed"),
        workspace=str(tmp_path / "job"),
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == -9, run.stderr
    assert not (tmp_path / "killed").exists()
    # 40 documents in 5 shards and one shard of queries were done: 48 texts. The rest, 32 queries, is made now.
    teacher = planted.Plane()
    mine(
        Dataset.open(data.folder), teacher, MiningSettings(number=2), out=tmp_path / "killed",
        workspace=Workspace(tmp_path / "job"),
    )  # fmt: skip
    assert teacher.embedded == 32
    assert not any(map(is_draft, (tmp_path / "job").rglob("*")))
    other = Workspace(tmp_path / "other")
    mine(data, planted.Plane(), MiningSettings(number=2), out=tmp_path / "whole", workspace=other)
    assert Dataset.open(tmp_path / "killed").fingerprint == Dataset.open(tmp_path / "whole").fingerprint


def test_shards_make_no_difference(tmp_path, monkeypatch):
    data = planted.pairs_in_a_line(tmp_path / "data")
    settings = MiningSettings(number=2, choice="random", percent_of_positive=None)
    mine(data, planted.Plane(), settings, out=tmp_path / "one", workspace=Workspace(tmp_path / "job-1"))
    monkeypatch.setattr(vectors, "SHARD_TEXTS", 7)
    monkeypatch.setattr(mining, "SEARCH_QUERIES", 6)
    monkeypatch.setattr(mining, "CHECK_QUERIES", 5)
    mine(data, planted.Plane(), settings, out=tmp_path / "many", workspace=Workspace(tmp_path / "job-2"))
    assert Dataset.open(tmp_path / "one").fingerprint == Dataset.open(tmp_path / "many").fingerprint
    assert len(np.unique([relation.query_id for relation in Dataset.open(tmp_path / "one").relations()])) == 40
