"""What a scenario lets `aimass tune` try: ranges and choices by dotted path.

::

    tune:
      training.learning_rate: {low: 0.001, high: 0.01, log: true}
      members.0.parameters: {choices: [100000, 280000]}
      augment.policy: {choices: [light, standard, strong]}
"""

import copy
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from aimass.base.errors import ScenarioError

SECTIONS = ("features", "augment", "training")
_PATH = re.compile(r"(features|augment|training|members\.\d{1,2})(\.[a-z_]+)+")


def _known(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError("a path such as training.learning_rate or members.0.parameters")
    return path


Path = Annotated[str, AfterValidator(_known)]
"""Where a value stands in a scenario: names joined by dots, members by number from 0."""


class Range(BaseModel):
    """The values that one key may take: from ``low`` to ``high``, or one of ``choices``.

    A range between whole numbers gives whole numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float | None = Field(None, allow_inf_nan=False)
    high: int | float | None = Field(None, allow_inf_nan=False)
    log: bool = False
    choices: tuple[Any, ...] = Field((), max_length=100)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.choices:
            if (self.low, self.high, self.log) != (None, None, False):
                raise ValueError("either 'choices', or 'low' and 'high'")
        elif self.low is None or self.high is None:
            raise ValueError("'low' and 'high', or 'choices'")
        elif not self.low < self.high:
            raise ValueError("a 'low' that is below 'high'")
        elif self.log and self.low <= 0:
            raise ValueError("a 'low' above 0 where 'log' is true")
        return self

    def extremes(self) -> tuple[Any, ...]:
        """Values that must be valid for all to be: both ends, or every choice."""
        return self.choices or (self.low, self.high)


def placed(content: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a scenario file with other values at dotted paths.

    A member that gets its first value in a section begins with the scenario's own section.

    Raises:
        ScenarioError: a path that leads nowhere.
    """
    changed = copy.deepcopy(dict(content))
    for path, value in values.items():
        _place(changed, path, value)
    return changed


def members_in(paths: Mapping[str, Any], count: int) -> list[int]:
    """Which members values at some paths concern: all, where one of them is everyone's."""
    split = [path.split(".") for path in paths]
    if any(parts[0] != "members" for parts in split):
        return list(range(count))
    return sorted({int(parts[1]) for parts in split})


def _place(content: dict[str, Any], path: str, value: Any) -> None:
    at: dict[str, Any] = content
    *parents, last = path.split(".")
    if parents[0] == "members":
        members = content.setdefault("members", [{}])
        number = int(parents[1])
        if isinstance(members, int):
            raise _nowhere(path, "members that are spelled out: aimass ensemble grow SCENARIO")
        if number >= len(members):
            raise _nowhere(path, f"a number below {len(members)}, the first member being 0")
        at = members[number]
        parents = parents[2:]
        if parents and parents[0] in SECTIONS and not at.get(parents[0]):
            at[parents[0]] = copy.deepcopy(content.get(parents[0]) or {})
    for parent in parents:
        at = at.setdefault(parent, {})
        if not isinstance(at, dict):
            raise _nowhere(path, f"keys below '{parent}'")
    at[last] = value


def _nowhere(path: str, expected: str) -> ScenarioError:
    return ScenarioError(
        f"'tune' names {path}, which is not there",
        expected=expected,
        fix=f"Correct or remove '{path}'",
        param=f"tune.{path}",
    )
