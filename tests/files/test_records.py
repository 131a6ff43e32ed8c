"""Records of every format: one rule for rows, blank lines and what cannot be used."""

import gzip
import json
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from me5.errors import InputError
from me5.files import parquet
from me5.files.lines import LONGEST
from me5.files.place import FileError, Place
from me5.files.records import Records, records

ROWS = [{"id": "1", "text": "one"}, {"id": "2", "text": "two\nlines"}, {"id": "3", "text": ""}]
CSV = 'id,text\n1,one\n\n2,"two\nlines"\n3,\n'


def written(folder, name):
    path = folder / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=2)
    elif ".jsonl" in name:
        text = "\n".join(map(json.dumps, ROWS[:2])) + "\n \t\n" + json.dumps(ROWS[2])
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    else:
        path.write_text(CSV.replace(",", "\t") if name.endswith(".tsv") else CSV, "utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("a.jsonl", ["line 1", "line 2", "line 4"]),
        ("a.JSONL.gz", ["line 1", "line 2", "line 4"]),
        ("a.csv", ["line 2", "line 4", "line 6"]),
        ("a.tsv", ["line 2", "line 4", "line 6"]),
        ("a.parquet", [f"row {row} (counted from 0)" for row in range(3)]),
    ],
)
def test_every_format_gives_the_same_records_and_where_they_stand(tmp_path, name, places):
    path = tmp_path / name
    written(tmp_path, name.lower()).rename(path)
    got = list(records(path))
    assert [record.values for record in got] == ROWS
    assert [str(record.place) for record in got] == [f"{path}, {place}" for place in places]
    chosen = list(Records(path, wanted={"text": "--field"}, only=True))
    assert [record.values for record in chosen] == [{"text": row["text"]} | chosen_rest(name, row) for row in ROWS]


def chosen_rest(name, row):
    """JSON is parsed as a whole."""
    return {"id": row["id"]} if "jsonl" in name.lower() else {}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_of_other_programs(tmp_path, end, delimiter):
    text = f'n{delimiter}text{end}1{delimiter}"a, b{end}c"{end}2{delimiter}d{end}'
    (tmp_path / "a.csv").write_text(text, "utf-16", newline="")
    got = list(Records(tmp_path / "a.csv", wanted={"text": "--field"}))
    assert [record.values for record in got] == [{"n": "1", "text": "a, b\nc"}, {"n": "2", "text": "d"}]
    assert [record.place.at for record in got] == [2, 4]


def test_what_cannot_be_used_stops_the_reading_or_is_told(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": 1}\n[1]\n{"a": 1}\nnull\n{\n\xff\n{"text": "b"}\n')
    told = []
    rows = Records(path, wanted={"text": "--field"}, refuse=lambda place, reason: told.append((place.at, reason)))
    assert [record.values for record in rows] == [{"text": 1}, {"text": "b"}]
    assert [at for at, _ in told] == [2, 3, 4, 5, 6]
    assert [reason.split(",")[0] for _, reason in told[:3]] == ["list ([1])", "no field 'text'", "null"]
    with pytest.raises(FileError, match=r"a\.jsonl, line 2: list \(\[1\]\), expected a JSON object") as failed:
        list(records(path))
    assert failed.value.reason.startswith("line 2: list")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,a\n1,2\n", "a.csv has 2 columns 'a'; its columns are 'a', 'a'. Rename one of them"),
        ("a.csv", 'a\n1\n"open\n', "a.csv, line 3: the record that starts here cannot be read"),
        ("a.txt", "a\n", r"a.txt is not a file of records: expected \.jsonl, .*\.zst"),
        ("a.parquet.gz", "a\n", "Parquet can only be read from a plain file"),
    ],
)
def test_files_that_are_no_records_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        list(records(tmp_path / name))
    with pytest.raises(InputError, match=r"gone\.parquet is missing"):
        list(records(tmp_path / "gone.parquet"))


def test_parquet_gives_the_values_that_arrow_has(tmp_path):
    table = pa.table(
        {
            "list": [["a", None], None, [], ["b"]],
            "struct": [{"s": "x", "n": 1}, None, {"s": None, "n": 2}, {"s": "x", "n": 3}],
            "deep": [[{"s": ["y"]}], [], None, [{"s": []}, None]],
            "decimal": [Decimal("1.5"), None, Decimal("2.5"), Decimal("3.5")],
            "raw": [b"\xff", b"", None, b"z"],
            "words": pa.array(["p", "q", None, "p"]).dictionary_encode(),
            "numbers": pa.array([1, 2, None, 1]).dictionary_encode(),
            "dotted.name": ["a", "b", "c", None],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    assert list(parquet.rows(tmp_path / "a.parquet")) == table.to_pylist()
    some = list(parquet.rows(tmp_path / "a.parquet", ["dotted.name", "deep"]))
    assert some == table.select(["dotted.name", "deep"]).to_pylist()


def test_a_text_in_parquet_has_a_limit(tmp_path):
    pq.write_table(pa.table({"text": ["a" * (LONGEST + 1), "b"]}), tmp_path / "a.parquet")
    told = []
    rows = Records(tmp_path / "a.parquet", refuse=lambda place, reason: told.append((place, reason)))
    assert [record.values for record in rows] == [{"text": "b"}]
    ((place, reason),) = told
    assert place == Place(str(tmp_path / "a.parquet"), 0, "row")
    assert reason.startswith("the text in 'text' has 16,777,217 characters, and at most 16,777,216 are read")


BOUNDED = """
import resource, sys
from pathlib import Path
from me5.files.parquet import rows
import pyarrow.parquet
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in rows(Path(sys.argv[1])))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize("kind", ["equal", "nested", "different"])
def test_memory_does_not_grow_with_what_a_small_file_holds(tmp_path, kind):
    """1 to 4 GB of text: equal texts, equal texts in lists, and different ones that pack to nothing."""
    path, long = tmp_path / "a.parquet", "x" * 1_000_000
    if kind == "equal":
        pq.write_table(pa.table({"text": pa.array([long]).take(pa.array([0] * 1000))}), path)
    elif kind == "nested":
        items = pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), pa.array([long]))
        lists = pa.ListArray.from_arrays(pa.array(range(0, 4001, 4), pa.int32()), items)
        pq.write_table(pa.table({"text": lists}), path)
    else:
        with pq.ParquetWriter(path, pa.schema({"text": pa.string()}), compression="zstd", use_dictionary=False) as file:
            for _ in range(10):
                file.write_table(pa.table({"text": [f"{row}{long}" for row in range(100)]}))
    assert path.stat().st_size < 4 << 20
    told = subprocess.run([sys.executable, "-c", BOUNDED, str(path)], capture_output=True, text=True, check=True)
    count, mib = map(int, told.stdout.split())
    assert count == 1000
    assert mib < 400
