"""What every augmentation step is: a named spec that draws, and an application of what it drew.

A spec is data: it says in which ranges and how often. `Step.draw` turns it into an `Entry` for
one utterance, which holds every number that `Step.apply` needs, so that an utterance's
augmentation can be stored, read and done again. After "augmentation/transform.py" of Lhotse.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from aimass.augment.sounds import Sounds
from aimass.base.contract import Samples
from aimass.base.errors import ScenarioError

Entry = dict[str, Any]
"""One step as it was drawn: ``{"step": kind, ...}`` with JSON's own types alone."""

Range = tuple[float, float]
"""Least and most of what is drawn, both allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that may happen to an utterance.

    A subclass names itself in ``kind``, and in ``bounds`` what its numbers may be.

    Args:
        share: of the utterances to which it happens, 0 to 1.

    Raises:
        ScenarioError: a number outside its bounds, or a range the wrong way round.
    """

    kind: ClassVar[str]
    bounds: ClassVar[dict[str, Range]]
    share: float = 1.0

    def __post_init__(self) -> None:
        limits = {"share": (0.0, 1.0)} | self.bounds
        for one in fields(self):
            if one.name in limits:
                _check(self.kind, one.name, one.default, getattr(self, one.name), limits[one.name])

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """What happens to an utterance of `seconds`; None where `sounds` lack what it needs."""
        raise NotImplementedError

    @classmethod
    def apply(
        cls, batch: Sequence[Samples], entries: Sequence[Entry], rate: int, sounds: Sounds
    ) -> list[Samples]:
        """Do to each utterance what its entry says; new arrays, the given ones stay as they are."""
        return [cls.one(x, entry, rate, sounds) for x, entry in zip(batch, entries, strict=True)]

    @classmethod
    def one(cls, samples: Samples, entry: Entry, rate: int, sounds: Sounds) -> Samples:
        """`apply` for one utterance, of steps that gain nothing from a batch."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the kind under ``step``."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}
        return {"step": self.kind} | plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; what is left out keeps its default.

        Raises:
            ScenarioError: an unknown field, or a value of the wrong kind.
        """
        known = {one.name for one in fields(cls)}
        for name in values.keys() - known - {"step"}:
            raise ScenarioError(
                f"the augmentation step '{cls.kind}' has a field '{name}'",
                expected=f"fields among {', '.join(sorted(known))}",
                fix="Correct the name, or remove the line",
                param=name,
            )
        own: dict[str, Any] = {k: v for k, v in values.items() if k != "step"}
        own |= {k: tuple(v) for k, v in own.items() if isinstance(v, list)}
        return cls(**own)


def uniform(rng: np.random.Generator, ends: Range, digits: int = 4) -> float:
    """A number between two ends, short enough to be read in a record."""
    return round(float(rng.uniform(*ends)), digits)


def seed(rng: np.random.Generator) -> int:
    """A seed that survives JSON readers which know nothing but doubles."""
    return int(rng.integers(1 << 53))


def _check(kind: str, name: str, default: Any, value: Any, bounds: Range) -> None:
    ends = isinstance(default, tuple)
    numbers = list(value) if isinstance(value, tuple) else [value]
    good = (
        isinstance(value, tuple) == ends
        and len(numbers) == (2 if ends else 1)
        and all(isinstance(n, int | float) for n in numbers)
        and all(bounds[0] <= n <= bounds[1] for n in numbers)  # a NaN compares false
        and numbers == sorted(numbers)
    )
    if not good:
        form = "two numbers, the lower first," if ends else "a number"
        expected = f"{form} from {bounds[0]:g} to {bounds[1]:g}, such as {default}"
        raise bad_value(kind, name, value, expected)


def bad_value(kind: str, name: str, value: Any, expected: str) -> ScenarioError:
    """The error for a field of a step."""
    return ScenarioError(
        f"the augmentation step '{kind}' has {name}: {value!r}",
        expected=expected,
        fix=f"Correct {name}, or leave it out",
        param=name,
    )
