"""The scenario: what one group of users speaks about, in one YAML file.

::

    name: digits                 # the model's name
    task: transcribe             # transcribe | classify | embed
    language: en                 # ISO 639-1
    data:                        # folders with metadata.tsv, or Lhotse manifests
      train: ../data/digits
      dev: ../data/digits-dev    # held out from train when not given
      test: ../data/digits-test  # the test split of train, else held out, when not given
    training:                    # how long to train; the defaults suit small vocabularies
      epochs: 80
"""

import difflib
import reprlib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aimass.base.contract import Task
from aimass.base.errors import ScenarioError

MAX_BYTES = 1 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Strict):
    """Where the recordings are; relative paths start at the scenario file."""

    train: Path
    dev: Path | None = None
    test: Path | None = None


class Training(_Strict):
    """The knobs of training that change how long it takes."""

    epochs: int = Field(80, gt=0, le=10_000, strict=True)
    batch_size: int = Field(32, gt=0, le=4096, strict=True)
    learning_rate: float = Field(3e-3, gt=0, le=1)
    seed: int = Field(0, ge=0, strict=True)


class Scenario(_Strict):
    """A scenario file, checked."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    task: Task
    language: str = Field("en", pattern=r"^[a-z]{2,3}$")
    data: Data
    training: Training = Training()
    members: int | None = None
    grammar: Path | None = None
    hotwords: tuple[str, ...] = ()
    start_from: str | None = None
    quality: str | None = None


_SECTIONS: dict[str, type[BaseModel]] = {"data": Data, "training": Training}
_NOT_YET = ("members", "grammar", "hotwords", "start_from", "quality")


def read(path: Path) -> Scenario:
    """Read a scenario file; paths in it become absolute.

    Raises:
        ScenarioError: no file, no YAML, an unknown key (the nearest known one is named), a value
            of the wrong kind, or a key that this version does not act on yet.
    """
    content = _yaml(path)
    try:
        scenario = Scenario.model_validate(content)
    except ValidationError as error:
        raise _explained(path, error) from error
    for key in _NOT_YET:
        if key in content:
            raise ScenarioError(
                f"{path} sets '{key}', which this version does not act on",
                expected="name, task, language, data and training",
                fix=f"Remove '{key}'",
                param=key,
            )
    if scenario.task is not Task.TRANSCRIBE:
        raise ScenarioError(
            f"{path} has the task '{scenario.task}', which this version does not build",
            expected="transcribe",
            fix="Write task: transcribe; single words are transcribed just as well",
            param="task",
        )
    base = path.resolve().parent
    located = {
        name: base / value
        for name, value in scenario.data.model_dump().items()
        if value is not None
    }
    return scenario.model_copy(update={"data": Data(**located)})


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ScenarioError(
            f"there is no file {path}",
            expected="a scenario file",
            fix="Check the path; docs/scenario.md shows one",
        )
    if path.stat().st_size > MAX_BYTES:
        raise ScenarioError(
            f"{path} has {path.stat().st_size} bytes",
            expected=f"at most {MAX_BYTES}",
            fix="Give the scenario file, not the data",
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    # Dates and numbers that cannot be make the reader raise ValueError, deep nesting the other.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ScenarioError(
            f"{path} is no YAML: {error}",
            expected="keys and values such as 'name: digits'",
            fix="Correct the line named above",
        ) from error
    if not isinstance(content, dict):
        raise ScenarioError(
            f"{path} holds {type(content).__name__}",
            expected="keys and values such as 'name: digits'",
            fix="docs/scenario.md shows a scenario file",
        )
    return content


def _explained(path: Path, error: ValidationError) -> ScenarioError:
    """The first fault of a scenario in the words of the scenario."""
    fault = error.errors()[0]
    where = [str(part) for part in fault["loc"]]
    key = ".".join(where)
    if fault["type"] == "extra_forbidden":
        known = _keys(where[:-1])
        near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
        return ScenarioError(
            f"{path} has the unknown key '{key}'",
            expected=f"one of {', '.join(known)}",
            fix=f"Did you mean '{near[0]}'?" if near else f"Remove '{key}'",
            param=key,
        )
    if fault["type"] == "missing":
        return ScenarioError(
            f"{path} lacks the key '{key}'",
            expected=f"a value for '{key}'",
            fix=f"Add '{key}:' to the file",
            param=key,
        )
    return ScenarioError(
        # A short form: a few lines of YAML can stand for gigabytes.
        f"{path} has {key}: {reprlib.repr(fault['input'])[:100]}",
        expected=fault["msg"].removeprefix("Input should be ").removeprefix("Value error, "),
        fix=f"Correct '{key}'",
        param=key,
    )


def _keys(parents: list[str]) -> list[str]:
    """The keys that may stand under `parents`."""
    model: type[BaseModel] = Scenario
    for parent in parents:
        model = _SECTIONS[parent]
    return list(model.model_fields)
