"""Lines and records within a limit: embed, data and evaluation name the file and the line, and hold no more than it."""

import csv
import gzip
import io

import pytest

from me5 import InputError
from me5.bulk.read import records
from me5.bulk.source import source_of
from me5.data.readers.records import records as data_records
from me5.evaluation.readers.tables import lines as evaluation_lines
from me5.files.lines import LONGEST, RecordError, csv_records, lines


class Endless(io.RawIOBase):
    """A line without an end, of which no more may be held than the limit."""

    def __init__(self, size):
        self.left = size
        self.largest = 0

    def readline(self, size=-1):
        assert 0 < size <= LONGEST + 1
        got = min(size, self.left)
        self.left -= got
        return b"a" * got


def test_a_long_line_is_passed_over_without_being_held():
    assert list(lines(Endless(4 * LONGEST), "x")) == [None]
    file = io.BytesIO(b"one\n" + b"a" * (LONGEST + 5) + b"\nthree")
    assert list(lines(file, "x")) == [b"one\n", None, b"three"]
    exact = b"a" * (LONGEST - 1) + b"\n"
    assert list(lines(io.BytesIO(exact + b"b\n"), "x")) == [exact, b"b\n"]


def test_what_unpacks_to_far_more_than_it_is_packed_is_an_error(monkeypatch):
    monkeypatch.setattr("me5.files.lines._ALWAYS_UNPACKED", 1000)
    with pytest.raises(InputError, match=r"x\.gz unpacks to more than 1,000 bytes, 200 times its size"):
        list(lines(io.BytesIO(b"line\n" * 300), "x.gz", 4))
    assert len(list(lines(io.BytesIO(b"line\n" * 300), "x.gz", 100))) == 300
    assert len(list(lines(io.BytesIO(b"line\n" * 300), "x", None))) == 300


@pytest.mark.parametrize("suffix", [".txt.gz", ".jsonl.gz", ".csv.gz"])
def test_embed_names_the_line_that_is_too_long(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    head = {".txt.gz": "x\n", ".jsonl.gz": '{"text": "x"}\n', ".csv.gz": "text\n"}[suffix]
    path.write_bytes(gzip.compress(head.encode() + b"a" * (LONGEST + 1) + b"\n", 1))
    assert path.stat().st_size < LONGEST // 100
    with pytest.raises(InputError, match=r"a\.\w+\.gz, line 2: the line has more than 16 MiB"):
        list(records(source_of(str(path))))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_record_of_many_lines_has_a_limit_too(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    raw = b'text,b\nx,y\n"' + (b"a" * 1023 + b"\n") * (LONGEST // 1024 + 1) + b'",z\n'
    path.write_bytes(gzip.compress(raw, 1) if suffix.endswith("gz") else raw)
    with pytest.raises(InputError, match=r"line 3: the record that starts here .*16,777,216 characters"):
        list(records(source_of(str(path))))
    with pytest.raises(InputError, match=r"line 3: cannot be read .*16,777,216 characters"):
        list(data_records(path, lambda *_: None))


def test_data_and_evaluation_name_the_line_too(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' + b"a" * (LONGEST + 1), 1))
    with pytest.raises(InputError, match=r"a\.jsonl\.gz, line 2: the line has more than 16 MiB"):
        list(data_records(path, lambda *_: None))
    with pytest.raises(InputError, match=r"a\.jsonl\.gz, line 2: the line has more than 16 MiB"):
        list(evaluation_lines(path))


def test_records_tell_the_line_on_which_they_start():
    text = ["a,b\n", '"x\n', 'y",z\n', "\n", '"open\n']
    rows = csv_records(text, ",")
    assert [next(rows) for _ in range(3)] == [(1, ["a", "b"]), (2, ["x\ny", "z"]), (4, [])]
    with pytest.raises(RecordError) as told:
        next(rows)
    assert told.value.line == 5
    assert isinstance(told.value, csv.Error)
