"""Lines within a limit, whatever the encoding and the compression; the file and the line are named."""

import bz2
import csv
import gzip
import io

import pyarrow as pa
import pytest

from me5 import InputError
from me5.files.csv import CsvError, csv_records
from me5.files.lines import LONGEST, lines, raw_lines
from me5.files.place import FileError
from me5.files.records import records


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


def zstd(data):
    return pa.compress(data, "zstd", asbytes=True)


PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd, ".GZ": gzip.compress}


def test_a_long_line_is_passed_over_without_being_held():
    assert list(raw_lines(Endless(4 * LONGEST), "x")) == [None]
    file = io.BytesIO(b"one\n" + b"a" * (LONGEST + 5) + b"\nthree")
    assert list(raw_lines(file, "x")) == [b"one\n", None, b"three"]
    exact = b"a" * (LONGEST - 1) + b"\n"
    assert list(raw_lines(io.BytesIO(exact + b"b\n"), "x")) == [exact, b"b\n"]


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_encoding_and_compression_gives_the_same_lines(tmp_path, suffix, encoding):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(PACKED[suffix]("één\r\n\n二\u2028 \rx\nlast".encode(encoding)))
    moves = []
    got = list(lines(path, advance=lambda size, tokens: moves.append((size, tokens))))
    assert got == [(1, "één"), (2, ""), (3, "二\u2028 \rx"), (4, "last")]
    assert sum(size for size, _ in moves) == path.stat().st_size


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_a_damaged_file_is_named(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    whole = PACKED[suffix](b"".join(b'{"a": %d}\n' % n for n in range(9999)))
    for raw in (b"no such file", whole[: len(whole) // 2]):
        path.write_bytes(raw)
        with pytest.raises(FileError, match=rf"a\.jsonl\{suffix} cannot be read: "):
            list(lines(path))
    with pytest.raises(FileError, match=r"gone\.txt is missing"):
        list(lines(tmp_path / "gone.txt"))


def test_what_unpacks_to_far_more_than_it_is_packed_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("me5.files.compression._ALWAYS_UNPACKED", 1000)
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"line\n" * 300_000))
    with pytest.raises(InputError, match=r"x\.gz unpacks to more than \d+,\d+ bytes, 200 times its size"):
        list(lines(path))
    path.write_bytes(gzip.compress(b"line\n" * 100))
    assert len(list(lines(path))) == 100


def test_lines_that_are_no_text_can_be_passed_over(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\n\xff\nth\0ree\n" + b"a" * (LONGEST + 1) + b"\nfive\n")
    told = []
    got = list(lines(tmp_path / "a.txt", refuse=lambda place, reason: told.append((place.at, reason))))
    assert got == [(1, "one"), (5, "five")]
    assert [at for at, _ in told] == [2, 3, 4]
    assert [reason.split(";")[0] for _, reason in told] == [
        "byte 1 (0xff) is not valid UTF-8",
        "the line holds NUL characters, so it is not text, or UTF-16 without a byte order mark",
        "the line has more than 16 MiB, the most that is read",
    ]


def test_records_of_csv_tell_the_line_on_which_they_start():
    text = ["a,b\n", '"x\n', 'y",z\n', "\n", '"open\n']
    rows = csv_records(text, ",")
    assert [next(rows) for _ in range(3)] == [(1, ["a", "b"]), (2, ["x\ny", "z"]), (4, [])]
    with pytest.raises(CsvError) as told:
        next(rows)
    assert told.value.line == 5
    assert isinstance(told.value, csv.Error)


@pytest.mark.parametrize("suffix", [".txt.gz", ".jsonl.gz", ".csv.gz"])
def test_the_line_that_is_too_long_is_named(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    head = {".txt.gz": "x\n", ".jsonl.gz": '{"text": "x"}\n', ".csv.gz": "text\n"}[suffix]
    path.write_bytes(gzip.compress(head.encode() + b"a" * (LONGEST + 1) + b"\n", 1))
    assert path.stat().st_size < LONGEST // 100
    with pytest.raises(InputError, match=r"a\.\w+\.gz, line 2: the line has more than 16 MiB"):
        list(lines(path) if suffix == ".txt.gz" else records(path))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_record_of_many_lines_has_a_limit_too(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    raw = b'text,b\nx,y\n"' + (b"a" * 1023 + b"\n") * (LONGEST // 1024 + 1) + b'",z\n'
    path.write_bytes(gzip.compress(raw, 1) if suffix.endswith("gz") else raw)
    with pytest.raises(InputError, match=r"line 3: the record that starts here .*16,777,216 characters"):
        list(records(path))
