"""A scenario file is understood, or refused with the key at fault and what to write."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from aimass.base.contract import Task
from aimass.base.errors import ScenarioError
from aimass.lifecycle.scenario import (
    MAX_BYTES,
    Augment,
    Data,
    Features,
    Scenario,
    Training,
    read,
)

GOOD: dict[str, Any] = {"name": "digits", "task": "transcribe", "data": {"train": "digits"}}


def write(folder: Path, content: Any) -> Path:
    path = folder / "scenario.yaml"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def refused(path: Path, *words: str, param: str | None = None) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        read(path)
    error = caught.value
    assert error.exit_code == 4
    assert error.fix and error.expected and len(str(error)) < 2000
    assert error.param == param
    for word in words:
        assert word in str(error), f"{word!r} is not in: {error}"
    return error


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    assert read(write(tmp_path, GOOD)) == Scenario(
        name="digits",
        task=Task.TRANSCRIBE,
        language="en",
        data=Data(train=tmp_path / "digits"),
        training=Training(epochs=80, batch_size=32, learning_rate=3e-3, seed=0),
    )


def test_everything(tmp_path: Path) -> None:
    text = """
name: My-model_1.0
task: transcribe
language: de
data: {train: /abs/train, dev: ../dev, test: sub/test.jsonl.gz}
training: {epochs: 3, batch_size: 4, learning_rate: 1e-2, seed: 9}
"""
    scenario = read(write(tmp_path, text))
    assert scenario.data.train == Path("/abs/train")
    assert scenario.data.dev == tmp_path / "../dev"
    assert scenario.data.test == tmp_path / "sub/test.jsonl.gz"
    assert scenario.training == Training(epochs=3, batch_size=4, learning_rate=0.01, seed=9)


def test_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path.parent)
    found = read(Path(tmp_path.name) / "scenario.yaml")
    assert found.data.train == tmp_path.resolve() / "digits"


def with_key(key: str, value: Any) -> dict[str, Any]:
    """The good scenario with one key, dotted where it is inside a section, set to a value."""
    content = {k: dict(v) if isinstance(v, dict) else v for k, v in GOOD.items()}
    section, _, name = key.rpartition(".")
    (content.setdefault(section, {}) if section else content)[name] = value
    return content


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("nmae", "name"),
        ("tasks", "task"),
        ("lang", "language"),
        ("date", "data"),
        ("traning", "training"),
        ("data.trian", "train"),
        ("data.tests", "test"),
        ("training.epoch", "epochs"),
        ("training.batchsize", "batch_size"),
        ("training.learning-rate", "learning_rate"),
        ("training.seeds", "seed"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, key: str, near: str) -> None:
    path = write(tmp_path, with_key(key, 1))
    refused(path, f"unknown key '{key}'", f"Did you mean '{near}'?", param=key)


@pytest.mark.parametrize("key", ["zzz", "training.zzz", "data.zzz"])
def test_an_unknown_key_near_nothing(tmp_path: Path, key: str) -> None:
    error = refused(write(tmp_path, with_key(key, 1)), "unknown key", f"Remove '{key}'", param=key)
    assert "one of " in error.expected


@pytest.mark.parametrize("key", ["name", "task", "data"])
def test_a_missing_key(tmp_path: Path, key: str) -> None:
    content = {k: v for k, v in GOOD.items() if k != key}
    refused(write(tmp_path, content), f"lacks the key '{key}'", f"Add '{key}:'", param=key)


def test_a_missing_key_in_a_section(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD | {"data": {"dev": "x"}})
    refused(path, "lacks the key 'data.train'", param="data.train")


WRONG: dict[str, tuple[Any, ...]] = {
    "name": ("", "a b", "../up", "-x", ".x", "é", "x" * 65, 7, None, ["a"], True),
    "task": ("transcribing", "", 1, None),
    "language": ("english", "EN", "e", "en-US", "", 1, False, None),
    "data": ("folder", 1, None, [], True),
    "data.train": (1, None, [], {}, True),
    "data.test": (1, ["a"]),
    "training": (80, "long", []),
    "training.epochs": (0, -1, 100_001, 1.5, "many", "80", True, None, [1]),
    "training.batch_size": (0, -1, 4097, 2.5, "x", False, None),
    "training.learning_rate": (0, -1, 1.01, "fast", None, float("nan"), float("inf"), [0.1]),
    "training.seed": (-1, 0.5, "x", None, True),
    "members": ("two", 1.5, 0, -1, 65, True, None, [], [1], {"family": "conv"}),
    "gates": (0.1, [], None),
    "augment": ("standard", None),
    "tune": ("training.epochs", [], None),
    "hotwords": ("one", 1, [1]),
}


@pytest.mark.parametrize(("key", "value"), [(key, v) for key, vs in WRONG.items() for v in vs])
def test_a_wrong_value(tmp_path: Path, key: str, value: Any) -> None:
    error = refused_somewhere(write(tmp_path, with_key(key, value)))
    assert (error.param or "").startswith(key)
    assert key in error.found and key in error.fix
    assert "Input should" not in str(error)


def refused_somewhere(path: Path) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        read(path)
    return caught.value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("grammar", "a.fst"),
        ("hotwords", ["one"]),
    ],
)
def test_what_this_version_does_not_do(tmp_path: Path, key: str, value: Any) -> None:
    path = write(tmp_path, GOOD | {key: value})
    refused(path, f"sets '{key}'", "does not act on", f"Remove '{key}'", param=key)


@pytest.mark.parametrize("task", list(Task))
def test_every_task(tmp_path: Path, task: Task) -> None:
    assert read(write(tmp_path, GOOD | {"task": task.value})).task is task


def test_members_have_sections_of_their_own(tmp_path: Path) -> None:
    members = [{"family": "conv"}, {"name": "b", "seed": 4, "features": {"bins": 40}}]
    sections = {"members": members, "training": {"seed": 7}, "augment": {"policy": "light"}}
    first, second = read(write(tmp_path, GOOD | sections)).resolved()
    assert (first.name, first.seed, first.features) == ("conv-1", 7, Features())
    assert (second.name, second.seed, second.features) == ("b", 4, Features(bins=40))
    assert first.augment == second.augment == Augment(policy="light")


def test_members_of_one_name(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD | {"members": [{"name": "a"}, {"name": "a"}]})
    refused(path, "two members called 'a'", param="members.name")


def test_an_unknown_policy(tmp_path: Path) -> None:
    refused_somewhere(write(tmp_path, GOOD | {"augment": {"policy": "loud"}}))


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.yaml", "there is no file")
    refused(tmp_path, "there is no file")


@pytest.mark.parametrize(
    ("content", "kind"), [("", "NoneType"), ("- a", "list"), ("digits", "str"), ("7", "int")]
)
def test_no_keys_and_values(tmp_path: Path, content: str, kind: str) -> None:
    refused(write(tmp_path, content), f"holds {kind}", "docs/scenario.md")


NO_YAML: dict[str, str | bytes] = {
    "open bracket": "name: [",
    "tab": "name: a\n\ttask: b",
    "two colons": "name: a: b",
    "python object": "name: !!python/object/apply:os.system ['false']",
    "latin-1": "name: café".encode("latin-1"),
    "control character": b"name: a\x00b",
    "no such date": "name: 2024-13-45",
    "a number too long": "name: " + "9" * 5000,
    "too deep": "name: " + "[" * 20_000,
    "unhashable key": "{a: 1}: 2\n? [a]\n: 3",
    "a loop": "&a [*b]",
}


@pytest.mark.parametrize("name", NO_YAML)
def test_no_yaml(tmp_path: Path, name: str) -> None:
    refused(write(tmp_path, NO_YAML[name]), "is no YAML", "name: digits")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    refused(write(tmp_path, b"#" * (MAX_BYTES + 1)), f"at most {MAX_BYTES}", "not the data")


def test_lines_that_stand_for_gigabytes(tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    text = "\n".join([*lines, "task: transcribe", "data: {train: x}", "name: *a11"])
    error = refused_somewhere(write(tmp_path, text))
    assert len(str(error)) < 2000


def test_a_key_that_is_no_word(tmp_path: Path) -> None:
    refused_somewhere(write(tmp_path, "1: one\nname: a\ntask: transcribe\ndata: {train: x}"))
