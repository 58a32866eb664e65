"""Laws of comparisons, tests by hand, and how often chance looks like a difference."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import DataError
from aimass.evaluation.compare import compare, contrast, mapsswe, mcnemar
from aimass.evaluation.scorecard import Metric, Scored, score

from .cards import METRICS, WORDS, card, labelled, results


@st.composite
def two(draw: st.DrawFn) -> tuple[list[Scored], list[Scored]]:
    rows = draw(results(least=1))
    return rows, [replace(row, hypothesis=draw(WORDS)) for row in rows]


@given(two(), st.sampled_from(METRICS))
def test_the_other_way_round_is_the_other_sign(
    rows: tuple[list[Scored], list[Scored]], metric: Metric
) -> None:
    there, back = compare(*rows, metric), compare(*rows[::-1], metric)
    assert there.difference == -back.difference
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert there.p_value == back.p_value
    assert (there.wins, there.losses, there.ties) == (back.losses, back.wins, back.ties)
    assert there.chance_better == pytest.approx(1 - back.chance_better)
    assert there.significant == back.significant


@given(two(), st.randoms())
def test_order_does_not_matter(
    rows: tuple[list[Scored], list[Scored]], shuffle: random.Random
) -> None:
    mixed = [list(side) for side in rows]
    for side in mixed:
        shuffle.shuffle(side)
    assert compare(mixed[0], mixed[1]) == compare(*rows)


@given(results(least=1))
def test_the_same_is_no_better(rows: list[Scored]) -> None:
    found = compare(rows, rows)
    assert (found.difference, found.interval, found.p_value) == (0, (0, 0), 1)
    assert (found.wins, found.losses, found.ties) == (0, 0, len(rows))
    assert not found.significant
    assert found.chance_better == 0.5


def test_mcnemar_by_hand() -> None:
    assert mcnemar(8, 2) == 2 * (1 + 10 + 45) / 2**10
    assert mcnemar(0, 0) == 1
    assert mcnemar(3, 3) == 1
    assert mcnemar(5, 0) == 2 / 2**5
    # Beyond exact counting: z = (|600 - 500| - 1) / sqrt(1100) = 2.985, p = 0.0028.
    assert mcnemar(600, 500) == pytest.approx(0.002836, abs=1e-6)


def test_matched_pairs_by_hand() -> None:
    # Mean 1, deviation sqrt(2/3), so z = 1 / (0.8165 / 2) = 2.449.
    assert mapsswe(np.array([1.0, 0.0, 2.0, 1.0])) == pytest.approx(0.0143, abs=1e-4)
    assert mapsswe(np.zeros(9)) == 1
    assert mapsswe(np.ones(5)) == 2 / 2**5  # no variance
    assert mapsswe(np.ones(1)) == 1


def test_a_planted_difference_is_found() -> None:
    better = card([i % 20 == 0 for i in range(600)], speakers=12)
    worse = card([i % 20 == 0 or i % 7 == 0 for i in range(600)], speakers=12)
    found = compare(better, worse)
    assert found.test == "mcnemar"
    assert found.significant and found.chance_better == 1
    assert (found.losses, found.speakers) == (0, 12)
    assert found.difference == pytest.approx(better.error_rate - worse.error_rate)
    assert found.interval[0] <= found.difference <= found.interval[1] < 0
    plain = found.to_dict()
    assert plain["significant"] is True and plain["interval"] == list(found.interval)


def test_pairing_takes_out_what_is_hard_for_both() -> None:
    random = np.random.default_rng(3)
    hard = random.random(400) < 0.3
    worse = hard | (random.random(400) < 0.05)
    a, b = (card(errors.tolist(), speakers=400) for errors in (hard, worse))
    paired = compare(a, b).interval
    apart = contrast(a, b)
    assert paired[1] < 0 < apart[1]
    assert apart[1] - apart[0] > 2 * (paired[1] - paired[0])


def test_chance_is_seldom_called_a_difference() -> None:
    random = np.random.default_rng(11)
    found = 0
    for _ in range(100):
        a, b = (card((random.random(200) < 0.2).tolist(), speakers=20) for _ in range(2))
        found += compare(a, b).significant
    assert found <= 9


def test_what_cannot_be_compared() -> None:
    rows = labelled([0, 1, 0])
    a = score(rows, "classification_error")
    with pytest.raises(DataError, match="different recordings"):
        compare(a, score(rows[:2], "classification_error"))
    with pytest.raises(DataError, match="metrics classification_error and wer"):
        compare(a, score(rows, "wer"))
    with pytest.raises(DataError, match="holds no utterances"):
        compare(a, replace(a, per_utterance=()))
    with pytest.raises(DataError, match="holds no utterances"):
        contrast(a, replace(a, per_utterance=()))
    longer = [replace(rows[0], reference="yes yes"), *rows[1:]]
    with pytest.raises(DataError, match="for one 'u0000'"):
        compare(rows, longer)


def test_a_model_without_error_is_still_uncertain() -> None:
    none, some = card([0] * 50), card([1] + [0] * 49)
    low, high = contrast(some, none)
    assert low < 0 < high


def test_few_speakers_are_no_surer_than_their_utterances() -> None:
    some, more = [i % 10 < 2 for i in range(20)], [i % 10 < 3 for i in range(20)]
    speakers = [f"s{i // 10}" for i in range(20)]  # both make two errors of ten, then three
    before, now = (
        score(
            [
                replace(row, speaker=speaker)
                for row, speaker in zip(labelled(errors), speakers, strict=True)
            ],
            "classification_error",
        )
        for errors in (some, more)
    )
    for low, high in (compare(now, before).interval, contrast(now, before)):
        assert low <= 0 < 0.1 < high
    assert 0.5 < compare(before, now).chance_better < 1


def test_all_wrong_is_still_uncertain() -> None:
    every, most = card([1] * 20, speakers=2), card([1] * 19 + [0], speakers=2)
    low, high = contrast(every, most)
    assert low < 0 < high
