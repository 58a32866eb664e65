"""Every way in which members may become one, each judged on speakers that it was not fitted on."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Task
from aimass.base.errors import AimassError, DataError
from aimass.decoding.combination import Combination, Method
from aimass.ensemble.fit import fit, folds, reheated
from aimass.ensemble.outputs import Outputs, Symbols, answered
from aimass.ensemble.prune import PruneSpec, Selection, Unit, prune
from aimass.ensemble.weigh import Counts, Judge
from aimass.evaluation.units import Metric
from aimass.text.tokens import LabelSet, TokenSet

_LOGGER = logging.getLogger("aimass.ensemble")

ON_ROWS: tuple[Method, ...] = ("geometric", "arithmetic")
SUITABLE: dict[Task, tuple[Method, ...]] = {
    Task.TRANSCRIBE: (*ON_ROWS, "vote", "mbr", "choose"),
    Task.CLASSIFY: (*ON_ROWS, "vote", "choose"),
}
"""What is tried for a task; of ways that are equally good the first is taken."""
PARTS = 4  # into which the speakers of dev are dealt


@dataclass(frozen=True, slots=True)
class WaysSpec:
    """What may be chosen.

    Args:
        methods: to try; those of `SUITABLE` when there are none.
        budget, unit: as `PruneSpec` has them.
        prune: whether members may be left out; they are where a budget asks for it.
    """

    methods: tuple[Method, ...] = ()
    budget: float | None = None
    unit: Unit = "rtf"
    prune: bool = True


@dataclass(frozen=True, slots=True)
class Kind:
    """What members are and how their errors are counted.

    Args:
        symbols: of each member, in order; None for one without posteriors.
        language: of utterances that do not name theirs.
    """

    task: Task
    metric: Metric
    language: str | None
    symbols: tuple[Symbols | None, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to combine, of all members; those that it does without have the weight 0.

    Args:
        error_rate: on speakers that it was not fitted on; on the data itself where no other
            speakers are there.
    """

    name: str
    combination: Combination
    error_rate: float
    selection: Selection | None = None

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers of those that are heard."""
        return tuple(sorted(heard_by(self.combination)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "error_rate": self.error_rate,
            "combination": self.combination.to_dict(),
            "selection": None if self.selection is None else self.selection.to_dict(),
        }


def ways(outputs: Outputs, kind: Kind, spec: WaysSpec | None = None) -> list[Way]:
    """Every way that suits the members, the best one first.

    Posteriors are combined of the largest group of members that share their outputs and frame
    rate, answers of all members. Each method stands there with all its members and, where some of
    them are better left out or a budget asks for it, pruned.

    Raises:
        DataError: nothing that can be fitted on these outputs.
        RequestError: a budget that no member fits.
    """
    spec = spec or WaysSpec()
    alike, found, why = largest_group(outputs, kind), list[Way](), list[DataError]()
    for method in spec.methods or SUITABLE[kind.task]:
        members = alike if method in ON_ROWS else list(range(len(outputs.names)))
        if len(members) < min(2, len(outputs.names)):
            continue  # there is nothing to combine
        try:
            found += _tried(outputs, kind, spec, method, members)
        except DataError as error:
            _LOGGER.warning("the method %s is left out: %s", method, error)
            why.append(error)
    if not found:
        raise why[0] if why else _nothing(spec)
    return sorted(found, key=lambda way: way.error_rate)  # stable: of equals the first


def symbols_of(kind: Kind, members: Sequence[int]) -> Symbols:
    """What the rows of these members stand for; no symbols where none of them has rows."""
    known = [kind.symbols[m] for m in members if kind.symbols[m] is not None]
    empty: Symbols = LabelSet(()) if kind.task is Task.CLASSIFY else TokenSet(())
    return next((one for one in known if one is not None), empty)


def heard_by(combination: Combination) -> set[int]:
    """The numbers of the members that a combination hears."""
    return {member for member, weight in enumerate(combination.weights) if weight > 0}


def largest_group(outputs: Outputs, kind: Kind) -> list[int]:
    """The members whose posteriors may be combined, as many as there are."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    steps = outputs.frame_seconds or (None,) * len(outputs.names)
    for member, (own, step) in enumerate(zip(kind.symbols, steps, strict=True)):
        if own is not None and outputs.rows[member] is not None:
            pace = None if kind.task is Task.CLASSIFY else round(step or 0.0, 6)
            groups.setdefault((own.symbols, pace), []).append(member)
    return max(groups.values(), key=len, default=[])


