"""Means of posteriors keep their laws, and asking stops only when nothing can change any more."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import BundleError
from aimass.decoding.combine import (
    FLOOR,
    METHODS,
    Combination,
    LogProbs,
    Method,
    calibrated,
    choose,
    combined,
    decided,
    settled,
    tempered,
)

Means = st.sampled_from(["arithmetic", "geometric"])
Seeds = st.integers(0, 10_000)
Sizes = st.integers(1, 6)


def rows(seed: int, members: int, frames: int = 7, outputs: int = 5) -> list[LogProbs]:
    """Log-probabilities of members that are now sure and now not."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, rng.uniform(0.5, 6), (members, frames, outputs))
    return [tempered(own.astype(np.float32), 1.0) for own in scores]


def row(*probabilities: float) -> LogProbs:
    """One row of log-probabilities."""
    with np.errstate(divide="ignore"):
        return np.log(np.array([probabilities], np.float32))


def combination(seed: int, members: int, method: Method) -> Combination:
    """Weights and temperatures of any kind, now and then a member that is not heard."""
    rng = np.random.default_rng(seed + 1)
    weights = rng.dirichlet(np.ones(members))
    if members > 2:
        weights[rng.integers(members)] = 0
    weights /= weights.sum()
    heats = tuple(rng.uniform(0.5, 3, members).tolist())
    return Combination(method, tuple(weights.tolist()), heats, float(rng.uniform(0.5, 3)))


def close(a: LogProbs, b: LogProbs) -> bool:
    return a.shape == b.shape and bool(np.allclose(np.exp(a), np.exp(b), atol=2e-5))


@given(Seeds, Sizes, Means)
def test_rows_come_out_normalised(seed: int, members: int, method: Method) -> None:
    found = combined(rows(seed, members), combination(seed, members, method))
    assert found.dtype == np.float32
    assert np.exp(found).sum(axis=1) == pytest.approx(1, abs=1e-5)


@given(Seeds, Sizes, Means)
def test_the_order_of_members_does_not_matter(seed: int, members: int, method: Method) -> None:
    own, how = rows(seed, members), combination(seed, members, method)
    order = np.random.default_rng(seed).permutation(members).tolist()
    assert close(combined([own[i] for i in order], how.only(order)), combined(own, how))


@given(Seeds, Means)
def test_one_member_is_itself(seed: int, method: Method) -> None:
    own = rows(seed, 1)
    assert close(combined(own, Combination.equal(method, 1)), own[0])


@given(Seeds, Sizes, Means, st.floats(0, 1))
def test_a_copy_with_weight_shared_changes_nothing(
    seed: int, members: int, method: Method, share: float
) -> None:
    own, how = rows(seed, members), combination(seed, members, method)
    first, *others = how.weights
    doubled = replace(
        how,
        weights=(first * share, *others, first * (1 - share)),
        temperatures=(*how.temperatures, how.temperatures[0]),
    )
    assert close(combined([*own, own[0]], doubled), combined(own, how))


@given(Seeds, Sizes, Means, st.lists(st.integers(0, 7), max_size=4))
def test_pieces_give_what_the_whole_gives(
    seed: int, members: int, method: Method, cuts: list[int]
) -> None:
    own, how = rows(seed, members), combination(seed, members, method)
    pieces = zip(*(np.split(one, sorted(cuts)) for one in own), strict=True)
    parts = [combined(piece, how) for piece in pieces]
    assert np.array_equal(np.concatenate(parts), combined(own, how))


@given(Seeds, Sizes, st.sampled_from(METHODS))
def test_plain_data_comes_back_the_same(seed: int, members: int, method: Method) -> None:
    how = combination(seed, members, method)
    assert Combination.from_dict(how.to_dict()) == how
    assert Combination.from_dict(json.loads(json.dumps(how.to_dict()))) == how


