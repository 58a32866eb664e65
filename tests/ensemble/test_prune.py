"""Selection: what is useless stays out, budgets hold, and the same data give the same choice."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.errors import RequestError
from aimass.decoding.combine import Combination, Method
from aimass.ensemble.kept import Outputs
from aimass.ensemble.outputs import joined
from aimass.ensemble.prune import PruneSpec, Selection, prune
from aimass.ensemble.weigh import Judge
from aimass.evaluation.cost import Cost

from .test_weigh import WORDS, sayings
from .voices import LABELS, outputs


def chosen(
    found: Outputs, spec: PruneSpec | None = None, method: Method = "geometric"
) -> Selection:
    return prune(Judge(found, Combination.equal(method, len(found.names)), LABELS), spec)


def costing(found: Outputs, *seconds: float | None) -> Outputs:
    costs = tuple(Cost(1.0, s) if s is not None else Cost() for s in seconds)
    return replace(found, costs=costs)


def test_the_best_member_comes_first_and_noise_stays_out() -> None:
    found = chosen(outputs([0.0, 3.0, 0.0, 0.0], count=200))
    assert found.steps[0].joined == "m1"
    assert found.members == (1,)
    assert found.weights == (0.0, 1.0, 0.0, 0.0)


def test_members_of_one_strength_join() -> None:
    found = chosen(outputs([1.5] * 4, count=200))
    assert found.kept > 1
    first, last = found.steps[0], found.steps[found.kept - 1]
    assert last.error_rate < first.error_rate
    assert last.held_out is not None and first.held_out is not None
    assert last.held_out < first.held_out


def test_every_member_has_its_step_and_its_cost() -> None:
    found = chosen(outputs([0.5, 1.0, 1.5], count=40))
    assert sorted(step.joined for step in found.steps) == ["m0", "m1", "m2"]
    costs = [step.cost for step in found.steps]
    assert costs[-1] == pytest.approx(0.06)
    assert costs == sorted(costs, key=lambda cost: cost or 0)
    for number, step in enumerate(found.steps, start=1):
        assert sum(step.weights) == pytest.approx(1)
        assert sum(weight > 0 for weight in step.weights) == number
        assert step.interval[0] <= step.error_rate <= step.interval[1]


@settings(max_examples=25)
@given(
    st.floats(0.01, 0.1),
    st.lists(st.floats(0.005, 0.05), min_size=4, max_size=4),
    st.integers(0, 3),
)
def test_a_budget_holds(budget: float, costs: list[float], seed: int) -> None:
    found = costing(outputs([0.5, 1.0, 1.5, 2.0], count=24, seed=seed), *costs)
    if min(costs) > budget:
        with pytest.raises(RequestError, match="budget"):
            chosen(found, PruneSpec(budget))
        return
    selection = chosen(found, PruneSpec(budget))
    assert sum(costs[member] for member in selection.members) <= budget * (1 + 1e-6)
    assert all((step.cost or 0) <= budget * (1 + 1e-6) for step in selection.steps)


def test_a_budget_is_counted_in_either_unit() -> None:
    found = outputs([1.0, 1.0, 1.0], count=60)
    selection = chosen(found, PruneSpec(3000, "multiply_adds"))
    assert selection.steps[-1].cost is not None and selection.steps[-1].cost <= 3000
    assert chosen(found).unit == "rtf"


def test_costs_that_nobody_knows() -> None:
    found = costing(outputs([1.0, 2.0]), 0.1, None)
    assert chosen(found).steps[-1].cost is None
    with pytest.raises(RequestError, match="no known cost"):
        chosen(found, PruneSpec(0.5))


@settings(max_examples=25)
@given(st.permutations(range(4)), st.integers(0, 5), st.sampled_from(["geometric", "vote"]))
def test_neither_order_nor_repetition_changes_the_choice(
    order: list[int], seed: int, method: Method
) -> None:
    found = outputs([0.5, 1.0, 1.0, 1.5], count=24, seed=seed)
    straight, turned = chosen(found, method=method), chosen(found.only(order), method=method)
    assert chosen(found, method=method) == straight
    assert [s.joined for s in straight.steps] == [s.joined for s in turned.steps]
    assert straight.kept == turned.kept
    assert [straight.weights[n] for n in order] == pytest.approx(turned.weights)


def test_held_out_speakers_have_no_part_in_the_choice() -> None:
    """A member that knows one speaker by heart is no help on others."""
    found = outputs([1.2, 1.2, 0.0], count=120, speakers=3)
    known = outputs([1.2, 1.2, 9.0], count=120, speakers=3)
    rows, learnt = found.rows[2], known.rows[2]
    assert rows is not None and learnt is not None
    mixed = tuple(
        learnt[place] if clip.speaker == "s0" else rows[place]
        for place, clip in enumerate(found.clips)
    )
    odd = replace(found, rows=(*found.rows[:2], mixed))
    selection = chosen(odd)
    apart = [(s.held_out or 0) - s.error_rate for s in selection.steps]
    assert max(apart) > 0.02
    best = min(step.held_out or 0 for step in selection.steps)
    assert selection.steps[selection.kept - 1].held_out == best


def test_without_speakers_there_is_nothing_to_hold_out() -> None:
    for speakers in (0, 1):
        found = chosen(outputs([1.0, 2.0], speakers=speakers))
        assert all(step.held_out is None for step in found.steps)
        assert found.kept in (1, 2)


def test_a_smaller_model_may_be_preferred() -> None:
    found = outputs([1.5] * 4, count=200)
    assert chosen(found, PruneSpec(slack=1000.0)).kept == 1
    assert chosen(found, PruneSpec(slack=0.1)).kept <= chosen(found).kept


def test_members_that_only_say_words_are_chosen_too() -> None:
    said = ["a b", "c", "b a", "a"] * 5
    most, others = ["a b", "c", "a", "a"] * 5, ["a b", "b", "b a", "a"] * 5
    found = sayings(most, others, ["b b c"] * 20, said=said)
    selection = prune(Judge(found, Combination.equal("vote", 3), WORDS))
    assert selection.steps[-1].joined == "m2"
    assert "m2" not in [selection.names[member] for member in selection.members]


def test_the_combination_of_those_that_stay() -> None:
    found = outputs([0.0, 2.0, 1.8], count=120)
    fitted = Combination("geometric", (0.2, 0.4, 0.4), (0.5, 1.0, 2.0), 0.9)
    selection = prune(Judge(found, fitted, LABELS))
    kept = selection.combination(fitted)
    assert kept.temperatures == tuple(fitted.temperatures[member] for member in selection.members)
    assert sum(kept.weights) == pytest.approx(1)
    assert kept.temperature == 0.9
    assert selection.to_dict()["members"] == [found.names[member] for member in selection.members]


def test_a_copy_is_not_needed() -> None:
    found = outputs([2.0, 0.5], count=120)
    twice = joined([found, replace(found.only([0]), names=("z",))])
    assert "z" not in [twice.names[member] for member in chosen(twice).members]


@pytest.mark.parametrize("spec", [PruneSpec(groups=1), PruneSpec(again=-1), PruneSpec(slack=-0.1)])
def test_a_spec_that_makes_no_sense_is_refused(spec: PruneSpec) -> None:
    with pytest.raises(RequestError, match="selection over"):
        chosen(outputs([1.0, 2.0]), spec)
