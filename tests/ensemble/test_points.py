"""What cascades of planted members give, and that the sweep keeps what it promises."""

from dataclasses import replace

import numpy as np
import pytest

from aimass.decoding.combine import Combination, decided
from aimass.ensemble.outputs import Outputs
from aimass.ensemble.points import Chosen, Table, outcome, walk
from aimass.ensemble.sweep import SweepSpec, _surface, sweep
from aimass.ensemble.weigh import Judge
from aimass.registry.points import Stage

from .voices import LABELS, outputs

SKILLS = (1.5, 1.8, 2.0, 2.2, 2.4)


def table(
    found: Outputs, method: str = "geometric", early: bool = False, students: int = 0
) -> Table:
    """Members of equal weight, after so many students of none."""
    count = len(found.names) - students
    weights = (0.0,) * students + (1 / count,) * count
    combination = Combination(method, weights, (1.0,) * len(found.names))  # type: ignore[arg-type]
    return Table(Judge(found, combination, LABELS), early)


@pytest.fixture(scope="module")
def dev() -> Outputs:
    return outputs(SKILLS, 400, seed=1)


@pytest.fixture(scope="module")
def test_set() -> Outputs:
    return outputs(SKILLS, 400, seed=2)


def stage(found: Table, members: list[int], threshold: float) -> Stage:
    names = tuple(found.judge.outputs.names[m] for m in members)
    return Stage(members=names, threshold=threshold)


@pytest.mark.parametrize("method", ["arithmetic", "geometric", "vote", "choose"])
def test_threshold_0_is_the_first_stage_and_1_the_last(dev: Outputs, method: str) -> None:
    found = table(dev, method)
    everybody = list(range(len(SKILLS)))
    for first in ([0], [1, 3]):
        low = outcome(found, [stage(found, first, 0.0), stage(found, everybody, 0.0)])
        part = outcome(found, [stage(found, first, 0.0)])
        assert (low.errors == part.errors).all() and low.cost == part.cost
        assert low.shares == (1.0, 0.0)
        high = outcome(found, [stage(found, first, 1.0), stage(found, everybody, 0.0)])
        whole = outcome(found, [])
        assert (high.errors == whole.errors).all() and high.shares == (1.0, 1.0)
        assert high.cost == pytest.approx(whole.cost)  # nobody is asked twice


def test_cost_is_that_of_who_is_asked(dev: Outputs) -> None:
    found = table(dev)
    cascade = [stage(found, [0], 0.6), stage(found, [0, 1, 2], 0.6), stage(found, [0, 1, 4], 0.0)]
    told = outcome(found, cascade)
    _, second, third = told.shares
    assert 0 < third < second < 1
    assert told.cost == pytest.approx(1000 + second * (2000 + 3000) + third * 5000)


def test_the_surface_is_what_each_choice_gives(dev: Outputs) -> None:
    found = table(dev, early=True)
    everything = np.arange(len(dev.clips))
    sets = (frozenset({4}), frozenset({3, 4}), frozenset(range(5)))
    errors, harm, costs, edges = _surface(found, sets, everything)
    assert errors.shape == costs.shape == tuple(map(len, edges))
    for at in [(0, 0), (0, 5), (7, 0), (20, 9), (len(edges[0]) - 1, len(edges[1]) - 1)]:
        thresholds = tuple(float(own[n]) for own, n in zip(edges, at, strict=True))
        own, cost, _ = walk(found, Chosen(sets, thresholds))
        assert errors[at] == own.sum() and -1e-9 <= harm[at] <= harm[0, 0] + 1e-9
        assert costs[at] == pytest.approx(cost.mean())


@pytest.mark.parametrize("method", ["arithmetic", "geometric"])
def test_stopping_early_costs_what_deciding_says(dev: Outputs, method: str) -> None:
    found = table(dev, method, early=True)
    combination = found.judge.combination
    spent = found.spent(frozenset({0}), frozenset(range(5)), last=True)
    for place in range(0, 400, 7):
        rows = {0: dev.rows[0][place]}  # type: ignore[index]
        wanted = 0.0
        for member in range(1, 5):
            if decided(rows, combination):
                break
            rows[member] = dev.rows[member][place]  # type: ignore[index]
            wanted += found.costs[member]
        assert spent[place] == wanted
    assert (spent.mean() < 2000 + 3000 + 4000 + 5000) == (method == "arithmetic")


def test_the_sweep_keeps_its_slack_for_less(dev: Outputs, test_set: Outputs) -> None:
    found = table(dev)
    whole, careful, *rest = sweep(found, SweepSpec(slack=0.01))
    assert (whole.name, whole.stages) == ("all", ())
    assert careful.stages and careful.cost < 0.8 * whole.cost
    own = outcome(found, careful.stages)
    assert own.errors.sum() <= whole.errors.sum() + 0.01 * 400
    assert careful.errors.sum() <= whole.errors.sum() + 0.01 * 400  # of speakers left out
    assert len({plan.name for plan in [careful, *rest]}) == len(rest) + 1
    cheapest = min(rest, key=lambda plan: plan.cost)
    assert cheapest.stages[0].members == ("m0",) and len(cheapest.stages) == 1
    there = table(test_set)
    for plan in [whole, careful, *rest]:
        told = outcome(there, plan.stages)
        assert told.cost <= outcome(there, []).cost + 1e-9
    assert outcome(there, careful.stages).errors.mean() <= whole.errors.mean() + 0.05


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_budget_is_kept_and_used_for_care(dev: Outputs, share: float) -> None:
    found = table(dev)
    plans = sweep(found, SweepSpec(budgets=(share,)))
    (bought,) = (plan for plan in plans if plan.budget == share)
    whole = plans[0]
    assert bought.cost <= share * whole.cost + 1e-9 and bought.slack is None
    assert set(bought.stages[-1].members) == set(dev.names)  # it ends with everybody
    tighter = sweep(found, SweepSpec(budgets=(share / 2,)))
    (less,) = (plan for plan in tighter if plan.budget)
    harm = [outcome(found, one.stages).errors.sum() - whole.errors.sum() for one in (less, bought)]
    assert harm[1] <= max(harm[0], 0)


def test_the_same_data_give_the_same_plans(dev: Outputs) -> None:
    one, other = (sweep(table(dev)) for _ in range(2))
    assert [(p.name, p.stages, p.cost) for p in one] == [(p.name, p.stages, p.cost) for p in other]


def test_a_student_stands_alone_in_its_stage(dev: Outputs) -> None:
    """One that is as good as the members and costs a fifth answers most of the time."""
    cheap = replace(dev.costs[4], multiply_adds=200)
    own = replace(dev, costs=(*dev.costs[:4], cheap)).only([4, 0, 1, 2, 3])
    found = table(own, students=1)
    assert found.students == (0,) and found.whole == {1, 2, 3, 4}
    plans = sweep(found)
    cascades = [plan for plan in plans if len(plan.stages) > 1]
    assert any(plan.stages[0].members == ("m4",) for plan in cascades)
    for plan in cascades:
        for later in plan.stages:
            assert "m4" not in later.members or later.members == ("m4",)
    assert any(plan.name.startswith("m4") for plan in plans)


def test_nobody_told_apart_is_no_fault() -> None:
    unknown = outputs(SKILLS, 100, speakers=0)
    plans = sweep(table(unknown))
    assert plans[0].name == "all" and len(plans) > 1


def test_one_member_has_one_point() -> None:
    plans = sweep(table(outputs((2.0,), 50)))
    assert [plan.name for plan in plans] == ["all"]
