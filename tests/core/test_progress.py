"""Progress: said when it is time to, with an estimate of what is left."""

import sys

import pytest

from mnclglf_lite.core import progress
from mnclglf_lite.core.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    at = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: at[0])
    return at


def test_short_work_says_nothing_and_long_work_ever_more_rarely(clock, capsys):
    line, told = Progress("reading", 1000, start=100), []
    for second in range(100):
        clock[0] = float(second)
        assert line.show(100 + 9 * second) == pytest.approx(9 if second else 0)
        if capsys.readouterr().err:
            told.append(second)
    line.end()
    assert told[0] == 3 and all(later - earlier >= 5 for earlier, later in zip(told, told[1:], strict=False))
    assert len(told) < 12 and told[-1] - told[-2] > told[1] - told[0] and not capsys.readouterr().err


def test_the_estimate_is_what_is_left_at_the_mean_rate(clock, capsys):
    line, clock[0] = Progress("reading", 300, unit="{:.0f} MB".format), 30.0
    line.show(100)
    assert capsys.readouterr().err == "reading: 100 MB of 300 MB, 0:30, 1:00 left\n"


def test_in_a_terminal_one_line_is_written_over(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    line = Progress("reading", 10)
    for second in range(1, 4):
        clock[0] = float(second)
        line.show(second)
    line.end()
    said = capsys.readouterr().err
    assert said.count("\r") == 3 and said.count("\n") == 1 and said.endswith("\n")
    Progress("reading", 10).end()
    assert capsys.readouterr().err == ""