def test_means_as_they_are_defined() -> None:
    a, b = row(0.8, 0.2), row(0.4, 0.6)
    mean = combined([a, b], Combination("arithmetic", (0.75, 0.25), (1.0, 1.0)))
    assert np.exp(mean)[0] == pytest.approx([0.7, 0.3])
    mean = combined([a, b], Combination("geometric", (0.5, 0.5), (1.0, 1.0)))
    ratio = math.sqrt(0.8 * 0.4) / math.sqrt(0.2 * 0.6)
    assert np.exp(mean)[0] == pytest.approx([ratio / (1 + ratio), 1 / (1 + ratio)])
    mean = combined([a, a], Combination("arithmetic", (0.5, 0.5), (0.5, 0.5), 2.0))
    assert np.exp(mean)[0] == pytest.approx([0.8, 0.2])  # twice as cold, then twice as warm


def test_what_is_ruled_out_stays_finite_for_the_others() -> None:
    never, sure = -np.inf, row(1, 0, 0)
    other = row(0.2, 0.7, 0.1)
    both = Combination.equal("arithmetic", 2)
    assert np.exp(combined([sure, other], both))[0] == pytest.approx([0.6, 0.35, 0.05])
    assert combined([sure, sure], both)[0].tolist() == [0.0, never, never]
    mean = combined([sure, other], Combination.equal("geometric", 2))
    assert mean[0, 0] - mean[0, 1] == pytest.approx((math.log(0.2 / 0.7) - FLOOR) / 2, abs=1e-4)


def test_a_member_without_weight_is_not_heard() -> None:
    own = rows(0, 2)
    own[1][:] = np.nan
    assert close(combined(own, Combination("arithmetic", (1.0, 0.0), (1.0, 1.0))), own[0])


def test_no_rows_yet() -> None:
    none = np.empty((0, 0), np.float32)
    assert combined([none, none], Combination.equal("geometric", 2)).shape == (0, 0)


@given(Seeds, st.integers(2, 6), st.sampled_from(["arithmetic", "geometric"]))
def test_what_is_decided_stays_decided(seed: int, members: int, method: Method) -> None:
    """Whoever else answers whatever: even all the rest, as sure as can be, for another label."""
    own, how = rows(seed, members, frames=1), combination(seed, members, method)
    rng = np.random.default_rng(seed)
    order = rng.permutation(members).tolist()
    for count in range(1, members + 1):
        heard = {member: own[member] for member in order[:count]}
        if not decided(heard, how):
            continue
        best = label(list(heard.values()), how.only(list(heard)))
        for other in range(own[0].shape[1]):
            enemy = np.full((1, 5), -np.inf, np.float32)
            enemy[0, other] = 0
            against = [heard.get(member, enemy) for member in range(members)]
            assert label(against, how) == best
        assert label(own, how) == best
        break


def label(own: Sequence[LogProbs], how: Combination) -> int:
    """The label that wins when all are asked."""
    return int(combined(own, how)[0].argmax())


def test_when_asking_stops() -> None:
    sure = row(0.98, 0.01, 0.01)
    enough: dict[Method, int] = {"arithmetic": 3, "geometric": 4, "vote": 5, "mbr": 5, "choose": 5}
    for method, members in enough.items():
        how = Combination.equal(method, 5)
        first = [n for n in range(1, 6) if decided(dict(enumerate([sure] * n)), how)]
        assert first[0] == members, method
    unheard = Combination("arithmetic", (0.0, 1.0), (1.0, 1.0))
    assert not decided({0: sure}, unheard)
    assert decided({1: sure}, unheard)


def test_a_lead_that_cannot_be_caught_up_with() -> None:
    assert settled([0.5, 0.1], 0.3)
    assert not settled([0.5, 0.2], 0.3)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 10))
def test_a_temperature_keeps_the_order_of_confidences(a: float, b: float, heat: float) -> None:
    low, high = (calibrated(c, heat) for c in sorted((a, b)))
    assert 0 <= low <= high <= 1
    assert calibrated(a, 1.0) == a
    assert calibrated(0.5, heat) == pytest.approx(0.5)


