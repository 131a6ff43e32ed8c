"""Jobs whose inputs and outputs lie in an object store, by S3's protocol against a local server."""

import gzip
import json
import logging
import socket
import threading
import time
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from killing import PATIENCE, below, command, kill

from me5 import InputError
from me5.bulk import commit, inputs, resume, run
from me5.bulk.folders import folder_of, objects
from me5.bulk.job import open_job
from me5.bulk.status import status
from me5.errors import Me5Warning
from me5.files import parquet
from me5.files.lines import lines
from me5.files.objects import ObjectFile, is_url, store_of

obstore = pytest.importorskip("obstore", reason="the extra cloud is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto[s3] is not installed")

TEXTS = [f"text {n % 70}" for n in range(200)]


@pytest.fixture(scope="module")
def endpoint():
    """The address of a local S3."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(port=0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server._port = free.getsockname()[1]
    server._ip_address = "127.0.0.1"
    server.start()
    yield f"http://127.0.0.1:{server._port}"
    server.stop()


@pytest.fixture
def bucket(endpoint, monkeypatch):
    """The URL of a new bucket."""
    import urllib.request

    name = f"b{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    settings = {"ENDPOINT_URL": endpoint, "ALLOW_HTTP": "true", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x",
                "REGION": "us-east-1"}  # fmt: skip
    for key, value in settings.items():
        monkeypatch.setenv(f"AWS_{key}", value)
    store_of.cache_clear()
    yield f"s3://{name}"
    store_of.cache_clear()


def _put(url, content):
    store, path = url[5:].split("/", 1)
    obstore.put(store_of(f"s3://{store}"), path, content)


@pytest.fixture
def stored(bucket, tmp_path):
    """Inputs of several formats in the bucket."""
    rows = [json.dumps({"text": text}) + "\n" for text in TEXTS]
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "c.parquet", row_group_size=64)
    _put(f"{bucket}/in/a.jsonl", "".join(rows).encode())
    _put(f"{bucket}/in/b.jsonl.gz", gzip.compress("".join(rows).encode()))
    _put(f"{bucket}/in/deep/c.parquet", (tmp_path / "c.parquet").read_bytes())
    _put(f"{bucket}/in/_SUCCESS", b"")
    _put(f"{bucket}/in/notes.md", b"x")
    return f"{bucket}/in"


def _table(url):
    listed = json.loads(folder_of(url).read("files.json"))
    return pa.concat_tables(pq.read_table(ObjectFile(f"{url}/{each['file']}").open()) for each in listed["files"])


def test_urls_are_told_from_paths():
    assert all(map(is_url, ["s3://b", "s3://b/c/d.jsonl", "gs://b/x", "https://host/f.txt"]))
    assert not any(map(is_url, ["a/b", "/a//b", "C:/x", "s3:/b", "docs", "weird:name"]))
    file = ObjectFile("s3://b/c/d.jsonl.gz")
    assert (file.name, file.stem, file.suffix) == ("d.jsonl.gz", "d.jsonl", ".gz")


def test_objects_are_read_like_files(stored):
    found = [json.loads(line)["text"] for _, line in lines(ObjectFile(f"{stored}/a.jsonl"))]
    assert found == TEXTS
    assert [row["text"] for row in parquet.rows(ObjectFile(f"{stored}/deep/c.parquet"), start=150)] == TEXTS[150:]
    with pytest.raises(InputError, match=r"none.jsonl is missing; check the path"):
        list(lines(ObjectFile(f"{stored}/none.jsonl")))
    with pytest.raises(InputError, match=r"none.parquet is missing; check the path"):
        parquet.columns(ObjectFile(f"{stored}/none.parquet"))


def test_inputs_are_found_by_folder_and_glob(stored):
    def names(*patterns):
        return [found.name.removeprefix(f"{stored}/") for found in inputs.find(patterns)]

    assert names(stored) == ["a.jsonl", "b.jsonl.gz", "deep/c.parquet"]
    assert names(f"{stored}/") == names(stored)
    assert names(f"{stored}/*.jsonl*", f"{stored}/a.jsonl") == ["a.jsonl", "b.jsonl.gz"]
    assert names(f"{stored}/**/*.parquet", f"{stored}/[ab].jsonl") == ["deep/c.parquet", "a.jsonl"]
    with pytest.raises(InputError, match=r"no file matches s3://.*/none\*"):
        names(f"{stored}/none*")
    with pytest.raises(InputError, match=r"none.jsonl cannot be read: No such object; check the path"):
        names(f"{stored}/none.jsonl")


def test_a_job_from_store_to_store_is_that_of_local_files(stored, bucket, tmp_path, embedder):
    result = run(stored, f"{bucket}/out", model=embedder, part_texts=64)
    table = _table(f"{bucket}/out")
    assert result.finished
    assert table["row"].to_pylist() == [*range(200), *range(200), *range(200)]
    expected = pa.array(embedder.encode_document(TEXTS).tolist() * 3, table["vector"].type)
    assert table["vector"].combine_chunks().equals(expected)
    found = status(open_job(folder_of(f"{bucket}/out")))
    assert (found.texts_done, found.finished) == (600, True)
    assert resume(f"{bucket}/out", model=embedder).parts == 0


@pytest.mark.slow
def test_a_job_from_store_to_store_on_ray_survives_the_kill_of_a_worker(stored, bucket, tmp_path, xlmr, short):
    pytest.importorskip("ray", reason="the extra ray is not installed")

    def arguments(out):
        return [stored, "--out", out, "--part-texts", 16, "-m", xlmr, "-p", "f32", "--prompts", "none", "--quiet"]

    assert command(tmp_path, *arguments(f"{bucket}/whole")).wait(PATIENCE) == 0
    driver = command(tmp_path, *arguments(f"{bucket}/out"), "--workers", 2, "--ray", "local", **short)
    while driver.poll() is None and len(folder_of(f"{bucket}/out").names("commits")) < 2:
        time.sleep(0.02)
    assert kill(below(driver.pid, "ray::RemoteWorker")[0])
    assert driver.wait(PATIENCE) == 0
    assert _table(f"{bucket}/out").equals(_table(f"{bucket}/whole"))
    assert _table(f"{bucket}/out").num_rows == 600


def test_an_interrupted_job_resumes(stored, bucket, embedder, monkeypatch):
    from me5.bulk import worker

    def stop(*arguments):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(original(*arguments))
        return done[-1]

    done, original = [], worker.attempt
    monkeypatch.setattr(worker, "attempt", stop)
    with pytest.raises(KeyboardInterrupt):
        run(stored, f"{bucket}/out", model=embedder, part_texts=64)
    monkeypatch.undo()
    _put(f"{bucket}/out/data/part-00000.other.parquet", b"x")
    assert run(stored, f"{bucket}/out", model=embedder, part_texts=64).parts == 9
    names = folder_of(f"{bucket}/out").names("data")
    assert len(names) == 12
    assert "data/part-00000.other.parquet" not in names
    assert _table(f"{bucket}/out").num_rows == 600


def test_a_dataset_of_lance_lies_in_a_store_too(stored, bucket, embedder):
    lance = pytest.importorskip("lance", reason="the extra lance is not installed")
    assert run(stored, f"{bucket}/out.lance", model=embedder, part_texts=64, output="lance").finished
    run(stored, f"{bucket}/out", model=embedder, part_texts=64)
    dataset = lance.dataset(f"{bucket}/out.lance")
    assert dataset.to_table().replace_schema_metadata().equals(_table(f"{bucket}/out").replace_schema_metadata())


def test_an_object_that_changes_is_refused(stored, bucket, embedder):
    run(stored, f"{bucket}/out", model=embedder)
    _put(f"{stored}/a.jsonl", b'{"text": "other"}\n')
    with pytest.raises(InputError, match=r"a.jsonl has changed. Restore them"):
        resume(f"{bucket}/out", model=embedder)


@pytest.mark.parametrize("conditional", [True, False])
def test_of_many_writers_of_a_name_one_wins(bucket, monkeypatch, conditional):
    def write(number):
        own = folder_of(f"{bucket}/job")
        own.__dict__["_has_conditional_put"] = conditional
        won.append(own.write_once("commits/part-00000.json", str(number).encode()))

    monkeypatch.setattr(objects, "_SETTLE", 0.5)
    won = []
    writers = [threading.Thread(target=write, args=[number]) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(won) == [False] * 5 + [True]
    folder = folder_of(f"{bucket}/job")
    kept = folder.read("commits/part-00000.json")
    folder.__dict__["_has_conditional_put"] = conditional
    assert not folder.write_once("commits/part-00000.json", b"late")
    assert folder.read("commits/part-00000.json") == kept
    assert folder.names("leases") == []


def test_a_store_without_conditional_puts_is_recognised_and_told(stored, bucket, embedder, monkeypatch):
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    monkeypatch.setattr(objects, "_SETTLE", 0.01)
    store_of.cache_clear()
    with pytest.warns(Me5Warning, match="in a store without conditional puts: every commit takes a lease"):
        assert run(stored, f"{bucket}/out", model=embedder).finished
    job = open_job(folder_of(f"{bucket}/out"))
    assert [done.part for done in commit.commits(job)] == list(range(len(job.plan.parts)))


def test_a_store_that_ignores_conditions_is_recognised(bucket, monkeypatch):
    original = obstore.put
    monkeypatch.setattr(obstore, "put", lambda store, path, content, mode=None: original(store, path, content))
    folder = folder_of(f"{bucket}/job")
    with pytest.warns(Me5Warning, match="without conditional puts"):
        assert not folder._has_conditional_put
    assert folder.names("probes") == []


def test_a_store_that_refuses_is_one_sentence(stored, embedder):
    with pytest.raises(InputError, match=r"s3://no-such-bucket-x/out/manifest.json cannot be|cannot be written"):
        run(stored, "s3://no-such-bucket-x/out", model=embedder)
    with pytest.raises(InputError, match="ftp://host is not an object store that can be opened"):
        run(stored, "ftp://host/out", model=embedder)
