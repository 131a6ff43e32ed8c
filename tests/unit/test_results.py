"""The report of the benchmarks: made by benchmarks/report.py from the files of results, never by hand."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))

import report  # noqa: E402
from harness import results  # noqa: E402

FILES = sorted(results.RESULTS.glob("*.json"))


def test_the_report_is_what_the_script_makes():
    runs, _ = report.newest(results.RESULTS)
    made = report.page(runs, report.sections_of(runs))
    assert made == (results.RESULTS / "README.md").read_text("utf-8"), "run python benchmarks/report.py"


def test_every_file_has_its_picture_and_every_picture_its_file():
    assert {path.stem for path in FILES} == {path.stem for path in results.RESULTS.glob("*.svg")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_says_what_it_is(path):
    run = json.loads(path.read_text("utf-8"))
    assert run["benchmark"] in report.SECTIONS
    assert run["machine"]
    assert path.stem.startswith(run["benchmark"])
    assert path.stem.endswith(f"_{run['date']}")


def test_of_two_days_the_newest_counts(tmp_path):
    for day in ("2026-11-23", "2026-12-01"):
        (tmp_path / f"kills_a_{day}.json").write_text(json.dumps({"benchmark": "kills", "date": day}))
    runs, superseded = report.newest(tmp_path)
    assert list(runs) == ["kills_a_2026-12-01"]
    assert superseded == [tmp_path / "kills_a_2026-11-23.json"]


def test_a_run_is_saved_without_paths_and_with_six_digits(tmp_path):
    run = results.begin("search") | {
        "command": "python",
        "p50": 1.23456789,
        "none": float("nan"),
        "why": "no /a/b/c.so",
    }
    line = results.save(run, tmp_path, "A million", "GPU 1")
    (path,) = tmp_path.iterdir()
    assert path.name == f"search_a-million_gpu-1_{run['date']}.json"
    assert path.read_text("utf-8") == line + "\n"
    saved = json.loads(line)
    assert len(saved["load_average"]) == 2
    assert (saved["p50"], saved["none"], saved["why"]) == (1.23457, None, "no c.so")


def test_a_command_is_told_without_the_places_of_a_machine(tmp_path):
    python = tmp_path / "python3"
    python.touch(mode=0o755)
    (tmp_path / "pairs.parquet").touch()
    given = [str(tmp_path), "--others", str(python), "--python", f"a={python}", f"--data={tmp_path / 'pairs.parquet'}"]
    told = results.command(["/x/benchmarks/search.py", *given, "--out", str(tmp_path), "--work=/y", "--k", "3"])
    expected = "search.py FOLDER --others PYTHON --python a=PYTHON --data=FILE --k 3"
    assert told == f"python benchmarks/{expected}"