def test_a_confidence_is_tempered_as_two_outputs_are() -> None:
    assert calibrated(0.9, 2.5) == pytest.approx(
        float(np.exp(tempered(row(0.9, 0.1), 2.5))[0, 0]), abs=1e-6
    )
    assert 0.5 < calibrated(1.0, 5.0) < 1  # even what was called certain


@given(st.permutations([("go", 0.7), ("no", 0.9), ("stop", 0.9), ("left", 0.2)]))
def test_the_surest_member_answers(answers: list[tuple[str, float]]) -> None:
    assert answers[choose(answers, Combination.equal("choose", 4))] == ("stop", 0.9)
    heats = tuple(9.0 if said in ("no", "stop") else 1.0 for said, _ in answers)
    doubted = Combination("choose", (0.25,) * 4, heats)
    assert answers[choose(answers, doubted)] == ("go", 0.7)


def test_who_does_not_answer_is_not_chosen() -> None:
    how = Combination("choose", (0.0, 0.5, 0.5), (1.0, 1.0, 1.0))
    assert choose([("a", 0.99), None, ("b", 0.1)], how) == 2
    assert choose([("a", 0.99), None, None], how) == 0  # better an unheard member than none
    with pytest.raises(BundleError, match="no answer"):
        choose([None, None, None], how)
    with pytest.raises(BundleError, match="answers of 1 members"):
        choose([("a", 0.9)], how)


def test_fewer_members() -> None:
    how = Combination("vote", (0.5, 0.3, 0.2, 0.0), (1.0, 2.0, 3.0, 4.0), 1.5)
    assert how.only([2, 1]) == Combination("vote", (0.4, 0.6), (3.0, 2.0), 1.5)
    assert how.only([3]).weights == (1.0,)
    for wrong in ([], [1, 1], [4], [-1]):
        with pytest.raises(BundleError, match="different numbers from 0 to 3"):
            how.only(wrong)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"method": "median"}, "'median'"),
        ({"weights": [0.5, 0.6]}, "add up to 1.1"),
        ({"weights": [1.5, -0.5]}, "weights with '1.5'"),
        ({"weights": [math.nan, 1.0]}, "weights with 'nan'"),
        ({"weights": [True, 0.0]}, "weights with 'True'"),
        ({"weights": []}, "0 weights and 2 temperatures"),
        ({"weights": "ab"}, "weights 'ab'"),
        ({"temperatures": [1.0]}, "2 weights and 1 temperatures"),
        ({"temperatures": [1.0, 0.0]}, "temperatures with '0.0'"),
        ({"temperatures": [1.0, "2"]}, "temperatures with '2'"),
        ({"temperature": math.inf}, "temperature with 'inf'"),
        ({"seed": 1}, "'seed'"),
    ],
)
def test_what_is_no_combination(changed: dict[str, object], found: str) -> None:
    plain = Combination.equal("geometric", 2).to_dict() | changed
    with pytest.raises(BundleError, match=found):
        Combination.from_dict(plain)


def test_a_combination_with_a_key_missing() -> None:
    plain = Combination.equal("geometric", 2).to_dict()
    del plain["temperature"]
    with pytest.raises(BundleError, match="the keys method, weights, temperatures, temperature"):
        Combination.from_dict(plain)


def test_rows_that_do_not_go_together() -> None:
    how = Combination.equal("arithmetic", 2)
    a, b = rows(0, 2)
    with pytest.raises(BundleError, match="rows of 1 members"):
        combined([a], how)
    with pytest.raises(BundleError, match=r"\(6, 5\), \(7, 5\)"):
        combined([a, b[:6]], how)
    with pytest.raises(BundleError, match=r"\(5,\)"):
        combined([a[0], b[0]], how)
    with pytest.raises(BundleError, match="posteriors to vote"):
        combined([a, b], replace(how, method="vote"))
    for value in (np.nan, np.inf):
        with pytest.raises(BundleError, match="without a probability"):
            combined([a, np.full_like(b, value)], how)
    with pytest.raises(BundleError, match="without a probability"):
        tempered(np.full((1, 3), -np.inf, np.float32), 1.0)
