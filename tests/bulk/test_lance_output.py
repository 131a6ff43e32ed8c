"""Jobs that write a Lance dataset: the rows of the Parquet files, in one version, when all is done."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5 import InputError
from me5.bulk import finish, resume, run
from me5.bulk.folders import folder_of
from me5.bulk.job import open_job
from me5.errors import MissingExtraError

lance = pytest.importorskip("lance", reason="the extra lance is not installed")

TEXTS = [f"text {n % 70}" for n in range(200)]


@pytest.fixture
def source(tmp_path):
    """Texts with a list of tags each, of which one cannot be embedded."""
    rows = [{"id": f"r{n}", "text": None if n == 5 else text, "tags": ["a", str(n)]} for n, text in enumerate(TEXTS)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


SETTINGS = {"id_field": "id", "keep": ["tags"], "keep_text": True, "part_texts": 30}


@pytest.mark.parametrize("numbers", ["f32", "f16", "int8", "binary"])
def test_the_dataset_holds_what_the_parquet_files_hold(tmp_path, source, embedder, numbers):
    run(source, tmp_path / "p", model=embedder, vectors=numbers, **SETTINGS)
    result = run(source, tmp_path / "l.lance", model=embedder, vectors=numbers, output="lance", **SETTINGS)
    assert (result.parts, result.finished) == (7, True)
    dataset = lance.dataset(tmp_path / "l.lance")
    expected = pq.read_table(tmp_path / "p" / "data").replace_schema_metadata()
    assert dataset.to_table().replace_schema_metadata().equals(expected)
    assert dataset.version == 1
    assert expected["vector"].null_count == 1
    listed = json.loads((tmp_path / "l.lance" / "files.json").read_text())["files"]
    names = sorted(path.name for path in (tmp_path / "l.lance" / "data").iterdir())
    assert names == [each["file"].removeprefix("data/") for each in listed]
    assert (tmp_path / "l.lance" / "_SUCCESS").exists()


def test_a_store_of_lancedb_is_searched_without_copying(tmp_path, source, embedder):
    lancedb = pytest.importorskip("lancedb", reason="the extra search is not installed")
    run(source, tmp_path / "l.lance", model=embedder, output="lance", **SETTINGS)
    table = lancedb.connect(tmp_path).open_table("l")
    nearest = table.search(embedder.encode_document(["text 33"])[0]).limit(2).to_list()
    assert [(row["id"], row["text"]) for row in sorted(nearest, key=lambda row: row["row"])] == [
        ("r33", "text 33"), ("r103", "text 33"),
    ]  # fmt: skip
    assert nearest[0]["_distance"] == pytest.approx(0, abs=1e-6)


def test_there_is_no_version_before_the_end_and_one_after_two_ends(tmp_path, source, embedder, monkeypatch):
    from me5.bulk import worker

    def stop(*arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(original(*arguments))
        return done[-1]

    out, done, original = tmp_path / "l.lance", [], worker.attempt
    monkeypatch.setattr(worker, "attempt", stop)
    with pytest.raises(KeyboardInterrupt):
        run(source, out, model=embedder, output="lance", **SETTINGS)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="was not found"):
        lance.dataset(out)
    (out / "data" / "part-00000.other.lance").write_bytes(b"x")  # another attempt
    assert resume(out, model=embedder).parts == 4
    rows = lance.dataset(out).to_table()
    assert rows["row"].to_pylist() == list(range(200))
    assert len(list((out / "data").iterdir())) == 7
    (out / "_SUCCESS").unlink()  # killed after the version was written
    assert resume(out, model=embedder).finished
    assert lance.dataset(out).version == 1
    assert lance.dataset(out).to_table().equals(rows)


def test_a_file_that_is_not_whole_is_no_part(tmp_path, source, embedder, monkeypatch):
    from me5.bulk import dataset

    monkeypatch.setattr(dataset, "rows_in", lambda folder, name: 29)
    with pytest.raises(InputError, match=r"was written with 30 rows and reads back with 29"):
        run(source, tmp_path / "l.lance", model=embedder, output="lance", **SETTINGS)


def test_versions_that_cannot_be_written_are_one_sentence(tmp_path, source, embedder, monkeypatch):
    def fail(*arguments):
        raise OSError("No space left on device")

    out = tmp_path / "l.lance"
    monkeypatch.setattr(lance.LanceDataset, "commit", fail)
    with pytest.raises(InputError, match=r"l.lance cannot be written: No space left on device; resume the job"):
        run(source, out, model=embedder, output="lance", **SETTINGS)
    monkeypatch.undo()
    assert resume(out, model=embedder).finished
    other = pa.table({"x": [1]})
    (out / "_SUCCESS").unlink()
    lance.write_dataset(other, out, mode="overwrite")
    finish.finish(open_job(folder_of(str(out))))  # the job's rows are the latest version again
    assert lance.dataset(out).count_rows() == 200


def test_what_is_missing_or_unknown_is_told_before_anything_is_written(tmp_path, source, embedder, monkeypatch):
    with pytest.raises(InputError, match="unknown output 'orc'; expected one of parquet, lance"):
        run(source, tmp_path / "o", model=embedder, output="orc")
    monkeypatch.setattr("me5.bulk.job.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"Lance is not installed: pip install 'me5\[lance\]'"):
        run(source, tmp_path / "o", model=embedder, output="lance")
    assert not (tmp_path / "o").exists()
