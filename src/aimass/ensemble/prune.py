"""Which members are worth their cost: greedy selection under a budget, judged on other speakers.

Forward selection with replacement, as Caruana et al. (2004), "Ensemble selection from libraries of
models": the member joins that helps most, and members that are in may be counted again, so that
the counts are the weights. How many members to keep is not read off the data they were chosen on:
the same selection is done without some of the speakers and judged on those.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import fsum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from aimass.base.errors import RequestError
from aimass.base.randomness import generator
from aimass.decoding.combine import Combination
from aimass.ensemble.weigh import Counts, Judge
from aimass.evaluation.cost import Cost
from aimass.evaluation.scorecard import json_ready

Unit = Literal["rtf", "multiply_adds"]

Places = npt.NDArray[np.int64]
"""Numbers of utterances."""

_SEED = 2004


@dataclass(frozen=True, slots=True)
class PruneSpec:
    """How to select.

    Args:
        budget: most cost of the members together, in `unit`; without end when None.
        unit: seconds of work, or multiply-adds, for a second of sound.
        groups: into so many groups the speakers are dealt; each is held out once.
        again: how often members that are in may be counted again after each that joins; of words,
            which are decoded anew for each weighting, never: there the members weigh the same.
        slack: a smaller model is taken while its held-out error rate is at most so much above
            the best, as a share of the best.
    """

    budget: float | None = None
    unit: Unit = "rtf"
    groups: int = 5
    again: int = 8
    slack: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """The massive model after one more member joined.

    Args:
        joined: the member's name.
        weights: of all members, in their order.
        cost: of its members together, None where one of them is unknown.
        error_rate, interval: on the data that it was chosen on.
        held_out, held_out_interval: of as many members chosen on other speakers; None where the
            speakers are unknown or one.
    """

    joined: str
    weights: tuple[float, ...]
    cost: float | None
    error_rate: float
    interval: tuple[float, float]
    held_out: float | None = None
    held_out_interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Members in the order in which they join, and how many of them to keep.

    Args:
        names: all members.
        steps: one for each member that joins, the first alone.
        kept: number of steps to take.
    """

    names: tuple[str, ...]
    unit: Unit
    budget: float | None
    steps: tuple[Step, ...]
    kept: int

    @property
    def weights(self) -> tuple[float, ...]:
        """Of all members; 0 for those that are left out."""
        return self.steps[self.kept - 1].weights

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers of those that stay, in the order of all."""
        return tuple(number for number, weight in enumerate(self.weights) if weight > 0)

    def combination(self, fitted: Combination) -> Combination:
        """A fitted combination with the weights of the selection, of the members that stay."""
        whole = Combination(fitted.method, self.weights, fitted.temperatures, fitted.temperature)
        return whole.only(self.members)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self) | {"members": [self.names[member] for member in self.members]}
        return {name: json_ready(value) for name, value in plain.items()}


@dataclass(slots=True)
class _Bag:
    """How often each member is counted."""

    counts: Counter[int] = field(default_factory=Counter)

    def weights(self, members: int) -> tuple[float, ...]:
        return tuple(self.counts[m] / self.counts.total() for m in range(members))

    def plus(self, member: int) -> "_Bag":
        return _Bag(self.counts + Counter([member]))


def prune(judge: Judge, spec: PruneSpec | None = None) -> Selection:
    """Choose members and weights; the same data and spec give the same choice.

    Args:
        judge: of the dev set, with the fitted combination whose temperatures are kept.

    Raises:
        RequestError: a budget that no member fits, or costs that are unknown under a budget.
    """
    spec = spec or PruneSpec()
    costs = [_cost(cost, spec.unit) for cost in judge.outputs.costs]
    _check(costs, spec)
    everything = np.arange(len(judge.speakers))
    path = _path(judge, everything, costs, spec)
    held = _held_out(judge, len(path), costs, spec)
    steps = []
    before: set[int] = set()
    for number, bag in enumerate(path):
        (new,) = set(bag.counts) - before
        before = set(bag.counts)
        errors = judge.errors(bag.weights(len(costs)))
        steps.append(
            Step(
                judge.outputs.names[new],
                bag.weights(len(costs)),
                _total(costs, before),
                judge.rate(errors),
                judge.interval(errors),
                judge.rate(held[number]) if held else None,
                judge.interval(held[number]) if held else None,
            )
        )
    kept = _kept(steps, spec)
    return Selection(judge.outputs.names, spec.unit, spec.budget, tuple(steps), kept)


def _path(
    judge: Judge, places: Places, costs: Sequence[float | None], spec: PruneSpec
) -> list[_Bag]:
    """The bags after one, two, three members, as far as the budget goes."""
    bag, path = _Bag(), list[_Bag]()
    while True:
        inside = set(bag.counts)
        fitting = [
            member
            for member in range(len(costs))
            if member not in inside and _fits(costs, inside | {member}, spec)
        ]
        if not fitting:
            return path
        joined = [_again(judge, places, bag.plus(member), costs, spec) for member in fitting]
        bag = _best(judge, places, joined, costs)
        path.append(bag)


def _again(
    judge: Judge, places: Places, bag: _Bag, costs: Sequence[float | None], spec: PruneSpec
) -> _Bag:
    """A bag whose members are counted again as long as that helps."""
    for _ in range(spec.again if judge.quick and len(bag.counts) > 1 else 0):
        better = _best(judge, places, [bag.plus(member) for member in sorted(bag.counts)], costs)
        if _loss(judge, places, better) >= _loss(judge, places, bag):
            break
        bag = better
    return bag


def _best(
    judge: Judge, places: Places, bags: Sequence[_Bag], costs: Sequence[float | None]
) -> _Bag:
    """The bag with the least loss; among equal ones the cheapest, then by names."""
    names = judge.outputs.names

    def rank(bag: _Bag) -> tuple[Any, ...]:
        said = sorted((names[member], count) for member, count in bag.counts.items())
        return (*_loss(judge, places, bag), _total(costs, set(bag.counts)) or 0.0, said)

    return min(bags, key=rank)


def _loss(judge: Judge, places: Places, bag: _Bag) -> tuple[float, float]:
    """Errors, then how improbable the truth was: few errors tell few combinations apart."""
    found = judge.judged(bag.weights(len(judge.outputs.names)))[places]
    return float(found[:, 0].sum()), round(float(found[:, 1].sum()), 6)


def _held_out(
    judge: Judge, steps: int, costs: Sequence[float | None], spec: PruneSpec
) -> list[Counts]:
    """For each number of members, the errors on each utterance of members chosen without it."""
    names = sorted(set(judge.speakers) - {None}, key=str)
    if None in judge.speakers or len(names) < 2:
        return []
    order = generator(_SEED, "groups", *map(str, names)).permutation(len(names))
    group = {names[place]: turn % spec.groups for turn, place in enumerate(order)}
    of_each = np.array([group[speaker] for speaker in judge.speakers])
    found = [np.zeros(len(of_each)) for _ in range(steps)]
    for out in sorted(set(group.values())):
        others, own = np.flatnonzero(of_each != out), np.flatnonzero(of_each == out)
        path = _path(judge, others, costs, spec)
        for number in range(steps):
            # Under a budget another order may end earlier: then it stays as it was.
            bag = path[min(number, len(path) - 1)]
            found[number][own] = judge.errors(bag.weights(len(costs)))[own]
    return found


def _kept(steps: Sequence[Step], spec: PruneSpec) -> int:
    """The fewest members whose error is the lowest, or nearly."""
    rates = [s.error_rate if s.held_out is None else s.held_out for s in steps]
    most = min(rates) * (1 + spec.slack)
    return next(number for number, rate in enumerate(rates, start=1) if rate <= most + 1e-12)


def _cost(cost: Cost, unit: Unit) -> float | None:
    found = cost.rtf if unit == "rtf" else cost.multiply_adds
    return None if found is None else float(found)


def _total(costs: Sequence[float | None], members: set[int]) -> float | None:
    """What members cost together; None where one is unknown."""
    known = [costs[member] for member in sorted(members)]
    return None if None in known else fsum(cost for cost in known if cost is not None)


def _fits(costs: Sequence[float | None], members: set[int], spec: PruneSpec) -> bool:
    total = _total(costs, members)
    return spec.budget is None or (total is not None and total <= spec.budget * (1 + 1e-9))


def _check(costs: Sequence[float | None], spec: PruneSpec) -> None:
    if not (spec.groups >= 2 and spec.again >= 0 and spec.slack >= 0):
        raise RequestError(
            f"a selection over {spec.groups} groups, {spec.again} times again, {spec.slack} slack",
            expected="at least two groups, and nothing below 0",
            fix="Correct it",
        )
    if spec.budget is None:
        return
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs) or min(known) > spec.budget:
        cheapest = f"{min(known):.4g}" if known else "unknown"
        raise RequestError(
            f"a budget of {spec.budget:g} {spec.unit} for {len(costs)} members, of which "
            f"{len(costs) - len(known)} have no known cost and the cheapest has {cheapest}",
            expected="known costs, and room for at least one member",
            fix="Raise the budget, or count it in the other unit",
            param="budget",
        )
