"""`me5 bulk` killed with SIGKILL at any moment: completed afterwards, its table is that of an undisturbed run."""

import random

import pytest
from killing import PATIENCE, command, commits, kill_at


def test_a_killed_driver_resumes_to_the_same_table(tmp_path, killable, read):
    out = tmp_path / "out"
    assert kill_at(command(tmp_path, *killable(out)), out, 3)
    done = commits(out)
    assert 3 <= done < 15
    assert command(tmp_path, "resume", "out", "--quiet").wait(PATIENCE) == 0
    assert read(out).table.equals(read(tmp_path / "whole").table)
    assert read(out).table.num_rows == 600


@pytest.mark.slow
@pytest.mark.parametrize("output", ["parquet", "lance"])
def test_twenty_kills_of_the_driver(tmp_path, killable, read, output):
    draw, killed, number = random.Random(1), 0, 0
    whole = read(tmp_path / "whole").table
    while killed < 20:
        number += 1
        out = tmp_path / f"out-{number}"
        while True:
            process = command(tmp_path, *killable(out), "--output-format", output)
            if not kill_at(process, out, commits(out) + draw.randint(0, 2), draw.random() * 0.05):
                break
            killed += 1
        assert process.returncode == 0
        if output == "lance":
            lance = pytest.importorskip("lance", reason="the extra lance is not installed")
            assert lance.dataset(out).to_table().equals(whole)
            assert len(list((out / "data").iterdir())) == 15
        else:
            assert read(out).table.equals(whole)
