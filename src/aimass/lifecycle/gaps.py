"""Where the curve of error over cost has gaps, and which sizes would stand in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log

import numpy as np

Size = tuple[str, int]
"""A family, and the parameters that are asked of it."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A model of some size, measured.

    Args:
        cost: multiply-adds for a second of sound.
        error: the rate on dev.
    """

    name: str
    size: Size
    cost: int
    error: float


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of cost in which nothing was tried, between two that were.

    Args:
        worth: the share of the curve's box, log cost by error, that lies there: its part of the
            range of costs by the part of the errors between the neighbours on the curve.
    """

    left: Tried
    right: Tried
    worth: float


def front(tried: Sequence[Tried]) -> list[Tried]:
    """Those that nothing cheaper, or as cheap, matches in error, from the cheapest on."""
    kept: list[Tried] = []
    for one in sorted(tried, key=lambda one: (one.cost, one.error)):
        if not kept or one.error < kept[-1].error:
            kept.append(one)
    return kept


def gaps(tried: Sequence[Tried]) -> list[Gap]:
    """The gaps between neighbours of the curve, the widest first.

    What was tried between two neighbours, and errs more, divides the gap.
    """
    kept = front(tried)
    found = []
    for left, right in pairwise(kept):
        drop = (left.error - right.error) / (kept[0].error - kept[-1].error)
        inside = sorted((t for t in tried if left.cost < t.cost < right.cost), key=lambda t: t.cost)
        for one, other in pairwise([left, *inside, right]):
            width = log(other.cost / one.cost) / log(kept[-1].cost / kept[0].cost)
            found.append(Gap(one, other, width * drop))
    return sorted(found, key=lambda gap: -gap.worth)


def middle(gap: Gap, tried: Sequence[Tried]) -> Iterator[Size]:
    """Sizes that should cost what lies in the middle of a gap, of the families beside it.

    Parameters follow from cost as they do between the models of the family that were tried.
    """
    wanted = (log(gap.left.cost) + log(gap.right.cost)) / 2
    for family in dict.fromkeys((gap.right.size[0], gap.left.size[0])):
        own = sorted((log(t.cost), log(t.size[1])) for t in tried if t.size[0] == family)
        costs, sizes = zip(*own, strict=True)
        yield family, round(exp(np.interp(wanted, costs, sizes)))
