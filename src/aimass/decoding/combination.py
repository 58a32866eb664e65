"""How the outputs of members become one, as plain data that a bundle holds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from aimass.base.errors import BundleError

Method = Literal["arithmetic", "geometric", "vote", "mbr", "choose"]
METHODS: tuple[Method, ...] = get_args(Method)
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Combination:
    """How the outputs of members become one; plain data, stored in a bundle.

    Args:
        method: ``arithmetic`` and ``geometric`` are means of posteriors; ``vote`` (ROVER), ``mbr``
            and ``choose`` work on answers.
        weights: of the members, convex: 0 or more, in sum 1. A member of weight 0 is not heard.
        temperatures: of each member's posteriors, or of its confidences where the method works
            on answers; above 1 less sure, 1 as they are.
        temperature: of the combined posteriors or confidences.

    Raises:
        BundleError: values that are no combination.
    """

    method: Method
    weights: tuple[float, ...]
    temperatures: tuple[float, ...]
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise wrong(f"the method {str(self.method)[:40]!r}", f"one of {', '.join(METHODS)}")
        _numbers("weights", self.weights, 0.0, 1.0 + SUM_TOLERANCE)
        _numbers("temperatures", self.temperatures, MIN_TEMPERATURE, MAX_TEMPERATURE)
        _numbers("temperature", (self.temperature,), MIN_TEMPERATURE, MAX_TEMPERATURE)
        if len(self.weights) != len(self.temperatures):
            raise wrong(
                f"{len(self.weights)} weights and {len(self.temperatures)} temperatures",
                "one of each for every member",
            )
        if not abs(math.fsum(self.weights) - 1) <= SUM_TOLERANCE:
            raise wrong(f"weights that add up to {math.fsum(self.weights):.6g}", "a sum of 1")

    @classmethod
    def equal(cls, method: Method, members: int) -> "Combination":
        """All members alike, and as they are."""
        return cls(method, (1 / max(members, 1),) * members, (1.0,) * members)

    def only(self, indices: Sequence[int]) -> "Combination":
        """Some of the members, in the given order, their weights again 1 in sum.

        Members whose weights are all 0 share alike: better their answer than none.

        Raises:
            BundleError: no member, one twice, or one that is not there.
        """
        kept = list(indices)
        if not kept or len(set(kept)) < len(kept) or not set(kept) <= set(range(len(self.weights))):
            raise wrong(
                f"the members {kept[:9]} of {len(self.weights)}",
                f"different numbers from 0 to {len(self.weights) - 1}",
            )
        weights = [self.weights[member] for member in kept]
        total = math.fsum(weights)
        return Combination(
            self.method,
            tuple(weight / total if total else 1 / len(kept) for weight in weights),
            tuple(self.temperatures[member] for member in kept),
            self.temperature,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a bundle."""
        return {
            "method": self.method,
            "weights": list(self.weights),
            "temperatures": list(self.temperatures),
            "temperature": self.temperature,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Combination":
        """The inverse of `to_dict`.

        Raises:
            BundleError: a key missing or unknown, or values that are no combination.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or set(values) != set(names):
            found = sorted(map(str, values)) if isinstance(values, Mapping) else type(values)
            raise wrong(f"a combination of {str(found)[:100]}", f"the keys {', '.join(names)}")
        rows = {name: values[name] for name in ("weights", "temperatures")}
        for name, row in rows.items():
            if not isinstance(row, list | tuple):
                raise wrong(f"{name} {str(row)[:40]!r}", "a list of numbers")
        return cls(**(dict(values) | {name: tuple(row) for name, row in rows.items()}))


def _numbers(name: str, found: Sequence[Any], low: float, high: float) -> None:
    for number in found:
        plain = isinstance(number, int | float) and not isinstance(number, bool)
        if not (plain and low <= number <= high):  # a NaN is on neither side
            raise wrong(f"{name} with {str(number)[:40]!r}", f"numbers from {low:g} to {high:g}")


def wrong(found: str, expected: str) -> BundleError:
    """The error for values or outputs that do not go together."""
    return BundleError(
        f"members are combined by {found}" if found.startswith("the method") else f"found {found}",
        expected=expected,
        fix="Fit and pack the massive model again",
    )
