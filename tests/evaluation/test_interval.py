"""Laws of intervals, and their coverage on data whose truth is known."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.evaluation.interval import error_interval, zero_errors_bound

ROWS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 15), st.sampled_from(["a", "b", "c"])),
    min_size=1,
    max_size=20,
)


def split(rows: list[tuple[int, int, str]]) -> tuple[list[int], list[int], list[str | None]]:
    return [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]


@given(ROWS)
def test_the_rate_lies_inside(rows: list[tuple[int, int, str]]) -> None:
    errors, lengths, speakers = split(rows)
    low, high = error_interval(errors, lengths, speakers)
    assert 0 <= low <= high
    assert low <= sum(errors) / max(1, sum(lengths)) <= high


@given(ROWS)
def test_the_same_data_gives_the_same_interval(rows: list[tuple[int, int, str]]) -> None:
    assert error_interval(*split(rows)) == error_interval(*split(rows))


@given(ROWS, st.randoms())
def test_order_does_not_matter(rows: list[tuple[int, int, str]], shuffle: random.Random) -> None:
    mixed = list(rows)
    shuffle.shuffle(mixed)
    assert error_interval(*split(mixed)) == error_interval(*split(rows))


@given(st.integers(1, 100_000))
def test_no_error_is_no_certainty(words: int) -> None:
    low, high = error_interval([0], [words], [None])
    assert low == 0
    assert (1 - high) ** words == pytest.approx(0.05)
    if words > 100:
        assert high == pytest.approx(3 / words, rel=0.03)


@given(st.lists(st.integers(0, 15), min_size=1, max_size=20))
def test_all_wrong_mirrors_all_right(lengths: list[int]) -> None:
    speakers: list[str | None] = [f"s{place % 3}" for place in range(len(lengths))]
    low, high = error_interval([0] * len(lengths), lengths, speakers)
    if sum(lengths):
        assert error_interval(lengths, lengths, speakers) == (1 - high, 1 - low)


@pytest.mark.parametrize("speakers", [1, 2, 4, 12])
def test_wrong_answers_are_as_sure_as_right_ones(speakers: int) -> None:
    lengths = [5] * 120
    errors = np.random.default_rng(3).binomial(5, 0.1, size=120).tolist()
    names: list[str | None] = [f"s{place % speakers}" for place in range(120)]
    low, high = error_interval(errors, lengths, names)
    right = [n - e for e, n in zip(errors, lengths, strict=True)]
    mirrored = error_interval(right, lengths, names)  # of other draws
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=0.01)


@given(ROWS)
def test_few_speakers_are_no_surer_than_their_utterances(rows: list[tuple[int, int, str]]) -> None:
    errors, lengths, speakers = split(rows)
    low, high = error_interval(errors, lengths, speakers)
    least, most = error_interval(errors, lengths, [None] * len(rows))
    assert low <= least <= most <= high


@pytest.mark.parametrize("speakers", [2, 3, 4])
def test_speakers_who_err_alike_by_chance(speakers: int) -> None:
    errors = ([0] + [1] * 9) * speakers
    names: list[str | None] = [f"s{place // 10}" for place in range(len(errors))]
    low, high = error_interval(errors, [1] * len(errors), names)
    assert low < 0.85 and high > 0.95


def test_nothing_said_tells_nothing() -> None:
    assert error_interval([], [], []) == (0, 1)
    assert error_interval([2], [0], ["a"]) == (0, 2)


def test_speakers_are_wider_than_their_utterances() -> None:
    errors = [0] * 50 + [3] * 50
    lengths = [10] * 100
    names: list[str | None] = ["good", "fair", "bad", "worse"]
    speakers = [name for name in names for _ in range(25)]
    by_speaker = error_interval(errors, lengths, speakers)
    by_utterance = error_interval(errors, lengths, [None] * 100)
    assert by_speaker[1] - by_speaker[0] > 2 * (by_utterance[1] - by_utterance[0])
    # One unknown speaker leaves utterances as the only unit that is known for all.
    assert error_interval(errors, lengths, [None, *speakers[1:]]) == by_utterance
    assert error_interval(errors, lengths, speakers[:1] * 100) == by_utterance


def test_the_truth_is_inside_about_as_often_as_promised() -> None:
    random = np.random.default_rng(7)
    inside = 0
    for _ in range(200):
        errors = random.binomial(10, 0.2, size=80)
        low, high = error_interval(errors.tolist(), [10] * 80, [None] * 80)
        inside += low <= 0.2 <= high
    assert 0.89 <= inside / 200 <= 0.99


def test_bound_of_one_trial() -> None:
    assert zero_errors_bound(1) == pytest.approx(0.95)


def test_large_sets_stay_quick_and_small() -> None:
    low, high = error_interval([1, 0] * 50_000, [10] * 100_000, [None] * 100_000)
    assert low < 0.05 < high
    assert high - low < 0.002
