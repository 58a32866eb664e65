"""Which parts and cascades of a massive model are worth offering, chosen without running a model.

Stages are nested: members join greedily, as in `aimass.ensemble.prune`, and each stage is the next
a part larger. Where an utterance stops is a threshold on the calibrated confidence of its stage,
as Wang et al. (2022), "Wisdom of committees", choose it: the least mean cost at which the error on
dev stays within a slack of that of the whole. Thousands of cascades are tried on few errors, so
the cheapest that seems to fit is flattered by the data. The most careful one must therefore also
keep the slack in the eyes of the whole, utterance by utterance (`Table.harm`), and how much of it
may be used up on dev is read off speakers who were left out of all of this. Where a slack is not
asked for but a cost, the cascade of least harm that keeps within it is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from aimass.base.randomness import generator
from aimass.ensemble.points import Chosen, Members, Places, Plan, Table, mean_cost, walk
from aimass.ensemble.weigh import Counts
from aimass.registry.points import LEVELS, Stage

_SEED = 2022
LONGEST = 50  # characters of a name, which leaves room for its chunks
_EDGES = 48  # thresholds that are tried for a stage
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class SweepSpec:
    """What to look for.

    Args:
        slack: how much higher than that of the whole the error may be, absolute.
        looser: further such allowances, each for a cheaper point.
        budgets: shares of the cost of the whole, each for the point of least harm within it.
        shares: of the slack, from the whole of it down, that may be used up on dev.
        groups: into so many groups the speakers are dealt; each is left out once.
        stages: most stages of a cascade.
    """

    slack: float = 0.001
    looser: tuple[float, ...] = (0.0025, 0.005, 0.01, 0.02, 0.05)
    budgets: tuple[float, ...] = (0.25,)
    shares: tuple[float, ...] = (1.0, 0.5, 0.25, 0.1, 0.0)
    groups: int = 5
    stages: int = 3


@dataclass(frozen=True, slots=True)
class _Rule:
    """What may be chosen.

    Args:
        slack: the error that is allowed beyond that of the whole.
        stages: whether there may be several.
        whole: whether the last one must ask everybody. A part that seems as good as the whole on
            few speakers is not on others; who is unsure is more alike among them.
        budget: share of the cost of the whole, within which harm is to be least; then the slack
            does not count.
    """

    slack: float
    stages: bool = True
    whole: bool = False
    budget: float | None = None


def sweep(table: Table, spec: SweepSpec | None = None) -> list[Plan]:
    """The plans worth measuring: the model as it is, then from the most careful to the cheapest.

    Args:
        table: of the dev set.
    """
    spec = spec or SweepSpec()
    everything = np.arange(len(table.seconds))
    rules = [_Rule(spec.slack * share, whole=True) for share in spec.shares]
    rules += [_Rule(slack, stages) for slack in spec.looser for stages in (True, False)]
    rules += [_Rule(0.0, whole=True, budget=share) for share in spec.budgets]
    chosen = _search(table, spec, everything, rules)
    held = _held_out(table, spec, rules) or [walk(table, one)[0] for one in chosen]
    whole = table.facts(table.whole).errors
    careful = _careful(held[: len(spec.shares)], whole, spec, table)
    cheapest = min(range(len(table.costs)), key=lambda m: (table.costs[m], m))
    alone = Chosen((frozenset({cheapest}),))
    found = [_plan(table, Chosen((table.whole,)), whole)]
    for number in (careful, *range(len(spec.shares), len(rules))):
        rule = rules[number]
        plan = _plan(table, chosen[number], held[number])
        slack = spec.slack if number == careful else rule.slack
        found.append(replace(plan, slack=None if rule.budget else slack, budget=rule.budget))
    found += [_plan(table, alone, walk(table, alone)[0])]
    return _distinct(found)


def _search(table: Table, spec: SweepSpec, places: Places, rules: Sequence[_Rule]) -> list[Chosen]:
    """For each rule the cheapest that keeps it at these places; the whole where nothing does."""
    whole = Chosen((table.whole,))
    tokens = table.judge.lengths[places].sum()
    most = table.facts(table.whole).errors[places].sum() + _TINY
    full = mean_cost(table, whole, places)
    best = [whole] * len(rules)
    least = [np.inf if rule.budget else full for rule in rules]
    for sets in _stages(table, places, spec.stages):
        errors, harm, costs, edges = _surface(table, sets, places)
        for number, rule in enumerate(rules):
            if (len(sets) > 1 and not rule.stages) or (sets[-1] != table.whole and rule.whole):
                continue
            if rule.budget:  # of equal harm the cheapest, which leaves room to be more careful
                within = costs <= rule.budget * full
                fits = np.where(within, harm + _TINY * costs / full, np.inf)
            else:
                fine = errors <= most + rule.slack * tokens
                if rule.whole:
                    fine &= harm <= rule.slack * tokens + _TINY
                fits = np.where(fine, costs, np.inf)
            place = tuple(map(int, np.unravel_index(int(fits.argmin()), fits.shape)))
            if fits[place] < least[number] * (1 - _TINY):
                least[number] = float(fits[place])
                at = _raised(place, within) if rule.budget else place
                thresholds = (float(own[n]) for own, n in zip(edges, at, strict=True))
                best[number] = Chosen(sets, tuple(thresholds))
    return best


def _raised(at: tuple[int, ...], within: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """The thresholds of all stages raised together, as far as the budget goes.

    Where dev shows no harm any more, strangers may still be less alike.
    """
    while True:
        higher = tuple(min(n + 1, size - 1) for n, size in zip(at, within.shape, strict=True))
        if higher == at or not within[higher]:
            return at
        at = higher


def _surface(
    table: Table, sets: tuple[Members, ...], places: Places
) -> tuple[Counts, Counts, Counts, list[Counts]]:
    """Errors, expected harm and mean cost at every choice of thresholds.

    There is one axis for each stage but the last. Each utterance lies in a cell by how sure each
    stage is of it; sums over cells give all choices at once.
    """
    seconds = table.seconds[places]
    sures = [table.facts(own).sure[places] for own in sets[:-1]]
    edges = [_edges(sure) for sure in sures]
    shape = tuple(len(own) for own in edges)
    # The highest threshold that a confidence reaches.
    cells: list[Places] = [
        np.searchsorted(own, sure, "right") - 1 for own, sure in zip(edges, sures, strict=True)
    ]
    errors, harm, costs = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    known: Members = frozenset()
    spent = np.zeros(len(places))
    for number, own in enumerate(sets):
        last = number == len(sets) - 1
        spent = spent + table.spent(known, own, last)[places] * seconds
        known |= own
        errors += _ended(table.facts(own).errors[places], cells, shape, number)
        harm += _ended(table.harm(own)[places], cells, shape, number)
        costs += _ended(spent, cells, shape, number)
    return errors, harm, costs / max(float(seconds.sum()), _TINY), edges


def _ended(values: Counts, cells: Sequence[Places], shape: tuple[int, ...], number: int) -> Counts:
    """The sum over the utterances that end at a stage, for every choice of thresholds."""
    used, sizes = tuple(cells[: number + 1]), shape[: number + 1]
    if not sizes:
        return np.array(values.sum())
    flat = np.ravel_multi_index(used, sizes)
    found: Counts = np.bincount(flat, values, int(np.prod(sizes))).astype(float).reshape(sizes)
    for axis in range(len(sizes)):
        upto = found.cumsum(axis)
        under = upto - found  # less sure than the threshold: these go on
        found = upto.take([-1], axis) - under if axis == number else under
    return np.broadcast_to(found.reshape(sizes + (1,) * (len(shape) - len(sizes))), shape)


def _edges(sure: Counts) -> Counts:
    """Thresholds between confidences; first 0, where all end, and last 1, where all go on."""
    levels = np.unique(np.quantile(sure, np.linspace(0, 1, _EDGES)))
    between = (levels[1:] + levels[:-1]) / 2
    return np.unique(np.concatenate([[0.0], between[between < 1], [1.0 + _TINY]]))


def _stages(table: Table, places: Places, most: int) -> Iterator[tuple[Members, ...]]:
    """Sets of members to try as the stages of a cascade."""
    ladders = [_ladder(table, places, start) for start in _starts(table, places)]
    students = sorted(table.students, key=lambda m: (table.costs[m], m))
    ladders.append([*(frozenset({student}) for student in students), *ladders[0]])
    seen = set[tuple[Members, ...]]()
    for ladder in ladders:
        for count in range(1, most + 1):
            for sets in combinations(ladder, count):
                if sets not in seen:
                    seen.add(sets)
                    yield sets


def _starts(table: Table, places: Places) -> list[int]:
    """Members that may come first, the best one before all; of words, where asking costs, few."""
    members = sorted(table.whole, key=lambda m: (_loss(table, places, frozenset({m})), m))
    if table.judge.quick:
        return members
    return list(dict.fromkeys([members[0], min(members, key=lambda m: (table.costs[m], m))]))


def _ladder(table: Table, places: Places, start: int) -> list[Members]:
    """The members that join one after the other, each the one that helps most."""
    inside = frozenset({start})
    found = [inside]
    while table.whole - inside:
        joined = [inside | {member} for member in sorted(table.whole - inside)]
        inside = min(joined, key=lambda some: _loss(table, places, some))
        found.append(inside)
    return found


def _loss(table: Table, places: Places, members: Members) -> tuple[float, float, float]:
    """Errors, how improbable the truth was, and cost."""
    weights = table.judge.combination.weights
    own = [weight if m in members else 0.0 for m, weight in enumerate(weights)]
    found = table.judge.judged(own)[places]
    improbable = round(float(found[:, 1].sum()), 6)
    return float(found[:, 0].sum()), improbable, sum(table.costs[m] for m in members)


def _held_out(table: Table, spec: SweepSpec, rules: Sequence[_Rule]) -> list[Counts]:
    """For each rule the errors of each utterance, of what was chosen without its speaker.

    Nothing where speakers are unknown, or there is but one.
    """
    speakers = table.judge.speakers
    names = sorted(set(speakers) - {None}, key=str)
    if None in speakers or len(names) < 2:
        return []
    order = generator(_SEED, "groups", *map(str, names)).permutation(len(names))
    group = {names[place]: turn % spec.groups for turn, place in enumerate(order)}
    of_each = np.array([group[speaker] for speaker in speakers])
    found = [np.zeros(len(speakers)) for _ in rules]
    for out in sorted(set(group.values())):
        own, others = np.flatnonzero(of_each == out), np.flatnonzero(of_each != out)
        for number, chosen in enumerate(_search(table, spec, others, rules)):
            found[number][own] = walk(table, chosen)[0][own]
    return found


def _careful(held: Sequence[Counts], whole: Counts, spec: SweepSpec, table: Table) -> int:
    """The loosest rule that keeps the slack on speakers left out; the strictest if none does."""
    most = whole.sum() + spec.slack * table.judge.lengths.sum() + _TINY
    fine = [number for number, errors in enumerate(held) if errors.sum() <= most]
    return fine[0] if fine else len(held) - 1


def _plan(table: Table, chosen: Chosen, errors: Counts) -> Plan:
    names = table.judge.outputs.names
    cost = mean_cost(table, chosen, np.arange(len(table.seconds)))
    if chosen.sets == (table.whole,):
        return Plan("all", (), errors, cost)
    stages = tuple(
        Stage(
            members=tuple(names[member] for member in sorted(own)),
            threshold=min(1.0, threshold),
            temperature=table.facts(own).temperature,
        )
        for own, threshold in zip(chosen.sets, (*chosen.thresholds, 0.0), strict=True)
    )
    name = "-to-".join(_called(table, own) for own in chosen.sets)
    return Plan(name, stages, errors, cost)


def _called(table: Table, members: Members) -> str:
    """Members by their number; one by its name."""
    return table.judge.outputs.names[min(members)][:20] if len(members) == 1 else str(len(members))


def _distinct(plans: Sequence[Plan]) -> list[Plan]:
    """Each plan once, under a name of its own."""
    found: dict[tuple[Stage, ...], Plan] = {}
    names = set[str](LEVELS)
    for plan in plans:
        if plan.stages not in found:
            name, count = plan.name[:LONGEST], 1
            while name in names:
                count += 1
                name = f"{plan.name[: LONGEST - 4]}.{count}"
            names.add(name)
            found[plan.stages] = replace(plan, name=name)
        elif plan.budget and plan.stages:  # two rules chose alike
            found[plan.stages] = replace(found[plan.stages], budget=plan.budget)
    return list(found.values())
