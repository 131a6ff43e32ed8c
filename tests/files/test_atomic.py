"""What is written appears whole or not at all; what a kill left behind is removed by whoever makes the same thing."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from me5.errors import InputError
from me5.files import atomic
from me5.files.atomic import is_draft, new_folder, replacing, scratch

FILE = "from me5.files.atomic import replacing as make"
FOLDER = "from me5.files.atomic import new_folder as make"


def at_work(kind, place):
    """A process that is making something, and says so."""
    code = f"""
import sys, time
from pathlib import Path
{kind}
with make(Path({str(place)!r})):
    print("at work", flush=True)
    time.sleep(300)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return process


def kill(process):
    process.kill()
    process.communicate()


def write(place):
    with replacing(place) as file:
        file.write(b"new")


def fill(place):
    with new_folder(place, overwrite=True) as folder:
        (folder / "new").touch()


@pytest.mark.parametrize(("kind", "make"), [(FILE, write), (FOLDER, fill)])
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_makes_is_not(tmp_path, kind, make):
    place = tmp_path / "place"
    (tmp_path / ".place.me5-mine").write_text("of somebody else")
    killed, living = at_work(kind, place), at_work(kind, place)
    try:
        drafts = set(filter(is_draft, tmp_path.iterdir()))
        assert len(drafts) == 2
        kill(killed)
        make(place)
        assert len(drafts & set(tmp_path.iterdir())) == 1
    finally:
        kill(living)
    make(place)
    assert {path.name for path in tmp_path.iterdir()} == {"place", ".place.me5-mine"}


def test_scratch_folders_of_killed_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("me5.files.atomic.gettempdir", lambda: str(tmp_path))
    left = tmp_path / ".me5-eval.me5-01234567"
    (left / "deep").mkdir(parents=True)
    with scratch("me5-eval") as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_moved_aside_by_a_killed_process_comes_back(tmp_path):
    place, draft = tmp_path / "place", tmp_path / ".place.me5-01234567"
    before = tmp_path / ".place.me5-01234567-before"
    draft.mkdir()
    before.mkdir()
    (before / "old").touch()
    with pytest.raises(InputError, match="exists; replace it"), new_folder(place):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "old"]


def test_what_was_there_before_goes_once_the_new_folder_is_in_its_place(tmp_path):
    place, before = tmp_path / "place", tmp_path / ".place.me5-01234567-before"
    for folder in (place, before):
        folder.mkdir()
    with new_folder(place, overwrite=True) as folder:
        (folder / "new").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "place"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "*?[a-z]", " "])
def test_any_name_that_the_system_takes_can_be_written(tmp_path, name):
    left = None
    for _ in range(2):
        write(tmp_path / name)
        assert [path.name for path in tmp_path.iterdir()] == [name]
        with replacing(tmp_path / name):
            left = next(filter(is_draft, tmp_path.iterdir()))
        left.touch()  # as a kill leaves it
    write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot be written: File name too long"):
        write(tmp_path / ("x" * 256))


def test_a_file_is_no_place_for_a_folder(tmp_path):
    (tmp_path / "precious").write_text("text")
    with (
        pytest.raises(InputError, match="precious is a file, expected a folder"),
        new_folder(tmp_path / "precious", overwrite=True),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "text"


@pytest.mark.parametrize("make", [replacing, new_folder])
def test_a_write_that_fails_names_the_file_and_a_read_that_fails_keeps_its_own_name(tmp_path, make):
    with pytest.raises(InputError, match="place cannot be written: No space left on device"), make(tmp_path / "place"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(FileNotFoundError, match="other"), make(tmp_path / "place"):
        Path("other").read_text()
    assert not list(tmp_path.iterdir())


def test_rights_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "file")
        fill(tmp_path / "folder")
    finally:
        os.umask(before)
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("file", "folder")] == ["0o640", "0o750"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_a_command_without_leaving_anything(tmp_path, number, code):
    job = subprocess.Popen(
        [sys.executable, "-m", "me5", "embed", "-", "-o", "o.npy"],
        cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.02)
    job.send_signal(number)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == code, errors
    assert b"Traceback" not in errors
    assert not list(tmp_path.iterdir())


def content(place):
    return place.read_bytes() if place.is_file() else [path.name for path in place.glob("*")]


def interrupted_after(steps, make, place):
    """Ctrl-C after a number of lines of the module; the function that it came in, None if all was done before."""
    left, function = steps, None

    def trace(frame, event, _):
        nonlocal left, function
        if frame.f_code.co_filename != atomic.__file__:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                function = frame.f_code.co_name
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        make(place)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return function


@pytest.mark.parametrize(("make", "there"), [(write, True), (fill, True), (write, False), (fill, False)])
def test_ctrl_c_at_any_step_leaves_the_old_or_the_new_and_nothing_else(tmp_path, make, there):
    for steps in range(300):
        folder = tmp_path / str(steps)
        folder.mkdir()
        place = folder / "place"
        if there:
            place.write_bytes(b"old") if make is write else (place / "old").mkdir(parents=True)
        function = interrupted_after(steps, make, place)
        if function is None:
            break
        assert content(place) in ((b"old", b"new", ["old"], ["new"]) if there else (b"new", ["new"], []))
        # Ctrl-C in the middle of removing what was there before leaves the rest of it to whoever comes next.
        left = [path.name for path in folder.iterdir() if is_draft(path)]
        assert not left or (function in ("_remove", "_exchange") and left[0].endswith("-before")), (function, steps)
        make(place)
        assert content(place) in (b"new", ["new"])
        assert [path.name for path in folder.iterdir()] == ["place"]
    assert content(place) in (b"new", ["new"])
    assert steps > 20
    assert function is None