def judge_of(outputs: Outputs, kind: Kind, combination: Combination) -> Judge:
    """The judge of a combination of all these members."""
    symbols = symbols_of(kind, sorted(heard_by(combination)))
    return Judge(outputs, combination, symbols, kind.metric, kind.language)


def _tried(
    outputs: Outputs, kind: Kind, spec: WaysSpec, method: Method, members: list[int]
) -> list[Way]:
    """A method with all its members, and pruned where that is asked for or better."""
    part = outputs.only(members)
    symbols = symbols_of(kind, members)
    fitted = fit(part, method, symbols)
    judge = Judge(part, fitted, symbols, kind.metric, kind.language)
    whole = Way(
        method,
        among_all(fitted, members, len(outputs.names)),
        judge.rate(_held_out(part, method, symbols, judge)),
    )
    if len(members) == 1 or not spec.prune:
        return [whole]
    selection = prune(judge, PruneSpec(budget=spec.budget, unit=spec.unit))
    last = selection.steps[selection.kept - 1]
    rate = last.error_rate if last.held_out is None else last.held_out
    better = last.held_out is not None and rate < whole.error_rate
    if spec.budget is None and not better:
        return [whole]
    # The temperature of all members is not that of those that stay.
    pruned = reheated(part, replace(fitted, weights=selection.weights), symbols)
    fewer = Way(
        f"{method}, pruned",
        among_all(pruned, members, len(outputs.names)),
        rate,
        _of_all(selection, outputs.names, members),
    )
    return [whole, fewer] if spec.budget is None else [fewer]


def _held_out(outputs: Outputs, method: Method, symbols: Symbols, judge: Judge) -> Counts:
    """Errors on each utterance of a combination that was fitted on other speakers."""
    part: npt.NDArray[np.int64] = folds(outputs) % PARTS
    numbers = sorted(set(part.tolist()))
    found = np.zeros(len(outputs.clips))
    for number in numbers:
        own = np.flatnonzero(part == number)
        others = np.flatnonzero(part != number) if len(numbers) > 1 else own
        fitted = fit(outputs.at(others.tolist()), method, symbols)
        found[own] = judge.counted(answered(outputs.at(own.tolist()), fitted, symbols))
    return found


def among_all(part: Combination, members: Sequence[int], count: int) -> Combination:
    """A combination of some members as one of all; the others have the weight 0."""
    weights, heats = [0.0] * count, [1.0] * count
    for place, member in enumerate(members):
        weights[member] = part.weights[place]
        heats[member] = part.temperatures[place]
    return replace(part, weights=tuple(weights), temperatures=tuple(heats))


def _of_all(selection: Selection, names: tuple[str, ...], members: Sequence[int]) -> Selection:
    """A selection among some members as one among all."""

    def spread(weights: Sequence[float]) -> tuple[float, ...]:
        of_each = dict(zip(members, weights, strict=True))
        return tuple(of_each.get(member, 0.0) for member in range(len(names)))

    steps = tuple(replace(step, weights=spread(step.weights)) for step in selection.steps)
    return replace(selection, names=names, steps=steps)


def _nothing(spec: WaysSpec) -> AimassError:
    return DataError(
        f"no member whose outputs can be combined by {', '.join(spec.methods)}",
        expected="members that share their outputs, or a method that combines answers",
        fix="Add the method vote",
    )
