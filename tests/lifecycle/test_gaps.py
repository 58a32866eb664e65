"""Gaps lie between neighbours of the curve, and so do the sizes proposed for them."""

from itertools import pairwise
from math import exp, isclose, log

from hypothesis import given
from hypothesis import strategies as st

from aimass.lifecycle.gaps import Gap, Tried, front, gaps, middle


def tried(parameters: int, error: float, family: str = "conv", factor: int = 20) -> Tried:
    """A model whose cost follows from its parameters."""
    return Tried(f"{family}-{parameters}", (family, parameters), factor * parameters, error)


@st.composite
def any_tried(draw: st.DrawFn) -> list[Tried]:
    factors = {"conv": 20, "recurrent": 33}
    sizes = draw(
        st.lists(
            st.tuples(st.sampled_from(sorted(factors)), st.integers(30_000, 300_000)),
            min_size=1,
            max_size=12,
            unique=True,
        )
    )
    return [
        tried(size, draw(st.integers(0, 20)) / 20, family, factors[family])
        for family, size in sizes
    ]


@given(any_tried())
def test_the_curve_holds_what_nothing_dominates(models: list[Tried]) -> None:
    kept = front(models)
    places = [(one.cost, one.error) for one in kept]
    for one in models:
        place = (one.cost, one.error)
        worse = any(
            t.cost <= one.cost and t.error <= one.error and (t.cost, t.error) != place
            for t in models
        )
        assert worse != (place in places)
    assert all(a.cost < b.cost and a.error > b.error for a, b in pairwise(kept))


@given(any_tried())
def test_gaps_lie_between_neighbours_of_the_curve(models: list[Tried]) -> None:
    kept, found = front(models), gaps(models)
    assert bool(found) == (len(kept) > 1)
    assert [gap.worth for gap in found] == sorted((gap.worth for gap in found), reverse=True)
    assert sum(gap.worth for gap in found) <= 1 + 1e-9
    for gap in found:
        around = [(a, b) for a, b in pairwise(kept) if a.cost <= gap.left.cost < b.cost]
        assert len(around) == 1 and gap.right.cost <= around[0][1].cost
        assert not any(gap.left.cost < one.cost < gap.right.cost for one in models)


@given(any_tried())
def test_a_proposal_lies_strictly_between_two_neighbours(models: list[Tried]) -> None:
    """In parameters where both are of one family that was tried in order, and so in cost."""
    factors = {"conv": 20, "recurrent": 33}
    for gap in gaps(models):
        assert gap.left.cost < gap.right.cost or gap.worth == 0
        for family, parameters in middle(gap, models):
            assert family in (gap.left.size[0], gap.right.size[0])
            own = [one.size[1] for one in models if one.size[0] == family]
            cost = factors[family] * parameters
            inside = factors[family] * min(own) < cost < factors[family] * max(own)
            if inside and gap.right.cost > gap.left.cost + 2 * factors[family]:
                assert gap.left.cost < cost < gap.right.cost
                wanted = (log(gap.left.cost) + log(gap.right.cost)) / 2
                assert isclose(cost, exp(wanted), rel_tol=1e-4)


def test_the_middle_is_that_of_logarithms() -> None:
    models = [tried(40_000, 0.4), tried(160_000, 0.1)]
    (gap,) = gaps(models)
    assert gap == Gap(models[0], models[1], 1.0)
    assert list(middle(gap, models)) == [("conv", 80_000)]


def test_the_widest_gap_counts_cost_and_error() -> None:
    models = [tried(30_000, 0.5), tried(60_000, 0.2), tried(120_000, 0.19), tried(240_000, 0.18)]
    assert gaps(models)[0].left == models[0]
    assert list(middle(gaps(models)[0], models)) == [("conv", 42_426)]


def test_what_was_tried_in_vain_divides_its_gap() -> None:
    models = [tried(40_000, 0.4), tried(80_000, 0.9), tried(160_000, 0.1)]
    assert [gap.worth for gap in gaps(models)] == [0.5, 0.5]
    assert [next(middle(gap, models)) for gap in gaps(models)] == [
        ("conv", 56_569),
        ("conv", 113_137),
    ]


def test_between_two_families_each_has_its_own_size() -> None:
    models = [
        tried(40_000, 0.4),
        tried(160_000, 0.35),
        tried(30_000, 0.6, "recurrent", 80),
        tried(120_000, 0.1, "recurrent", 80),
    ]
    first = gaps(models)[0]
    assert (first.left.size, first.right.size) == (("conv", 160_000), ("recurrent", 120_000))
    assert list(middle(first, models)) == [("recurrent", 69_282), ("conv", 160_000)]
