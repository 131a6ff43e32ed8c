"""Progress where nobody looks at a terminal: a line a minute, nothing for short work."""

import pytest

from me5 import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the time is, to be set by the test."""
    now = [0.0]
    monkeypatch.setattr(progress, "perf_counter", lambda: now[0])
    return now


def test_long_work_tells_a_line_a_minute(clock, capsys) -> None:
    with progress.track(30_000, show=True, description="Reading") as advance:
        for second in range(0, 150, 10):
            clock[0] = float(second)
            advance(100, 3000)
    assert capsys.readouterr().err.splitlines() == [
        "Reading: 700 of 30,000 texts, 350 tokens/s, 42 min left",
        "Reading: 1,300 of 30,000 texts, 325 tokens/s, 44 min left",
    ]


def test_bytes_of_unknown_number_are_told_in_megabytes(clock, capsys) -> None:
    with progress.track(None, show=True, description="Indexing", unit="bytes") as advance:
        clock[0] = 61.0
        advance(2_500_000, 0)
    assert capsys.readouterr().err == "Indexing: 2.5 MB\n"


def test_nothing_is_told_of_short_work_or_unasked(clock, capsys) -> None:
    with progress.track(2, show=True) as advance:
        clock[0] = 59.0
        advance(2, 10)
    with progress.track(2, show=False) as advance:
        clock[0] = 200.0
        advance(2, 10)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "said"), [(20, "0 min"), (3570, "1 h 00 min"), (3000, "50 min"), (7500, "2 h 05 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert progress.duration(seconds) == said
