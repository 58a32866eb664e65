"""Threads that help: results in order, no more at work than the budget, errors to who asked."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aimass.runtime.team import Team


@pytest.fixture(params=[1, 2, 4])
def team(request: pytest.FixtureRequest) -> Iterator[Team]:
    team = Team(request.param)
    team.hire()
    yield team
    team.close()


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_results_come_in_order(team: Team, count: int) -> None:
    assert team.map(lambda n: n * n, range(count)) == [n * n for n in range(count)]


def test_who_is_alone_has_the_whole_budget(team: Team) -> None:
    """All meet at a barrier, which they could not one after the other."""
    meeting = threading.Barrier(team.budget, timeout=60)
    threads = team.map(lambda _: (meeting.wait(), threading.get_ident())[1], range(team.budget))
    assert len(set(threads)) == team.budget
    assert threading.get_ident() in threads


def test_no_more_work_than_the_budget(team: Team) -> None:
    """Beside the callers, which never wait for one another."""
    lock, now, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        sum(range(2000))
        with lock:
            now -= 1

    callers = 3
    with ThreadPoolExecutor(callers) as pool:
        for done in [pool.submit(team.map, work, range(50)) for _ in range(30)]:
            done.result()
    # A helper that began while one caller was alone goes on when others come.
    assert most <= team.budget - 1 + callers
    assert now == 0 and team._working == 0


def test_no_help_before_it_is_hired() -> None:
    team = Team(4)
    threads = team.map(lambda _: threading.get_ident(), range(20))
    assert set(threads) == {threading.get_ident()}


def test_an_error_reaches_who_asked_and_nobody_else(team: Team) -> None:
    def odd(number: int) -> int:
        if number == 3:
            raise KeyError("three")
        return number

    for _ in range(20):
        with pytest.raises(KeyError, match="three"):
            team.map(odd, range(10))
        assert team.map(odd, range(3)) == [0, 1, 2]
    assert team._working == 0
