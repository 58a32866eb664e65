"""How the learning rate goes over the steps of a run: one cycle, or several, each with its end."""

import math
from bisect import bisect_right
from collections.abc import Callable


def cycle(done: float, warmup: float) -> float:
    """Learning rate factor of a cycle: up in a line, down in half a cosine."""
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


class Schedule:
    """Where cycles begin and end.

    A cycle that ends and starts anew leaves one good set of weights for another (Huang et al.
    2017, "Snapshot ensembles: train 1, get M for free").

    Args:
        steps: how many steps so many epochs have.
        warmup: share of each cycle in which the learning rate rises.
    """

    def __init__(
        self, steps: Callable[[int], int], epochs: int, *, cycles: int, warmup: float
    ) -> None:
        self.ends = [epochs * (number + 1) // cycles for number in range(cycles)]  # in epochs
        self._bounds = [0, *map(steps, self.ends)]
        self._warmup = warmup

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self._bounds[-1]

    def number(self, epoch: int) -> int:
        """Which cycle an epoch belongs to, from 0."""
        return bisect_right(self.ends, epoch)

    def first(self, epoch: int) -> int:
        """The first epoch of the cycle that an epoch belongs to."""
        return [0, *self.ends][self.number(epoch)]

    def factor(self, step: int) -> float:
        """Learning rate factor of a step."""
        begun, end = self._around(step)
        return cycle((step - begun) / (end - begun), self._warmup)

    def since(self, step: int) -> int:
        """Steps since the cycle of a step began."""
        return step - self._around(step)[0]

    def _around(self, step: int) -> tuple[int, int]:
        number = min(bisect_right(self._bounds, step), len(self.ends))
        return self._bounds[number - 1], self._bounds[number]
