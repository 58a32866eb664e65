"""Bars for people at a terminal, now and then a line for logs, and nothing for quick work."""

import io

import pytest
from rich.console import Console

from aimass.cli import progress
from aimass.cli.progress import EVERY, MOST, per_second, shown


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=120, _environ={}), out


def test_quick_work_is_silent_in_a_log() -> None:
    log, out = console(terminal=False)
    with shown(log) as report:
        for done in range(1000):
            report("measure", done, 1000)
    assert out.getvalue() == ""


def test_long_work_says_a_line_now_and_then() -> None:
    log, out = console(terminal=False)
    now = 0.0
    report = progress._Lines(log, lambda: now)
    for second in range(61):
        now = float(second)
        report("first train, loss 0.5, dev 3.0%", second * 2, 240)
        report("second augment 3", second, None)
    lines = out.getvalue().splitlines()
    assert len(lines) == 2 * 60 / EVERY
    assert lines[0] == "first train: 20 of 240, 2.0/s, 1:50 left, loss 0.5, dev 3.0%"
    assert lines[1] == "second augment 3: 10, 1.0/s"


def test_rounds_of_the_same_work_begin_anew() -> None:
    log, out = console(terminal=False)
    now = 0.0
    report = progress._Lines(log, lambda: now)
    for number in range(4):
        for done in range(6):
            now += 1
            report(f"augment {number}", done, 6)
    assert len(out.getvalue().splitlines()) == 2  # in 24 s


@pytest.mark.parametrize("members", [2, MOST + 4])
def test_members_have_a_bar_each(members: int) -> None:
    terminal, out = console(terminal=True)
    with shown(terminal) as report:
        for done in range(3):
            for member in range(members):
                report(f"m{member} augment {done}", done % 2, 10)
                report(f"m{member} train, loss 0.{done}", done, 10)
        assert isinstance(report, progress._Bars)
        assert len(report.tasks) == min(2 * members, MOST)
        report.refresh()
    said = out.getvalue()
    assert f"m{members - 1} train" in said and "2/10" in said and "loss 0.2" in said


def test_throughput_has_few_digits() -> None:
    assert [per_second(v) for v in (1234.5, 12.34, 0.5)] == ["1,234/s", "12.3/s", "30.0/min"]
