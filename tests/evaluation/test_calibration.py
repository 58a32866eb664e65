"""Laws of calibration, and one example by hand."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.contract import Word
from aimass.evaluation.calibration import calibrate
from aimass.evaluation.scorecard import Scored, score

ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40)


def test_by_hand() -> None:
    # Bins of 1/15: two answers in the last (0.95 stated, half right), 0.65 and 0.25 alone, so
    # (2 * 0.45 + 0.35 + 0.25) / 4. Pairs right over wrong: tied, won, lost, won = 2.5 of 4.
    found = calibrate([0.95, 0.95, 0.65, 0.25], [True, False, True, False], "word")
    assert found is not None
    assert found.ece == pytest.approx(0.375)
    assert found.brier == pytest.approx((0.0025 + 0.9025 + 0.1225 + 0.0625) / 4)
    assert found.auroc == pytest.approx(0.625)
    assert [(b.count, b.accuracy) for b in found.bins] == [(1, 0), (1, 1), (2, 0.5)]
    assert (found.bins[-1].low, found.bins[-1].high) == (14 / 15, 1)


@given(ANSWERS)
def test_ends(answers: list[tuple[float, bool]]) -> None:
    found = calibrate([a for a, _ in answers], [b for _, b in answers], "utterance")
    assert found is not None
    assert 0 <= found.ece <= 1
    assert 0 <= found.brier <= 1
    assert found.auroc is None or 0 <= found.auroc <= 1
    assert sum(b.count for b in found.bins) == found.count == len(answers)
    assert all(b.low <= b.confidence + 1e-12 and b.confidence <= b.high + 1e-12 for b in found.bins)


@given(st.lists(st.booleans(), min_size=1))
def test_who_knows_has_no_error(right: list[bool]) -> None:
    found = calibrate([float(r) for r in right], right, "utterance")
    assert found is not None
    assert (found.ece, found.brier) == (0, 0)
    assert found.auroc == (1 if len(set(right)) == 2 else None)
    wrong = calibrate([1.0 - r for r in right], right, "utterance")
    assert wrong is not None
    assert (wrong.ece, wrong.brier) == (1, 1)


@given(ANSWERS, st.randoms())
def test_order_does_not_matter(answers: list[tuple[float, bool]], shuffle: random.Random) -> None:
    mixed = list(answers)
    shuffle.shuffle(mixed)
    one, other = (
        calibrate([stated for stated, _ in rows], [right for _, right in rows], "word")
        for rows in (answers, mixed)
    )
    assert one == other


def test_nothing_stated_is_nothing_found() -> None:
    assert calibrate([], [], "word") is None
    assert score([Scored("a", None, "yes", "yes")], "wer").calibration is None


def test_words_are_held_against_the_words_they_stand_for() -> None:
    words = (Word("One", 0, 1, 0.9), Word("tree", 1, 2, 0.4), Word("5!", 2, 3, 0.8))
    row = Scored("a", None, "one three five", "One tree 5!", "en", 0.7, words=words)
    found = score([row], "wer").calibration
    assert found is not None
    assert (found.level, found.count) == ("word", 3)
    assert found.brier == pytest.approx((0.01 + 0.16 + 0.04) / 3)
    # Words that folding joins cannot be told apart: the utterance stands for itself.
    parts = (Word("per", 0, 1, 0.9), Word("cent", 1, 2, 0.8))
    row = Scored("a", None, "percent", "per cent", "en", 0.7, words=parts)
    found = score([row], "wer").calibration
    assert found is not None
    assert (found.level, found.count) == ("utterance", 1)
    assert found.brier == pytest.approx(0.09)
