"""Temperatures are found where they were planted, and left-out speakers decide on weights."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import DataError
from aimass.decoding.combine import Method, pooled
from aimass.ensemble.calibrate import (
    COLDEST,
    HOTTEST,
    all_calibrated,
    confidence_temperature,
    smoothed,
    temperature,
)
from aimass.ensemble.occupancy import occupancies
from aimass.ensemble.pools import PULL, clear, likeliest, loss, nearest, normalised, towards
from aimass.evaluation.calibration import calibrate

Rows = npt.NDArray[np.float64]


def said(count: int, seed: int = 0, outputs: int = 5) -> tuple[Rows, Rows]:
    """Well calibrated rows, and targets drawn from them."""
    rng = np.random.default_rng(seed)
    rows = normalised(rng.normal(0, 2.5, (count, outputs)))
    draws = (rng.random((count, 1)) > np.exp(rows).cumsum(axis=1)).sum(axis=1)
    return rows, np.eye(outputs)[np.minimum(draws, outputs - 1)]


@given(st.sampled_from([0.4, 1.0, 2.5]), st.integers(0, 20))
def test_a_planted_temperature_is_found(planted: float, seed: int) -> None:
    rows, targets = said(4000, seed)
    assert temperature(rows / planted, targets) == pytest.approx(1 / planted, rel=0.12)


def test_confidences_of_a_hot_member_come_to_mean_what_they_say() -> None:
    rng = np.random.default_rng(1)
    true = rng.uniform(0.5, 1, 5000)
    right = (rng.random(5000) < true).tolist()
    stated = all_calibrated(true.tolist(), 1 / 3)  # three times too sure
    found = confidence_temperature(stated, right)
    assert found == pytest.approx(3, rel=0.1)
    before = calibrate(stated, right, "word")
    after = calibrate(all_calibrated(stated, found), right, "word")
    assert before is not None and after is not None
    assert before.ece > 0.1 and after.ece < 0.02


def test_always_right_on_little_data_is_not_certain() -> None:
    assert COLDEST < confidence_temperature([0.9] * 20, [True] * 20) < 1
    assert confidence_temperature([0.9] * 20, [False] * 20) > 15
    assert confidence_temperature([], []) == 1.0
    impossible = np.array([[0.0, -np.inf]])
    assert temperature(impossible, np.array([[0.0, 1.0]])) == pytest.approx(HOTTEST, rel=0.01)


def test_smoothed_targets_are_distributions() -> None:
    found = smoothed(np.eye(4)[[0, 3, 3]])
    assert found.sum(axis=1) == pytest.approx(1)
    assert found.min() == pytest.approx(1 / 16)


def test_rows_without_targets() -> None:
    with pytest.raises(DataError, match=r"\(2, 3\) and targets \(1, 3\)"):
        temperature(np.zeros((2, 3)), np.eye(3)[:1])
    with pytest.raises(DataError, match="at least one"):
        temperature(np.zeros((0, 3)), np.zeros((0, 3)))


@pytest.mark.parametrize("method", ["arithmetic", "geometric"])
def test_no_weights_are_likelier_than_the_likeliest(method: Method) -> None:
    rows, targets = said(600)
    rng = np.random.default_rng(2)
    stack = np.stack([normalised(rows + rng.normal(0, s, rows.shape)) for s in (0.5, 1, 4)])

    def worth(weights: Rows) -> float:
        mean = normalised(pooled(stack, weights, method))
        return PULL * float(np.log(weights).mean()) - loss(mean, targets)

    found = likeliest(stack, targets, method)
    assert found.sum() == pytest.approx(1)
    assert found[0] > found[1] > found[2] > 0
    for other in rng.dirichlet(np.ones(3), 30):
        for share in (0.02, 0.2, 1):
            assert worth(towards(found, other, share)) < worth(found) + 1e-5


def test_equal_weights_unless_others_are_clearly_better() -> None:
    noise = np.array([[0.0, 0.0, 0.0, 0.0, s] for s in (0.5, -0.5, 0.4, -0.6)])
    assert nearest(noise) == 0
    gains = np.array([[1.0, 0.8, 0.6, 0.4, 0.2]]) + noise * 0.1
    assert nearest(gains) == 1
    assert clear(np.array([1.0, 1.1, 0.9, 1.0]))
    assert not clear(np.array([4.0, 0.0, 0.1, -0.1]))  # one speaker alone
    assert not clear(np.array([1.0]))


def test_paths_occupy_what_brute_force_says() -> None:
    """All 4 ** 4 paths, each with its probability, collapsed to texts."""
    rows = normalised(np.random.default_rng(3).normal(0, 1, (4, 4)))
    for text in ([0], [1, 2], [2, 2], []):
        wanted = np.zeros((4, 4))
        for path in np.ndindex(4, 4, 4, 4):
            runs = [token for i, token in enumerate(path) if i == 0 or token != path[i - 1]]
            if [token for token in runs if token != 3] == text:
                share = np.exp(rows[range(4), path].sum())
                wanted[range(4), path] += share
        wanted /= wanted.sum(axis=1, keepdims=True)
        assert occupancies([rows], [text], 3)[0] == pytest.approx(wanted)


def test_utterances_side_by_side_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(4)
    rows = [normalised(rng.normal(0, 2, (frames, 5))) for frames in (9, 3, 14)]
    texts = [[0, 1, 1], [2], [3, 0, 3, 3]]
    together = occupancies(rows, texts, 4)
    for own, text, found in zip(rows, texts, together, strict=True):
        assert found == pytest.approx(occupancies([own], [text], 4)[0])
        assert found.shape == own.shape
