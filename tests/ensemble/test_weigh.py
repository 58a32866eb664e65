"""What members are worth: planted values come back, and the measures keep their laws."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.contract import Word
from aimass.decoding.combine import Combination, Method
from aimass.ensemble.kept import Outputs, scored
from aimass.ensemble.outputs import answered, joined
from aimass.ensemble.weigh import Judge, phi, shapley, weigh, without, yule
from aimass.evaluation.cost import Cost
from aimass.evaluation.scorecard import score
from aimass.text.tokens import TokenSet

from .voices import LABELS, clips, outputs

METHODS: tuple[Method, ...] = get_args(Method)
WORDS = TokenSet(("▁a", "▁b", "▁c"))


def judge(skills: list[float], method: Method = "geometric", **more: int) -> Judge:
    return Judge(outputs(skills, **more), Combination.equal(method, len(skills)), LABELS)


def sayings(*members: list[str], said: list[str]) -> Outputs:
    """Members that give texts and nothing else."""
    heard = tuple(replace(c, text=t) for c, t in zip(clips(len(said), 2), said, strict=True))
    return Outputs(
        tuple(f"m{n}" for n in range(len(members))),
        heard,
        (None,) * len(members),
        tuple(
            tuple(
                scored(
                    clip,
                    text,
                    0.9,
                    1.0,
                    tuple(Word(w, i / 9, (i + 1) / 9, 0.9) for i, w in enumerate(text.split())),
                )
                for clip, text in zip(heard, own, strict=True)
            )
            for own in members
        ),
        (Cost(),) * len(members),
    )


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=15)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=3).filter(any), st.integers(0, 9))
def test_a_judge_counts_what_a_scorecard_counts(
    method: Method, counts: list[int], seed: int
) -> None:
    found = outputs([0.5, 1.0, 1.5], count=24, seed=seed)
    weights = tuple(n / sum(counts) for n in counts)
    one = Combination(method, weights, (0.5, 1.0, 2.0), 0.7)
    card = score(answered(found, one, LABELS), "classification_error")
    own = Judge(found, replace(one, weights=(1 / 3,) * 3), LABELS)
    errors = own.errors([7 * n for n in counts])  # the sum does not matter
    assert errors.tolist() == [row.errors for row in card.per_utterance]
    assert own.rate(errors) == pytest.approx(card.error_rate)
    assert own.interval(errors) == pytest.approx(card.interval)


def test_words_are_judged_as_a_scorecard_judges_them() -> None:
    found = sayings(
        ["a b", "c", ""], ["a", "c c", "b"], ["a b c", "c", "b"], said=["a b", "c", "b"]
    )
    for method in ("vote", "mbr", "choose"):
        one = Combination(method, (0.2, 0.3, 0.5), (1.0, 1.0, 1.0))
        own = Judge(found, one, WORDS)
        assert (own.metric, own.quick) == ("wer", False)
        card = score(answered(found, one, WORDS), "wer")
        assert own.errors(one.weights).tolist() == [row.errors for row in card.per_utterance]
        assert own.alone.tolist() == [[0, 0, 1], [1, 1, 0], [1, 0, 0]]


def test_the_oracle_takes_the_best_answer_each_time() -> None:
    found = sayings(["a b", "c", "a"], ["a", "c c", "b"], said=["a b", "c", "c"])
    told = weigh(Judge(found, Combination.equal("choose", 2), WORDS))
    assert told.oracle == pytest.approx(1 / 4)
    assert told.disagreement == ((0.0, 1.0), (1.0, 0.0))
    assert told.double_fault == pytest.approx(np.array([[1 / 3, 1 / 3], [1 / 3, 1.0]]))
    assert told.best == "m0"


def test_who_saves_and_who_spoils_is_named() -> None:
    said = ["a", "b", "c", "a"]
    found = sayings(["a", "b", "c", "b"], ["a", "b", "a", "a"], ["a", "c", "c", "b"], said=said)
    told = weigh(Judge(found, Combination.equal("vote", 3), WORDS))
    ids = [clip.id for clip in found.clips]
    first = told.members[0]
    assert set(first.saves) <= set(ids) and ids[0] not in first.saves
    assert told.members[1].alone == (ids[3],)
    for member in told.members:
        assert not set(member.saves) & set(member.spoils)


def test_marginal_worth_is_the_error_without_minus_the_error_with() -> None:
    own = judge([0.5, 1.0, 3.0])
    told = weigh(own)
    for number, member in enumerate(told.members):
        rest = without(own.combination.weights, number)
        assert rest is not None
        apart = own.rate(own.errors(rest)) - told.error_rate
        assert member.marginal == pytest.approx(apart)
        low, high = member.marginal_interval
        assert low <= apart <= high
        assert len(member.saves) - len(member.spoils) == round(apart * told.utterances)
    assert max(told.members, key=lambda m: m.marginal).name == "m2"


def test_without_its_only_member_a_model_misses_everything() -> None:
    own = judge([2.0])
    told = weigh(own)
    assert told.members[0].marginal == pytest.approx(1 - told.error_rate)
    assert told.gain == 0
    two = Judge(outputs([2.0, 1.0]), Combination("geometric", (1.0, 0.0), (1.0, 1.0)), LABELS)
    assert without((1.0, 0.0), 0) == (0.0, 1.0)
    assert weigh(two).members[1].marginal == 0


def test_shares_of_what_is_right_add_up_and_equals_share_alike() -> None:
    own = judge([0.5, 1.0, 1.5, 2.5])
    shares = shapley(own)
    assert shares is not None
    assert math.fsum(shares) == pytest.approx(1 - own.rate(own.errors((1, 1, 1, 1))))
    found = outputs([1.0, 2.0])
    twice = joined([found, replace(found.only([1]), names=("copy",))])
    alike = shapley(Judge(twice, Combination.equal("arithmetic", 3), LABELS))
    assert alike is not None and alike[1] == pytest.approx(alike[2])


def test_shares_are_left_out_where_they_cost_too_much() -> None:
    assert shapley(judge([1.0] * 11, count=10)) is None
    texts = sayings(["a"], ["b"], said=["a"])
    assert shapley(Judge(texts, Combination.equal("vote", 2), WORDS)) is None


wrongs = st.lists(st.booleans(), min_size=6, max_size=30)


@given(wrongs)
def test_measures_of_a_pair_are_symmetric_and_bounded(a: list[bool]) -> None:
    first = np.array(a)
    second = np.roll(first, 1) ^ (np.arange(len(a)) % 3 == 0)
    for measure in (phi, yule):
        one, other = measure(first, second), measure(second, first)
        assert one == pytest.approx(other) if one is not None else other is None
        assert one is None or -1 - 1e-9 <= one <= 1 + 1e-9
        same = measure(first, first)
        assert same is None or same == pytest.approx(1)
        apart = measure(first, ~first)
        assert apart is None or apart == pytest.approx(-1)


def test_measures_that_do_not_exist_are_none() -> None:
    always, half = np.array([True, True]), np.array([True, False])
    assert phi(always, half) is None
    assert yule(always, half) is None
    assert phi(half, half) == pytest.approx(1)


def test_a_pair_is_the_same_in_either_order_of_members() -> None:
    found = outputs([0.5, 1.0, 1.5])
    order = [2, 0, 1]
    straight = weigh(Judge(found, Combination.equal("arithmetic", 3), LABELS))
    turned = weigh(Judge(found.only(order), Combination.equal("arithmetic", 3), LABELS))
    for name in ("disagreement", "correlation", "q_statistic", "double_fault"):
        table, again = (np.array(getattr(told, name), float) for told in (straight, turned))
        assert np.allclose(table[np.ix_(order, order)], again, equal_nan=True)
    assert [m.name for m in turned.members] == [straight.members[n].name for n in order]
    assert turned.best == straight.best
    assert turned.gain_interval == pytest.approx(straight.gain_interval)


def test_a_weighing_is_plain_values() -> None:
    told = weigh(judge([1.0, 2.0])).to_dict()
    assert told["members"][0]["name"] == "m0"
    assert isinstance(told["correlation"], list)
    assert told["members"][0]["multiply_adds"] == 1000
