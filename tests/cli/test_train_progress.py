"""How `me5 train` shows its steps."""

from me5.cli.train_progress import shown_steps
from me5.training.loop import Step


def test_a_log_gets_the_first_step_the_last_and_one_line_a_minute_between(monkeypatch, capsys) -> None:
    now = 0.0
    monkeypatch.setattr("me5.cli.train_progress.time.monotonic", lambda: now)
    with shown_steps(100, quiet=False) as show:
        for number in range(1, 101):
            now += 25.0
            show(Step(number, 1.0, 1.0, 0.0, 0.5, 0.5, 1e-5, 1.0, 100, 25.0))
    shown = [int(line.split()[1]) for line in capsys.readouterr().err.splitlines()]
    assert shown == [1, *range(4, 101, 3)]
    assert shown[-1] == 100
