"""The equal error rate: by hand, its laws, and what its interval holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import DataError
from aimass.evaluation.scorecard import Scorecard
from aimass.evaluation.verification import Trial, equal_error_rate, score_trials

SCORES = st.lists(st.floats(-5, 5), min_size=1, max_size=30)


def test_by_hand() -> None:
    # Accepting from 0.5 on turns one voice of three away and lets one impostor of three in.
    found = equal_error_rate([0.9, 0.8, 0.4], [0.5, 0.3, 0.1])
    assert found.rate == pytest.approx(1 / 3)
    assert found.threshold == 0.5
    assert equal_error_rate([0.9, 0.8], [0.1, 0.2]).rate == 0
    assert equal_error_rate([0.1], [0.9]).rate == 1
    assert equal_error_rate([0.5, 0.5], [0.5]).rate == 0.5
    # Misses go from 0 to 1/2 where false alarms go from 1/4 to 0: they meet at 1/6.
    assert equal_error_rate([0.5, 0.9], [0.5, 0.1, 0.1, 0.1]).rate == pytest.approx(1 / 6)


@given(SCORES, SCORES)
def test_laws(targets: list[float], others: list[float]) -> None:
    rate = equal_error_rate(targets, others).rate
    assert 0 <= rate <= 1
    mirrored = equal_error_rate([-s for s in others], [-s for s in targets]).rate
    assert rate == pytest.approx(mirrored)  # misses and false alarms change places
    shifted = equal_error_rate([2**3 * s for s in targets], [2**3 * s for s in others]).rate
    assert rate == shifted
    assert equal_error_rate(targets[::-1], others[::-1]).rate == rate


def trials(speakers: int, seed: int) -> list[Trial]:
    random = np.random.default_rng(seed)
    voices = random.normal(size=(speakers, 6))
    heard = [(s, voices[s] + random.normal(size=6)) for s in range(speakers) for _ in range(4)]
    return [
        Trial(-float(np.linalg.norm(voices[s] - sound)), f"s{s}", f"s{t}")
        for s in range(speakers)
        for t, sound in heard
    ]


def test_a_scorecard_of_trials() -> None:
    some = trials(15, 0)
    card = score_trials(some)
    low, high = card.interval
    assert (card.metric, card.utterances, card.speakers) == ("eer", 15 * 15 * 4, 15)
    assert 0 <= low < card.error_rate < high < 0.5
    assert Scorecard.from_dict(card.to_dict()) == card
    assert score_trials(some[::-1]) == card
    same = [t for t in some if t.target]
    assert card.errors.deletions / len(same) == pytest.approx(card.error_rate, abs=0.05)
    share = card.errors.insertions / (len(some) - len(same))
    assert share == pytest.approx(card.error_rate, abs=0.05)


def test_more_speakers_are_more_certain() -> None:
    few, many = (score_trials(trials(n, 1)).interval for n in (6, 40))
    assert few[1] - few[0] > 1.5 * (many[1] - many[0])


def test_without_one_kind_there_is_no_rate() -> None:
    with pytest.raises(DataError, match="0 of two"):
        equal_error_rate([1.0], [])
    with pytest.raises(DataError, match="finite"):
        equal_error_rate([1.0], [float("nan")])
    with pytest.raises(DataError):
        score_trials([Trial(1.0, "a", "a")])
