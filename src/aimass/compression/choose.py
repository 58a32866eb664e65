"""Which precision to pack: measured on the machine at hand, never assumed.

Int8 loses a little and is not faster everywhere. It is taken for speed where it is faster at
every batch that was measured, and for size where the scenario asks for a small file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from aimass.base.errors import TrainingError

FLOAT = "float"
BATCHES = (1, 16)
LOSS = 0.002  # the most that int8 may cost in error rate, absolute
FASTER = 0.95  # of the time of float, or less: under that a measurement may be mistaken


@dataclass(frozen=True, slots=True)
class Candidate:
    """One graph as it was measured.

    Args:
        name: ``float`` or a kind of int8.
        error: rate on dev.
        seconds: for one run, by the number of streams in it.
    """

    name: str
    error: float
    bytes: int
    seconds: Mapping[int, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"seconds": {str(k): v for k, v in self.seconds.items()}}


@dataclass(frozen=True, slots=True)
class Choice:
    """The name of a candidate and why it was taken."""

    name: str
    reason: str


def choose(
    candidates: Sequence[Candidate], largest: int | None = None, loss: float = LOSS
) -> Choice:
    """The fastest candidate that is as good as float and small enough.

    Args:
        candidates: one of them is ``float``.
        largest: bytes of the file at most; None where the scenario names no size.
        loss: in error rate that is borne.

    Raises:
        TrainingError: none is small enough, or none of these is good enough.
    """
    given = next(one for one in candidates if one.name == FLOAT)
    good = [one for one in candidates if one.error <= given.error + loss]
    if largest is not None:
        small = [one for one in good if one.bytes <= largest]
        if not small:
            raise _too_large(candidates, good, largest)
        best = min(small, key=lambda one: (_ratio(one, given), one.bytes))
        return Choice(best.name, f"{_told(best, given)}; the file may have {largest} bytes")
    fast = [one for one in good if _faster(one, given)]
    if not fast:
        return Choice(FLOAT, "no int8 graph is both as good and faster at every batch")
    best = min(fast, key=lambda one: (_ratio(one, given), one.bytes))
    return Choice(best.name, _told(best, given))


def _faster(one: Candidate, given: Candidate) -> bool:
    return all(one.seconds[batch] <= FASTER * taken for batch, taken in given.seconds.items())


def _ratio(one: Candidate, given: Candidate) -> float:
    """Its time over that of float, the geometric mean of all batches."""
    ratios = [one.seconds[batch] / taken for batch, taken in given.seconds.items()]
    return prod(ratios) ** (1 / len(ratios))


def _told(one: Candidate, given: Candidate) -> str:
    speeds = ", ".join(
        f"{taken / one.seconds[batch]:.2f} x at batch {batch}"
        for batch, taken in given.seconds.items()
    )
    return (
        f"dev error {one.error - given.error:+.2%} beside float, "
        f"{one.bytes / given.bytes:.0%} of its size, speed {speeds}"
    )


def _too_large(
    candidates: Sequence[Candidate], good: Sequence[Candidate], largest: int
) -> TrainingError:
    smallest = min(candidates, key=lambda one: one.bytes)
    least = min(good, key=lambda one: one.bytes)
    found = f"{least.bytes} bytes in the smallest graph that is as good as float"
    if smallest is not least:
        found += f"; '{smallest.name}' has {smallest.bytes} but loses too much"
    return TrainingError(
        found,
        expected=f"at most {largest} bytes",
        fix="Raise the size, give the model fewer parameters, or prune it",
    )
