"""Bulk jobs in one process: what they write, what bad texts and files cost, and that kills change nothing."""

import gzip
import json
import resource
import shutil
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5 import Embedder, EngineError, InputError
from me5.bulk import commit, driver, run
from me5.bulk.driver import Shard, resume
from me5.bulk.estimate import estimate
from me5.bulk.finish import clean
from me5.bulk.folders import folder_of
from me5.bulk.job import open_job
from me5.bulk.manifest import Settings
from me5.bulk.status import status
from me5.checkpoint import resolve
from me5.engine.fake import FakeEngine

SETTINGS = {"id_field": "id", "keep": ("year",), "keep_text": True, "part_texts": 100}


class Faulty(FakeEngine):
    """Raises what `fault` returns for a batch."""

    def __init__(self, fault):
        super().__init__(dim=16)
        self.fault = fault

    def embed(self, sequences):
        if (error := self.fault(self, sequences)) is not None:
            raise error
        return super().embed(sequences)


def _embedder(fault):
    return Embedder(resolve(None), Faulty(fault))


def _records(folder):
    """What the inputs hold, read by other means: (file, row, id, text, year)."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
        elif path.suffix == ".csv":
            import csv

            with path.open(newline="") as file:
                rows = list(csv.DictReader(file))
        else:
            content = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
            rows = [json.loads(line) for line in content.splitlines() if line]
        yield from ((str(path), n, row["id"], row["text"], int(row["year"])) for n, row in enumerate(rows))


def test_every_record_of_every_format_becomes_a_row(tmp_path, embedder, inputs, read):
    result = run(inputs, tmp_path / "out", model=embedder, **SETTINGS)
    wanted = list(_records(inputs))
    got = read(tmp_path / "out")
    columns = ("file", "row", "id", "text", "year")
    assert list(zip(*map(got.column, columns), strict=True)) == wanted
    assert got.table.column_names == ["file", "row", "id", "year", "text", "vector"]
    np.testing.assert_array_equal(got.vectors(), embedder.encode_document([text for _, _, _, text, _ in wanted]))
    assert (result.texts, result.finished, result.failed, got.errors) == (len(wanted), True, {}, [])
    assert (tmp_path / "out" / "_SUCCESS").exists()
    assert pq.read_table(tmp_path / "out" / "data").num_rows == len(wanted)


def test_equal_texts_of_a_part_are_embedded_once(tmp_path, read):
    seen = []
    embedder = _embedder(lambda engine, sequences: seen.extend(map(bytes, sequences)))
    texts = [f"text {n % 7}" for n in range(250)]
    (tmp_path / "t.txt").write_text("\n".join(texts))
    run(tmp_path / "t.txt", tmp_path / "out", model=embedder, part_texts=100)
    assert len(seen) == 21
    plain = Embedder(resolve(None), FakeEngine(dim=16))
    np.testing.assert_array_equal(read(tmp_path / "out").vectors(), plain.encode_document(texts))
    assert status(open_job(folder_of(str(tmp_path / "out")))).unique == 21


@pytest.mark.parametrize("numbers", ["f32", "f16", "int8", "binary"])
def test_vectors_in_every_form_give_their_cosines_back(tmp_path, embedder, read, numbers):
    texts = [f"text {n}" for n in range(30)]
    (tmp_path / "t.txt").write_text("\n".join(texts))
    run(tmp_path / "t.txt", tmp_path / "out", model=embedder, vectors=numbers)
    table = read(tmp_path / "out").table
    stored = np.array(table["vector"].to_pylist())
    if numbers == "binary":
        stored = np.unpackbits(stored.astype(np.uint8), axis=1) * 2.0 - 1
    if numbers in ("int8", "binary"):
        stored = stored * np.array(table["scale"].to_pylist())[:, None]
    exact = embedder.encode_document(texts)
    error = np.linalg.norm(stored - exact, axis=1)
    assert error.max() < {"f32": 1e-9, "f16": 1e-3, "int8": 2e-2, "binary": 0.8}[numbers]
    if numbers == "binary":
        np.testing.assert_array_equal(stored > 0, exact > 0)
    kinds = {"f32": "float", "f16": "halffloat", "int8": "int8", "binary": "uint8"}
    width = 2 if numbers == "binary" else 16
    kind = table.schema.field("vector").type
    assert (str(kind.value_type), kind.list_size) == (kinds[numbers], width)


def test_bits_must_fill_bytes(tmp_path):
    (tmp_path / "t.txt").write_text("x\n")
    with pytest.raises(InputError, match="12 dimensions do not fill whole bytes; choose f32, f16 or int8"):
        run(tmp_path / "t.txt", tmp_path / "out", model=Embedder(resolve(None), FakeEngine(dim=12)), vectors="binary")


def test_a_bad_text_costs_itself_and_is_listed(tmp_path, monkeypatch, embedder, read):
    monkeypatch.setattr("me5.bulk.job._SAMPLE", 2)
    rows = ['{"id": "a", "text": "fine", "n": 1}', '{"id": "b", "text": "half \\ud83d", "n": 2}', '{"id": "c"', "[]",
            '{"id": 5, "text": "x", "n": 3}', '{"id": "d", "text": null, "n": 4}',
            '{"id": "e", "text": "y", "n": "no"}', '{"id": "f", "text": "fine", "n": 6}']  # fmt: skip
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    result = run(tmp_path / "t.jsonl", tmp_path / "out", model=embedder, id_field="id", keep=["n"], part_texts=3)
    got = read(tmp_path / "out")
    assert result.finished
    assert got.column("row") == list(range(8))
    assert got.column("id") == ["a", "b", None, None, None, None, "e", "f"]
    assert got.column("n") == [1, 2, None, None, None, None, None, 6]
    assert [vector is None for vector in got.column("vector")] == [False, True, True, True, True, True, False, False]
    fine = embedder.encode_document(["fine", "y", "fine"])
    np.testing.assert_array_equal(got.vectors()[[0, 6, 7]], fine)
    listed = [(error["part"], error["row"], error["id"], error["reason"]) for error in got.errors]
    expected = [
        (0, 1, "b", "holds a lone surrogate"), (0, 2, None, "line 3: invalid JSON"), (1, 3, None, "line 4: list"),
        (1, 4, None, "the id in 'id' is int (5), unlike the others"), (1, 5, None, "field 'text' is null"),
        (2, 6, "e", "the value of 'n' is str ('no'), expected int64, and became null"),
    ]  # fmt: skip
    assert [error[:3] for error in listed] == [error[:3] for error in expected]
    assert all(wanted[3] in error[3] for wanted, error in zip(expected, listed, strict=True))
    assert status(open_job(folder_of(str(tmp_path / "out")))).refused == 5


def test_a_text_that_the_engine_fails_on_costs_itself(tmp_path, read):
    def poisoned(engine, sequences):
        return EngineError("not finite") if any(len(ids) > 12 for ids in sequences) else None

    texts = [f"text {n}" for n in range(50)]
    texts[17] = "a much longer text " * 5
    (tmp_path / "t.txt").write_text("\n".join(texts))
    run(tmp_path / "t.txt", tmp_path / "out", model=_embedder(poisoned), part_texts=40)
    got = read(tmp_path / "out")
    assert [(error["row"], error["reason"]) for error in got.errors] == [(17, "not finite")]
    plain = Embedder(resolve(None), FakeEngine(dim=16)).encode_document(texts)
    plain[17] = np.nan
    np.testing.assert_array_equal(got.vectors(), plain)


def test_out_of_memory_halves_the_batches(tmp_path, read):
    def small(engine, sequences):
        return MemoryError() if sum(map(len, sequences)) > 200 else None

    embedder = _embedder(small)
    texts = [f"text {n}" for n in range(500)]
    (tmp_path / "t.txt").write_text("\n".join(texts))
    run(tmp_path / "t.txt", tmp_path / "out", model=embedder)
    np.testing.assert_array_equal(
        read(tmp_path / "out").vectors(), Embedder(resolve(None), FakeEngine(dim=16)).encode_document(texts)
    )
    assert embedder.engine.batch_tokens == 144


def test_a_part_that_fails_three_times_is_listed_and_the_others_go_on(tmp_path, read):
    def broken(engine, sequences):
        return EngineError("the engine is gone") if any(len(ids) > 12 for ids in sequences) else None

    texts = [f"text {n}" if n // 10 != 1 else f"a much longer text {n} " * 3 for n in range(30)]
    (tmp_path / "t.txt").write_text("\n".join(texts))
    result = run(tmp_path / "t.txt", tmp_path / "out", model=_embedder(broken), part_texts=10)
    assert (result.parts, result.left, result.finished) == (2, 1, False)
    assert result.failed == {1: "the engine is gone"}
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    found = status(open_job(folder_of(str(tmp_path / "out"))))
    assert (found.parts_done, found.failed, found.finished) == (2, {1: "the engine is gone"}, False)
    whole = Embedder(resolve(None), FakeEngine(dim=16))
    again = resume(tmp_path / "out", model=whole)
    assert (again.parts, again.finished, again.failed) == (1, True, {})
    np.testing.assert_array_equal(read(tmp_path / "out").vectors(), whole.encode_document(texts))
    assert status(open_job(folder_of(str(tmp_path / "out")))).failed == {}


@pytest.mark.parametrize("at", [1, 2, 5, 9])
def test_a_run_that_is_interrupted_resumes_to_the_same_table(tmp_path, embedder, inputs, read, at):
    run(inputs, tmp_path / "whole", model=embedder, **SETTINGS)
    calls = []

    def interrupt(engine, sequences):
        calls.append(1)
        return KeyboardInterrupt() if len(calls) == at else None

    with pytest.raises(KeyboardInterrupt):
        run(inputs, tmp_path / "out", model=_embedder(interrupt), **SETTINGS)
    before = set((tmp_path / "out" / "commits").iterdir()) if (tmp_path / "out" / "commits").exists() else set()
    result = run(inputs, tmp_path / "out", model=embedder, **SETTINGS)
    assert result.parts == len(result.job.plan.parts) - len(before)
    assert read(tmp_path / "out").table.equals(read(tmp_path / "whole").table)


def test_shards_and_two_drivers_at_once_make_one_table(tmp_path, embedder, inputs, read):
    run(inputs, tmp_path / "whole", model=embedder, **SETTINGS)

    def drive(shard):
        own = Embedder(resolve(None), FakeEngine(dim=16))
        results.append(run(inputs, tmp_path / "out", model=own, shard=shard, **SETTINGS))

    results = []
    shards = [Shard(0, 2), Shard(0, 2), Shard(1, 2), Shard()]
    threads = [threading.Thread(target=drive, args=[shard]) for shard in shards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert any(result.finished for result in results)
    assert len(results) == len(shards)
    assert read(tmp_path / "out").table.equals(read(tmp_path / "whole").table)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": "query"}, r"other settings: side \(document then, query now\)"),
        ({"part_texts": 50}, r"part_texts \(100 then, 50 now\)"),
        ({"keep": ()}, r"keep \(year then, none now\)"),
        ({"id_field": None}, r"id_field \(id then, none now\)"),
        ({"vectors": "f16"}, r"vectors \(f32 then, f16 now\)"),
        ({"model": Embedder(resolve(None), FakeEngine(dim=16), max_tokens=50)}, r"max_tokens \(512 then, 50 now\)"),
    ],
)
def test_another_job_in_the_same_folder_is_refused(tmp_path, embedder, inputs, changes, message):
    run(inputs, tmp_path / "out", model=embedder, **SETTINGS)
    with pytest.raises(InputError, match=message):
        run(inputs, tmp_path / "out", **{"model": embedder, **SETTINGS, **changes})


def test_a_resume_with_another_model_is_refused(tmp_path, embedder, inputs):
    run(inputs, tmp_path / "out", model=embedder, **SETTINGS)
    shutil.rmtree(tmp_path / "out" / "commits")
    with pytest.raises(InputError, match=r"is not the one that .*out was started with: its files, prompts or limits"):
        resume(tmp_path / "out", model=Embedder(resolve(None), FakeEngine(dim=16), prompts="prefix"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "a.jsonl").write_text('{"id": "x", "text": "y", "year": 1}\n'),
            "a.jsonl has changed",
        ),
        (lambda folder: (folder / "new.txt").write_text("x\n"), "new.txt is new"),
        (lambda folder: (folder / "d.parquet").unlink(), "d.parquet is gone"),
    ],
)
def test_changed_inputs_are_refused(tmp_path, embedder, inputs, change, message):
    run(inputs, tmp_path / "out", model=embedder, **SETTINGS)
    change(inputs)
    with pytest.raises(InputError, match=f"no longer those of its plan: .*{message}. Restore"):
        run(inputs, tmp_path / "out", model=embedder, **SETTINGS)


def test_an_input_that_changes_while_it_is_read_ends_the_run(tmp_path, inputs):
    def change(engine, sequences):
        (inputs / "d.parquet").touch()

    with pytest.raises(InputError, match=r"d.parquet has changed since the job was planned; restore it"):
        run(inputs, tmp_path / "out", model=_embedder(change), **SETTINGS)


def test_a_full_disk_ends_the_run_and_leaves_what_resumes(tmp_path, embedder, inputs, read):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    driver.plan(Settings((str(inputs),), **SETTINGS), folder_of(str(tmp_path / "out")), embedder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(InputError, match=r"part-00000.* cannot be written: File too large; check the disk"):
            run(inputs, tmp_path / "out", model=embedder, **SETTINGS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "out" / "data").iterdir()) == []
    assert run(inputs, tmp_path / "out", model=embedder, **SETTINGS).finished
    assert len(list(_records(inputs))) == read(tmp_path / "out").table.num_rows


def test_files_of_other_attempts_are_removed_those_of_parts_in_work_are_not(tmp_path, embedder, inputs):
    result = run(inputs, tmp_path / "out", model=embedder, **SETTINGS)
    out = tmp_path / "out"
    before = sorted(path.name for path in (out / "data").iterdir())
    (out / "commits" / "part-00002.json").unlink()
    for name in ("part-00000.aaaaaaaa.parquet", ".part-00001.bbbbbbbb.parquet.me5-01234567", "part-00002.c.parquet"):
        (out / "data" / name).touch()
    removed = clean(result.job, commit.commits(result.job))
    assert removed == ["data/.part-00001.bbbbbbbb.parquet.me5-01234567", "data/part-00000.aaaaaaaa.parquet"]
    assert sorted(path.name for path in (out / "data").iterdir()) == sorted([*before, "part-00002.c.parquet"])
    (out / "_SUCCESS").unlink()
    assert resume(out, model=embedder).finished
    assert len(list((out / "data").iterdir())) == len(before)


def test_the_first_commit_of_a_part_counts(tmp_path, embedder, inputs):
    job = run(inputs, tmp_path / "out", model=embedder, **SETTINGS).job
    first = commit.commits(job)[3]
    assert not commit.commit(job, commit.Commit(**{**vars(first), "data": "data/part-00003.other.parquet"}))
    assert commit.commits(job)[3] == first


def test_a_job_that_is_damaged_says_so(tmp_path, embedder, inputs):
    with pytest.raises(InputError, match="out holds no bulk job; start one with me5 bulk INPUTS --out"):
        resume(tmp_path / "out", model=embedder)
    run(inputs, tmp_path / "out", model=embedder, **SETTINGS)
    (tmp_path / "out" / "commits" / "part-00001.json").write_text("{")
    with pytest.raises(InputError, match=r"out/commits is damaged .*; remove it, and its part is done again"):
        status(open_job(folder_of(str(tmp_path / "out"))))
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(InputError, match=r"manifest.json was written by another version of me5"):
        resume(tmp_path / "out", model=embedder)
    manifest.write_text("[]")
    with pytest.raises(InputError, match=r"manifest.json cannot be read .*; it is not a manifest of a bulk job"):
        resume(tmp_path / "out", model=embedder)
    (tmp_path / "out" / "plan.parquet").unlink()
    with pytest.raises(InputError, match=r"out/plan.parquet is gone, the list of the job's parts; start the job again"):
        resume(tmp_path / "out", model=embedder)


def test_kept_columns_keep_their_types(tmp_path, embedder, read):
    columns = {"text": ["a", "b"], "when": pa.array([0, None], pa.timestamp("us", "UTC")),
               "tags": pa.array([["x"], []]), "n": pa.array([1, 2], pa.uint8())}  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    run(tmp_path / "t.parquet", tmp_path / "out", model=embedder, keep=["when", "tags", "n"])
    got = read(tmp_path / "out").table
    for name in ("when", "tags", "n"):
        assert got[name].equals(
            pa.chunked_array([columns[name]]) if name != "tags" else pa.chunked_array([[["x"], []]])
        )
    (tmp_path / "t.jsonl").write_text('{"text": "a", "x": [1], "y": 2.5}\n{"text": "b", "x": {"k": "ä"}, "y": 1}\n')
    run(tmp_path / "t.jsonl", tmp_path / "o2", model=embedder, keep=["x", "y"])
    got = read(tmp_path / "o2")
    assert (got.column("x"), got.column("y")) == (["[1]", '{"k": "ä"}'], [2.5, 1.0])
    with pytest.raises(InputError, match="a column 'vector' is written in any case"):
        run(tmp_path / "t.jsonl", tmp_path / "o3", model=embedder, keep=["vector"])


def test_an_estimate_counts_and_writes_nothing(tmp_path, embedder, inputs):
    wanted = Settings((str(inputs),), part_texts=100)
    job = driver.described_job(wanted, folder_of(str(tmp_path / "out")), embedder)
    found = estimate(job, embedder)
    records = list(_records(inputs))
    assert (found.files, found.texts, found.bytes) == (7, len(records), len(records) * 16 * 4)
    tokens = sum(embedder.prepare([text for _, _, _, text, _ in records], "document").report.tokens)
    assert found.tokens == pytest.approx(tokens, rel=0.2)
    assert found.seconds == pytest.approx(found.tokens / found.tokens_per_second, rel=0.01)
    assert found.cost(2.0) == pytest.approx(found.seconds / 1800)
    assert not (tmp_path / "out").exists()
