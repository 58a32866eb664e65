"""What any part or cascade of a massive model answers, without running a model again."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from aimass.decoding.combine import FLOOR, combined, tempered
from aimass.ensemble.calibrate import all_calibrated, confidence_temperature
from aimass.ensemble.outputs import answered
from aimass.ensemble.weigh import Counts, Judge
from aimass.registry.points import Stage
from aimass.runtime.answers import UNSURE
from aimass.text.tokens import LabelSet

Members = frozenset[int]
Places = npt.NDArray[np.int64]
"""Numbers of utterances."""

_TINY = 1e-9
_MARGIN = 1e-6  # a lead below it may be lost in rounding


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What an operating point may run.

    Args:
        stages: none where the model runs as it is.
        errors: of each utterance of dev, of what was chosen by the same rule without its speaker;
            where the speakers are unknown or one, of the plan itself.
        cost: for a second of sound, on dev.
        slack: the error that was allowed beyond that of the whole; None where it did not count.
        budget: the share of the cost of the whole that was allowed; None where it did not count.
    """

    name: str
    stages: tuple[Stage, ...]
    errors: Counts
    cost: float
    slack: float | None = None
    budget: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a plan gives on a set.

    Args:
        errors: of each utterance.
        cost: for a second of sound, on average.
        shares: of the sound that each stage was given.
    """

    errors: Counts
    cost: float
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What a set of members gives, utterance by utterance."""

    said: tuple[str, ...]
    errors: Counts
    stated: Sequence[float]
    sure: Counts
    temperature: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """Stages and, of all but the last, thresholds."""

    sets: tuple[Members, ...]
    thresholds: tuple[float, ...] = ()


class Table:
    """What any set of members says of a corpus; each is asked once.

    Args:
        judge: of the corpus, with the combination of the massive model; members that it does not
            hear, such as a student beside it, may stand alone in a stage of their own.
        early: whether the last stage stops asking when nothing can change any more, as far as
            that shows in rows of labels.
    """

    def __init__(self, judge: Judge, early: bool = True) -> None:
        self.judge = judge
        weights = judge.combination.weights
        self.whole = frozenset(m for m, weight in enumerate(weights) if weight > 0)
        self.students = tuple(m for m, weight in enumerate(weights) if weight <= 0)
        rows = judge.combination.method in ("arithmetic", "geometric")
        self._rows_of_labels = rows and isinstance(judge.symbols, LabelSet)
        self._early = early and self._rows_of_labels
        self._facts: dict[Members, Facts] = {}
        self._spent: dict[tuple[Members, Members], Counts] = {}

    @cached_property
    def seconds(self) -> Counts:
        """The length of each utterance."""
        return np.array([answer.seconds or 1.0 for answer in self.judge.outputs.answers[0]])

    @cached_property
    def costs(self) -> tuple[float, ...]:
        """Of each member for a second of sound; in multiply-adds where all are known."""
        adds = [cost.multiply_adds for cost in self.judge.outputs.costs]
        if all(one is not None for one in adds):
            return tuple(float(one or 0) for one in adds)
        return tuple(cost.rtf or 0.0 for cost in self.judge.outputs.costs)

    @property
    def counted(self) -> bool:
        """Whether costs are multiply-adds."""
        return all(cost.multiply_adds is not None for cost in self.judge.outputs.costs)

    def facts(self, members: Members) -> Facts:
        """Errors and confidences of members that answer together."""
        if members not in self._facts:
            judge = self.judge
            answers = answered(judge.outputs, judge.combination, judge.symbols, sorted(members))
            errors = judge.counted(answers)
            stated = [
                a.confidence if a.hypothesis and a.confidence is not None else UNSURE
                for a in answers
            ]
            heat = confidence_temperature(stated, (errors == 0).tolist())
            sure = np.array(all_calibrated(stated, heat))
            said = tuple(answer.hypothesis for answer in answers)
            self._facts[members] = Facts(said, errors, stated, sure, heat)
        return self._facts[members]

    def harm(self, members: Members) -> Counts:
        """How many more errors are to be expected of members than of the whole, where they end.

        In the eyes of the whole, as far as it tells how probable each label is: where both say the
        same there is no harm, and where they differ it is how much less probable the other label
        is. That is smooth where errors are few. Of other answers it is what they cost on the
        corpus, without what they save there.
        """
        facts = self.facts(members)
        if self._whole_rows is None:
            more: Counts = np.maximum(facts.errors - self.facts(self.whole).errors, 0.0)
            return more
        labels = self.judge.symbols.symbols
        places = [labels.index(label) for label in facts.said]
        own: Counts = self._whole_rows[np.arange(len(places)), places]
        less: Counts = self._whole_rows.max(axis=1) - own
        return less

    @cached_property
    def _whole_rows(self) -> Counts | None:
        """The probability of each label for the whole, ``(utterances, labels)``."""
        if not self._rows_of_labels:
            return None
        outputs, members = self.judge.outputs, sorted(self.whole)
        rows = [np.concatenate(outputs.rows[member] or ()) for member in members]
        whole = combined(rows, self.judge.combination.only(members))
        found: Counts = np.exp(whole.astype(float))
        return found

    def spent(self, known: Members, members: Members, last: bool) -> Counts:
        """Cost, for a second of each utterance, of asking members of whom some are known."""
        if not (last and self._early):
            return np.full(len(self.seconds), sum(self.costs[m] for m in members - known))
        if (known, members) not in self._spent:
            self._spent[known, members] = self._until_decided(known, members)
        return self._spent[known, members]

    def _until_decided(self, known: Members, members: Members) -> Counts:
        """The same, one after the other, where nobody is asked who can change nothing.

        As `aimass.decoding.combine.decided`, for all utterances at once.
        """
        judge = self.judge
        own = judge.combination.only(sorted(members)).weights
        weights = dict(zip(sorted(members), own, strict=True))
        reach = 1.0 if judge.combination.method == "arithmetic" else -FLOOR
        mean, left = np.zeros(self._votes.shape[1:]), 1.0
        for member in known & members:
            mean, left = mean + weights[member] * self._votes[member], left - weights[member]
        asking = np.ones(len(self.seconds), bool)
        found = np.zeros(len(self.seconds))
        for member in sorted(members - known, key=lambda m: (-weights[m], m)):
            if left < 1:
                asking &= _lead(mean) <= left * reach + _MARGIN
            found[asking] += self.costs[member]
            mean, left = mean + weights[member] * self._votes[member], left - weights[member]
        return found

    @cached_property
    def _votes(self) -> Counts:
        """What a mean is taken of, ``(members, utterances, labels)``."""
        judge = self.judge
        rows = [
            tempered(np.concatenate(own or ()), heat).astype(float)
            for own, heat in zip(judge.outputs.rows, judge.combination.temperatures, strict=True)
        ]
        stack = np.array(rows)
        return np.exp(stack) if judge.combination.method == "arithmetic" else stack.clip(FLOOR)


