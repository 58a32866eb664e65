"""`aimass ensemble grow`: a scenario with its members spelled out, to look at and to edit."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aimass.base.errors import RequestError, ScenarioError
from aimass.base.files import write_bytes
from aimass.ensemble.plan import planned
from aimass.lifecycle.scenario import Member, load, parse

USUAL = 6  # members where nobody says how many
PATHS = {"data": ("train", "dev", "test", "synthetic"), "augment": ("noise", "rooms")}


@dataclass(frozen=True, slots=True)
class Grown:
    """The file that was written, and the members in it."""

    path: Path
    members: tuple[Member, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [one.model_dump(mode="json", exclude_none=True) for one in self.members]
        return {"scenario": str(self.path), "members": rows}


def grow(scenario: str | Path, members: int | None = None, output: Path | None = None) -> Grown:
    """Write a scenario with the members of its plan, as `aimass build` would make it itself.

    Args:
        members: how many; else the number in the file, or `USUAL` where it has none.
        output: the file to write; ``NAME.grown.yaml`` beside the scenario when None.

    Raises:
        ScenarioError: a scenario that is wrong, or whose members are spelled out already.
        RequestError: a file in the place of the output, which may hold somebody's changes.
    """
    path = Path(scenario)
    content = load(path)
    number = members or content.get("members", USUAL)
    if not isinstance(number, int):
        raise ScenarioError(
            f"{path} spells its members out already",
            expected="a number of members, or none at all",
            fix="Give --members, which plans them anew, or build the file as it is",
            param="members",
        )
    plan = parse(content | {"members": number}, path)  # what is wrong is told before it is written
    spelled = content | {"members": planned(number, plan.task, content)}
    target = output or path.with_name(f"{path.stem}.grown.yaml")
    _write(_moved(spelled, path.parent, target.parent), path, target)
    return Grown(target, plan.resolved())


def _write(content: Mapping[str, Any], path: Path, target: Path) -> None:
    text = yaml.safe_dump(
        dict(content), sort_keys=False, allow_unicode=True, default_flow_style=None, width=100
    )
    head = f"# {path.name} with its {len(content['members'])} members spelled out.\n"
    whole = (head + text).encode()
    if target.exists() and target.read_bytes() != whole:
        raise RequestError(
            f"{target} is there already, with other content",
            expected="a new file, so that nobody's changes are lost",
            fix="Remove it, or name another file: --output FILE",
            param="output",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, whole)


def _moved(content: dict[str, Any], old: Path, new: Path) -> dict[str, Any]:
    """The content for a file in another folder: its paths lead where they led."""
    if old.resolve() == new.resolve():
        return content
    found = dict(content)
    for section, keys in PATHS.items():
        if isinstance(found.get(section), Mapping):
            found[section] = {
                key: _led(old, new, value) if key in keys else value
                for key, value in found[section].items()
            }
    found["members"] = [_moved(one, old, new) for one in content.get("members", [])]
    return {key: value for key, value in found.items() if key in content}


def _led(old: Path, new: Path, value: Any) -> Any:
    if not isinstance(value, str) or Path(value).is_absolute():
        return value
    return os.path.relpath(old.resolve() / value, new.resolve())
