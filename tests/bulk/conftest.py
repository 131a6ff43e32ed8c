"""Jobs over small made-up inputs, with an engine that needs no model."""

import gzip
import json
import shutil
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from killing import PATIENCE, command

from me5 import Embedder
from me5.checkpoint import resolve
from me5.engine.fake import FakeEngine


@pytest.fixture
def embedder():
    return Embedder(resolve(None), FakeEngine(dim=16))


class Table:
    """What a finished job has written, by file and row, in the order of the parts."""

    def __init__(self, out):
        listed = json.loads((out / "files.json").read_text())
        tables = [pq.read_table(out / each["file"]) for each in listed["files"]]
        self.table = pa.concat_tables(tables)
        self.names = sorted(path.name for path in (out / "data").iterdir())
        assert self.names == [each["file"].removeprefix("data/") for each in listed["files"]]
        assert [len(table) for table in tables] == [each["rows"] for each in listed["files"]]
        errors = [pq.read_table(out / each["errors"]) for each in listed["files"] if "errors" in each]
        self.errors = pa.concat_tables(errors).to_pylist() if errors else []

    def vectors(self):
        return np.array([row or [np.nan] * 16 for row in self.table["vector"].to_pylist()], np.float32)

    def column(self, name):
        return self.table[name].to_pylist()


@pytest.fixture
def read():
    return Table


@pytest.fixture
def inputs(tmp_path):
    """A folder of every format: 1,100 records in all, some equal, with an id and a year; plain text aside."""
    folder = tmp_path / "in"
    folder.mkdir()

    def rows(name, count):
        return [{"id": f"{name}{n}", "text": f"{name} text {n % (count - 9)}", "year": n} for n in range(count)]

    (folder / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n\n" for row in rows("a", 300)))
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows("b", 250))
    lines = [f'{row["id"]},"{row["text"]}\nand more",{row["year"]}\n' for row in rows("c", 240)]
    (folder / "c.csv").write_text("id,text,year\n" + "".join(lines))
    pq.write_table(pa.Table.from_pylist(rows("d", 300)), folder / "d.parquet", row_group_size=70)
    (folder / "e.jsonl").write_text(json.dumps(rows("e", 10)[0]) + "\n")
    (folder / "f.jsonl").write_text("")
    (folder / "g.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows("g", 9 + 1)[:9]))
    return folder


@pytest.fixture
def killable(tmp_path, xlmr):
    """The arguments of a job of 600 texts in 15 parts with a tiny model; its undisturbed table lies in `whole`."""
    (tmp_path / "t.txt").write_text("".join(f"text {n % 500} {'word ' * (n % 40)}\n" for n in range(600)))

    def arguments(out):
        return ["t.txt", "--out", out, "--part-texts", "40", "-m", xlmr, "-p", "f32", "--threads", "1",
                "--prompts", "none", "--quiet"]  # fmt: skip

    assert command(tmp_path, *arguments("whole")).wait(PATIENCE) == 0
    return arguments


@pytest.fixture
def short():
    """A folder with a short name, for Ray's sockets, and with a home for its token."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    yield {"RAY_TMPDIR": folder, "HOME": folder, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    shutil.rmtree(folder, ignore_errors=True)