def outcome(table: Table, stages: Sequence[Stage]) -> Outcome:
    """What a plan gives on a set, which need not be that on which it was chosen."""
    if stages:
        names = table.judge.outputs.names
        sets = tuple(frozenset(map(names.index, stage.members)) for stage in stages)
        chosen = Chosen(sets, tuple(stage.threshold for stage in stages[:-1]))
    else:
        chosen = Chosen((table.whole,))
    heats = [stage.temperature for stage in stages[:-1]]
    errors, cost, shares = walk(table, chosen, heats)
    seconds = table.seconds
    return Outcome(errors, float((cost * seconds).sum() / seconds.sum()), shares)


def walk(
    table: Table, chosen: Chosen, heats: Sequence[float] | None = None
) -> tuple[Counts, Counts, tuple[float, ...]]:
    """Errors and cost of each utterance, and the share of the sound that meets each stage.

    Args:
        heats: temperatures of the stages; those of the set itself when None.
    """
    going = np.ones(len(table.seconds), bool)
    errors, cost = np.zeros(len(going)), np.zeros(len(going))
    known: Members = frozenset()
    shares = []
    for number, own in enumerate(chosen.sets):
        facts, last = table.facts(own), number == len(chosen.sets) - 1
        shares.append(float(table.seconds[going].sum() / table.seconds.sum()))
        cost[going] += table.spent(known, own, last)[going]
        errors[going] = facts.errors[going]
        known |= own
        if not last and chosen.thresholds[number] < 1:
            sure = facts.sure
            if heats is not None:
                sure = np.array(all_calibrated(facts.stated, heats[number]))
            going &= sure < chosen.thresholds[number]
    return errors, cost, tuple(shares)


def mean_cost(table: Table, chosen: Chosen, places: Places) -> float:
    """Cost for a second of sound of some utterances."""
    seconds = table.seconds[places]
    cost = walk(table, chosen)[1][places]
    return float((cost * seconds).sum() / max(float(seconds.sum()), _TINY))


def _lead(scores: Counts) -> Counts:
    """How far the best label leads the next, of each utterance."""
    if scores.shape[1] < 2:
        return scores[:, 0]
    ranked = np.partition(scores, -2, axis=1)
    lead: Counts = ranked[:, -1] - ranked[:, -2]
    return lead
