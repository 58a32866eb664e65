"""Weights by the errors that answers make, where likelihoods of labels do not reach.

Words that members vote on, and frames of CTC models, are judged by what comes out: the word
errors of the dev set. The search is by coordinates: from equal weights and from the best member
alone it moves a share of all weight to one member, or away from one, as long as that saves errors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimass.ensemble.pools import clear
from aimass.ensemble.weigh import Judge

Point = tuple[float, ...]

SHARES = (0.5, 0.25)
"""What share of all weight one move shifts."""
MOST_ASKED = 80
"""Weightings that are decoded; each is the whole dev set once."""

_DIGITS = 12


@dataclass(frozen=True, slots=True)
class _Table:
    """What was asked so far: weightings with their errors in each part of the dev set.

    Args:
        points: equal weights first.
        errors: ``(points, parts)``.
    """

    points: list[Point]
    errors: list[npt.NDArray[np.float64]]


def fewest_errors(judge: Judge, folds: npt.NDArray[np.int64]) -> Point:
    """The weights of fewest errors; equal ones where others do not clearly make fewer.

    What is clear say the parts of the dev set (`aimass.ensemble.pools.clear`): for each the best
    weights are taken of those that were tried, by the errors of all other parts.

    Args:
        folds: the part of each utterance.
    """
    members = len(judge.outputs.names)
    table = _Table([], [])
    equal = _point(np.ones(members))
    ends = [equal, _descended(equal, judge, folds, table)]
    alone = int(np.lexsort((np.arange(members), judge.alone.sum(axis=1)))[0])
    ends.append(_descended(_point(np.eye(members)[alone]), judge, folds, table))
    lengths = np.array([judge.lengths[folds == part].sum() for part in np.unique(folds)])
    best = min(ends, key=lambda point: table.errors[table.points.index(point)].sum())
    return best if _clear(np.array(table.errors), lengths) else equal


def _descended(start: Point, judge: Judge, folds: npt.NDArray[np.int64], table: _Table) -> Point:
    """Where moves that save errors end."""
    here, errors = start, _asked(start, judge, folds, table)
    moved = True
    while moved:
        moved = False
        for point in _moves(here):
            if len(table.points) >= MOST_ASKED:
                return here
            found = _asked(point, judge, folds, table)
            if found < errors:
                here, errors, moved = point, found, True
                break
    return here


def _moves(point: Point) -> Iterator[Point]:
    """Weightings one move away, large moves first."""
    weights = np.array(point)
    for share in SHARES:
        for member in range(len(point)):
            yield _point(weights * (1 - share) + share * np.eye(len(point))[member])
            away = weights.copy()
            away[member] = max(0.0, away[member] - share)
            if away.any():
                yield _point(away)


def _asked(point: Point, judge: Judge, folds: npt.NDArray[np.int64], table: _Table) -> float:
    """Errors of a weighting, which join the table."""
    if point not in table.points:
        errors = judge.errors(point)
        table.points.append(point)
        parts = [errors[folds == part].sum() for part in np.unique(folds)]
        table.errors.append(np.array(parts, float))
    return float(table.errors[table.points.index(point)].sum())


def _clear(errors: npt.NDArray[np.float64], lengths: npt.NDArray[np.float64]) -> bool:
    """Whether parts that were left out of the choice speak for leaving equal weights.

    Args:
        errors: ``(points, parts)``, those of equal weights first.
        lengths: units that could go wrong, ``(parts,)``.
    """
    picks = (errors.sum(axis=1, keepdims=True) - errors).argmin(axis=0)
    saved = (errors[0] - errors[picks, np.arange(errors.shape[1])]) / np.maximum(lengths, 1)
    return clear(saved)


def _point(weights: Sequence[float] | npt.NDArray[np.float64]) -> Point:
    """Convex weights, rounded so that two ways to one place meet."""
    whole = np.asarray(weights, float)
    return tuple(np.round(whole / whole.sum(), _DIGITS).tolist())
