"""The cut of inputs into parts: every record once, in order, of any format and size."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5 import InputError
from me5.bulk import inputs, plan
from me5.bulk.read import Record, Unusable, entries
from me5.bulk.source import source_of

FORMATS = ["t.txt", "t.txt.gz", "t.jsonl", "t.jsonl.bz2", "t.csv", "t.parquet", "utf16.txt", "utf16.jsonl"]


def _write(path, texts):
    """Texts in the format of a name; blank lines between JSON lines, of several kinds of white space."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path, row_group_size=17)
        return
    blanks = ["", "\n", " \t\n", "\u3000\n", "\x1c\n"]
    if "jsonl" in path.name:
        content = "".join(json.dumps({"text": text}) + "\n" + blanks[n % 5] for n, text in enumerate(texts))
    elif "csv" in path.name:
        content = "text\n" + "".join(f'"{text}\nsecond line"\n' for text in texts)
    else:
        content = "".join(f"{text}\n" for text in texts)
    data = content.encode("utf-16" if "utf16" in path.name else "utf-8")
    if path.suffix == ".bz2":
        import bz2

        data = bz2.compress(data)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def _texts_of(piece):
    found = list(entries(source_of(piece.file), piece.start))[: piece.records]
    assert [entry.number for entry in found] == list(range(piece.start.record, piece.start.record + piece.records))
    return [entry.text.split("\n")[0] for entry in found]


@pytest.mark.parametrize("texts", [1, 7, 50, 100, 101, 1000])
@pytest.mark.parametrize("name", FORMATS)
def test_the_pieces_of_a_file_are_its_records(tmp_path, name, texts):
    wanted = [f"text {n} ä 你" for n in range(100)]
    _write(tmp_path / name, wanted)
    made = plan.make(inputs.find([str(tmp_path / name)]), source_of, texts)
    assert [text for part in made.parts for piece in part.pieces for text in _texts_of(piece)] == wanted
    assert made.texts == 100
    assert [part.number for part in made.parts] == list(range(len(made.parts)))
    assert all(part.rows <= texts for part in made.parts)
    if name.startswith("t.") and name != "t.parquet":
        assert [part.rows for part in made.parts[:-1]] == [texts] * (len(made.parts) - 1)
    assert plan.from_parquet(plan.to_parquet(made)) == made


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([40, 40, 40], [80, 40]),
        ([100], [100]),
        ([250, 30], [100, 100, 80]),
        ([30, 250], [30, 100, 100, 50]),
        ([100, 100], [100, 100]),
        ([0, 5], [5]),
        ([], []),
    ],
)
def test_parquet_is_cut_at_row_groups_where_they_are_small(groups, expected):
    cut = list(plan._cut_groups(groups, 100))
    assert [records for _, records in cut] == expected
    assert [start.record for start, _ in cut] == [sum(expected[:n]) for n in range(len(expected))]


def test_a_start_within_a_row_group_begins_there(tmp_path):
    columns = {"text": pa.array([f"{n % 3}" for n in range(40)]), "list": pa.array([[n] for n in range(40)])}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=15)
    source = source_of(str(tmp_path / "t.parquet"), keep=["list"])
    whole = list(entries(source))
    for first in (0, 1, 14, 15, 16, 39):
        assert list(entries(source, plan.Start(first))) == whole[first:]


def test_whole_small_files_share_a_part_and_empty_ones_are_known(tmp_path):
    for number, count in enumerate([30, 30, 0, 50, 250, 10]):
        _write(tmp_path / f"{number}.jsonl", ["x"] * count)
    made = plan.make(inputs.find([str(tmp_path)]), source_of, 100)
    shown = [[(piece.file[-7:-6], piece.start.record, piece.records) for piece in part.pieces] for part in made.parts]
    assert shown == [
        [("0", 0, 30), ("1", 0, 30), ("2", 0, 0)], [("3", 0, 50)], [("4", 0, 100)], [("4", 100, 100)],
        [("4", 200, 50), ("5", 0, 10)],
    ]  # fmt: skip


def test_the_same_inputs_are_cut_the_same_and_others_are_not(tmp_path):
    _write(tmp_path / "a.jsonl", ["x"] * 20)
    found = inputs.find([str(tmp_path)])
    first = plan.make(found, source_of, 7)
    assert plan.make(found, source_of, 7).fingerprint == first.fingerprint
    assert plan.make(found, source_of, 8).fingerprint != first.fingerprint
    assert plan.make([found[0]._replace(version="other")], source_of, 7).fingerprint != first.fingerprint


def test_bad_lines_count_as_records(tmp_path):
    (tmp_path / "t.jsonl").write_bytes(b'{"text": "a"}\n\xff\xfe\n\0\n[1]\n' + b"x" * 20 + b'\n{"text": "b"}\n')
    source = source_of(str(tmp_path / "t.jsonl"))
    made = plan.make(inputs.find([source.name]), source_of, 2)
    assert [part.rows for part in made.parts] == [2, 2, 2]
    found = [entry for part in made.parts for piece in part.pieces
             for entry in list(entries(source, piece.start))[: piece.records]]  # fmt: skip
    assert [type(entry) for entry in found] == [Record, *[Unusable] * 4, Record]
    assert "line 5: invalid JSON" in str(found[4].error)
    assert [entry.number for entry in found] == [0, 1, 2, 3, 4, 5]


def test_inputs_are_files_folders_and_globs_each_file_once(tmp_path):
    for name in ("b.txt", "a.jsonl", "sub/c.csv.gz", "sub/.hidden/d.txt", "_SUCCESS", "notes.md", ".e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("x")

    def names(*patterns):
        return [found.name.removeprefix(f"{tmp_path}/") for found in inputs.find([f"{tmp_path}/{p}" for p in patterns])]

    assert names("") == ["a.jsonl", "b.txt", "sub/c.csv.gz"]
    assert names("*.txt", "a.jsonl", "b.txt") == ["b.txt", "a.jsonl"]
    assert names("**/*.gz") == ["sub/c.csv.gz"]
    with pytest.raises(InputError, match=r"no file matches .*none"):
        names("none*")
    with pytest.raises(InputError, match=r"none.txt cannot be read: No such file or directory; check the path"):
        names("none.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no files of texts"):
        names("empty")


def test_inputs_without_records_are_refused(tmp_path):
    _write(tmp_path / "a.jsonl", [])
    with pytest.raises(InputError, match=r"the inputs are empty: .*a.jsonl"):
        plan.make(inputs.find([str(tmp_path)]), source_of, 10)


def test_a_file_that_cannot_be_read_is_named_by_the_plan(tmp_path):
    _write(tmp_path / "a.jsonl", ["x"])
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 9)[:-9])
    with pytest.raises(InputError, match=r"b.jsonl.gz cannot be read: Compressed file ended"):
        plan.make(inputs.find([str(tmp_path)]), source_of, 10)
