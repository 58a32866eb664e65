"""Ways to combine are judged on speakers left out, and only members that fit are combined."""

from dataclasses import replace
from typing import Any

import pytest

from aimass.base.contract import Task
from aimass.base.errors import DataError, RequestError
from aimass.decoding.combination import Method
from aimass.ensemble.fit import reheated
from aimass.ensemble.outputs import answered
from aimass.ensemble.ways import SUITABLE, Kind, Way, WaysSpec, judge_of, largest_group, ways
from aimass.text.tokens import LabelSet, TokenSet

from .voices import LABELS, outputs

OTHERS = LabelSet(("a", "b", "c", "d", "e"))


def kind(count: int, **changed: Any) -> Kind:
    plain = Kind(Task.CLASSIFY, "classification_error", None, (LABELS,) * count)
    return replace(plain, **changed)


def test_every_method_that_suits_stands_there_the_best_first() -> None:
    heard = outputs([2.0, 2.0, 1.5, 1.0], count=120)
    found = ways(heard, kind(4))
    assert {way.name.partition(",")[0] for way in found} == set(SUITABLE[Task.CLASSIFY])
    assert [way.error_rate for way in found] == sorted(way.error_rate for way in found)
    best = min(judge_of(heard, kind(4), found[0].combination).alone.mean(1))
    assert found[0].error_rate < best  # four that err apart are better than the best of them
    for way in found:
        assert len(way.combination.weights) == 4 and way.members
        answers = answered(heard, way.combination, LABELS)
        assert [one.utterance_id for one in answers] == [clip.id for clip in heard.clips]


def test_the_same_outputs_give_the_same_ways() -> None:
    heard = outputs([2.0, 1.0, 1.0])
    first, second = (ways(heard, kind(3)) for _ in range(2))
    assert [way.to_dict() for way in first] == [way.to_dict() for way in second]


def test_members_of_other_outputs_can_only_vote() -> None:
    heard = outputs([2.0, 2.0, 2.0])
    mixed = kind(3, symbols=(LABELS, OTHERS, LABELS))
    assert largest_group(heard, mixed) == [0, 2]
    found = {way.name: way for way in ways(heard, mixed)}
    assert found["geometric"].members == (0, 2) and found["geometric"].combination.weights[1] == 0
    assert len(found["vote"].members) == 3
    alone = kind(3, symbols=(LABELS, OTHERS, None))
    names = {way.name.partition(",")[0] for way in ways(heard, alone)}
    assert names == {"vote", "choose"}
    with pytest.raises(DataError, match="Add the method vote"):
        ways(heard, alone, WaysSpec(methods=("geometric",)))


def test_other_frame_rates_can_only_vote() -> None:
    tokens = TokenSet(("▁a", "▁b"))
    heard = replace(outputs([1.0, 1.0, 1.0]), frame_seconds=(0.04, 0.08, 0.04))
    spelled = Kind(Task.TRANSCRIBE, "wer", "en", (tokens,) * 3)
    assert largest_group(heard, spelled) == [0, 2]
    assert largest_group(heard, kind(3)) == [0, 1, 2]  # of labels the last row alone counts


@pytest.mark.parametrize("method", ["geometric", "vote"])
def test_a_budget_is_kept(method: Method) -> None:
    heard = outputs([2.0, 2.0, 1.5, 1.0])  # of 1000, 2000, 3000, 4000 multiply-adds
    spec = WaysSpec((method,), budget=4500, unit="multiply_adds")
    (way,) = ways(heard, kind(4), spec)
    costs = [heard.costs[member].multiply_adds or 0 for member in way.members]
    assert sum(costs) <= 4500 and way.selection is not None
    assert way.selection.names == heard.names
    with pytest.raises(RequestError, match="a budget of 1"):
        ways(heard, kind(4), replace(spec, budget=1))


@pytest.mark.parametrize("method", ["geometric", "arithmetic", "vote", "choose"])
def test_the_temperature_of_a_pruned_way_is_that_of_those_that_stay(method: Method) -> None:
    heard = outputs([2.0, 2.0, 1.5, 1.0])
    spec = WaysSpec((method,), budget=4500, unit="multiply_adds")
    (way,) = ways(heard, kind(4), spec)
    members = way.members
    assert 1 <= len(members) < 4
    own = reheated(heard.only(members), way.combination.only(members), LABELS)
    assert way.combination.temperature == pytest.approx(own.temperature)
    (whole,) = ways(heard, kind(4), WaysSpec((method,), prune=False))
    assert whole.name == method and len(whole.members) == 4
    (whole,) = [w for w in ways(heard, kind(4), WaysSpec((method,))) if w.name == method]
    assert way.combination.temperature != pytest.approx(whole.combination.temperature)


def test_one_member_and_one_speaker_are_enough() -> None:
    (only,) = [way for way in ways(outputs([2.0]), kind(1)) if way.name == "geometric"]
    assert only.combination.weights == (1.0,)
    found: list[Way] = ways(outputs([2.0, 1.0], speakers=1), kind(2))
    assert all(0 <= way.error_rate <= 1 for way in found)
