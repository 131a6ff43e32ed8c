"""`me5 bulk` as a user meets it: what it says and returns."""

import json
import sys

import pytest

from me5.cli import main

MODEL = ["-p", "f32", "--prompts", "none", "--threads", "1"]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the command as the shell does: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text("".join(f"text {n}\n" for n in range(30)))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["me5", "bulk", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        output, errors = capsys.readouterr()
        return ended.value.code or 0, output, errors

    return run


def test_a_job_from_its_plan_to_its_end(run, tmp_path, xlmr):
    start = ("t.txt", "--out", "out", "-m", str(xlmr), "--part-texts", "10", *MODEL)
    code, output, errors = run(*start, "--dry-run", "--price-per-hour", "1.5", "--json")
    found = json.loads(output)
    assert (code, errors) == (0, "")
    assert (found["files"], found["parts"], found["texts"]) == (1, 3, 30)
    assert found["cost"] >= 0
    assert not (tmp_path / "out").exists()

    code, output, errors = run(*start, "--plan-only")
    assert (code, output) == (0, "")
    assert errors == f"30 texts in 3 parts → {tmp_path}/out\n"
    code, output, _ = run("status", "out", "--json")
    assert code == 0
    assert {"parts": 3, "parts_done": 0, "texts": 30, "finished": False}.items() <= json.loads(output).items()

    code, _, errors = run("resume", "out", "--shard", "1/2")
    assert code == 0
    assert errors.startswith("10 texts in 1 part, ")
    assert errors.endswith(f" tokens/s, 2 parts left → {tmp_path}/out\n")
    code, output, _ = run("status", "out")
    assert "1 of 3" in output
    assert "not finished" in output

    code, _, errors = run(*start)
    assert code == 0
    assert errors.startswith("20 texts in 2 parts, ")
    code, output, _ = run("status", "out")
    assert code == 0
    assert output.splitlines()[0].split() == ["state", "finished"]
    assert run("resume", "out")[2] == f"0 texts in 0 parts, 0 tokens → {tmp_path}/out\n"
    assert run("clean", "out") == (0, "", "0 files removed\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none.txt --out o", "none.txt cannot be read: No such file or directory; check the path"),
        ("t.txt --out o --shard 3", "--shard is I/N such as 3/16, got '3'"),
        ("t.txt --out o --shard 2/2", "a shard is I/N with I from 0 to N - 1, got 2/2"),
        ("t.txt --out o --price-per-hour 1", "--price-per-hour belongs to --dry-run; add that, or leave it out"),
        ("t.txt --out t.txt", "t.txt/manifest.json cannot be read: Not a directory"),
        ("resume o", "o holds no bulk job; start one with me5 bulk INPUTS --out"),
        ("status o", "o holds no bulk job"),
        ("t.csv --out o --keep x --field y", "t.csv has no column 'y'"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(run, tmp_path, arguments, message):
    (tmp_path / "t.csv").write_text("x\n1\n")
    code, output, errors = run(*arguments.split())
    assert (code, output) == (2, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_a_part_that_is_given_up_is_told_with_exit_1(run, tmp_path, monkeypatch, xlmr):
    from me5.bulk import part
    from me5.files.place import FileError

    def fail(self, planned):
        raise FileError("t.txt", "cannot be read: Input/output error")

    monkeypatch.setattr(part.Reader, "entries", fail)
    code, _, errors = run("t.txt", "--out", "out", "-m", str(xlmr), *MODEL)
    assert code == 1
    assert errors.endswith("error: part 0 was given up: t.txt cannot be read: Input/output error\n")
