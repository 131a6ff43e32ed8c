"""Commands under streams, terminals and folders that are not as usual: one sentence, never a traceback."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import tomllib
from pathlib import Path

import pytest

from me5.cli import streams

SOURCE = Path(streams.__file__).parents[2]
ME5 = f"{sys.executable} -m me5"


def shell(command, folder, **variables):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (f"{ME5} models --json >/dev/full", "a file or standard output: No space left on device"),
        (f"{ME5} info >/dev/full", "No space left on device"),
        (f"{ME5} models >&-", "standard output cannot be written: Bad file descriptor"),
        (f"{ME5} embed - -o v.npy <&-", "standard input cannot be read: Bad file descriptor"),
        (f"mkdir gone; cd gone; rmdir ../gone; {ME5} embed t.txt -o v.npy", "t.txt cannot be read"),
        (f"{ME5} embed t.txt -o {'x' * 300}.npy", "File name too long"),
        (f"{ME5} embed {'x' * 300} -o v.npy", "File name too long"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(tmp_path, command, said):
    (tmp_path / "t.txt").write_text("tea\n")
    ended = shell(command, tmp_path)
    assert ended.returncode in (1, 2, 3)
    assert said in ended.stderr
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""
    assert not list(tmp_path.glob("v.npy"))


def test_a_closed_standard_error_and_a_reader_that_leaves_harm_nothing(tmp_path):
    assert len(shell(f"{ME5} models 2>&-", tmp_path).stdout.splitlines()) > 10
    assert shell(f"{ME5} models --json | head -1", tmp_path).stderr == ""


def test_in_any_encoding_json_stays_json_and_tables_are_printed(tmp_path):
    shown = shell(f"{ME5} tokens --json 南瓜😀", tmp_path, PYTHONIOENCODING="latin-1").stdout
    assert shown.isascii()
    assert "南瓜😀" in json.loads(shown)[0]["prompted"]
    shown = shell(f"{ME5} tokens 南瓜", tmp_path, PYTHONIOENCODING="ascii")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert r"\u5357\u74dc" in shown.stdout


def test_all_is_utf8_where_the_locale_is_ascii(tmp_path):
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    shown = shell(f"{ME5} score --json -q 日本 -d Zürich", tmp_path, **ascii_only)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert json.loads(shown.stdout)["queries"] == ["日本"]
    (tmp_path / "Zürich.txt").write_text("日本\n", "utf-8")
    made = shell(f"{ME5} embed Zürich.txt --keep-text -o 東京.jsonl", tmp_path, **ascii_only)
    assert "東京.jsonl" in made.stderr
    assert json.loads((tmp_path / "東京.jsonl").read_text("utf-8"))["text"] == "日本"


def test_what_is_piped_in_is_utf8_whatever_the_terminal_speaks(tmp_path):
    code = "import sys; from me5.cli import streams; streams.prepare(); print(ascii(sys.stdin.read()))"
    shown = shell(f"printf Zürich | {sys.executable} -c '{code}'", tmp_path, PYTHONIOENCODING="latin-1")
    assert shown.stdout == "'Z\\xfcrich'\n"


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    "start", ["-m me5", "-c 'import sys; from me5.__main__ import main; sys.exit(main())'"], ids=["m", "script"]
)
@pytest.mark.parametrize("imported", ["typer", "numpy"])
def test_ctrl_c_while_modules_are_imported_says_nothing(tmp_path, start, imported):
    """A module that takes the place of another one presses the keys, at a moment of which there is no doubt."""
    (tmp_path / f"{imported}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n1 / 0\n")
    ended = shell(f"{sys.executable} {start} embed t.txt -o v.npy", tmp_path, PYTHONPATH=f"{tmp_path}:{SOURCE}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_the_command_of_the_package_is_that_of_the_module():
    scripts = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert scripts == {"me5": "me5.__main__:main"}


def test_off_a_terminal_every_row_is_one_line_whatever_the_width(tmp_path):
    rows = shell(f"{ME5} models", tmp_path, COLUMNS="40").stdout.splitlines()
    assert any(row.startswith("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2 ") for row in rows)
    facts = shell(f"{ME5} info", tmp_path, COLUMNS="40").stdout.splitlines()
    assert [line.split()[0] for line in facts][:3] == ["name", "path", "architecture"]
    assert str(streams.__file__).removesuffix("/cli/streams.py") in facts[1]


def on_a_terminal(arguments, columns):
    """What a command prints on a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**{name: value for name, value in os.environ.items() if name != "COLUMNS"}, "NO_COLOR": "1"}
    with subprocess.Popen([sys.executable, "-m", "me5", *arguments], stdout=theirs, stderr=-3, env=environment):
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side has left
                break
            shown += part
    os.close(ours)
    return shown.decode()


def test_scores_keep_their_digits_on_a_narrow_terminal():
    documents = [part for number in range(12) for part in ("-d", f"document {number}")]
    arguments = ["score", "-q", "how tall is K2?", "-q", "tea", *documents]
    shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(arguments, 80))
    assert "…" not in shown
    scores = json.loads(subprocess.run([sys.executable, "-m", "me5", *arguments, "--json"], capture_output=True).stdout)
    for row in scores["scores"]:
        for score in row:
            assert f" {score:.2f} " in shown
    assert shown.count("←") == 2
    assert max(map(len, shown.splitlines())) <= 80
