"""Members that are planned, that fail, that learn jointly: what becomes of the others."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aimass.base.errors import TrainingError
from aimass.lifecycle.build import build

from .folders import command, config, scenario_file, tiny_scenario

PLAIN = {"parameters": 30000, "subsampling": "stack"}


def with_noise(folder: Path, content: bytes) -> Path:
    (folder / "noise").mkdir(exist_ok=True)
    (folder / "noise/hum.wav").write_bytes(content)
    return folder / "noise"


def two_members(folder: Path, **sections: Any) -> Path:
    """A scenario of two members, of which the second needs a folder of noise."""
    return tiny_scenario(
        folder,
        members=[
            {"name": "whole", **PLAIN},
            {"name": "broken", **PLAIN, "augment": {"policy": "light", "noise": "noise"}},
        ],
        **sections,
    )


def test_a_member_that_fails_is_reported_and_tried_again(home: Path, tmp_path: Path) -> None:
    scenario = two_members(tmp_path)
    with_noise(tmp_path, b"no sound")
    code, said = command(home, "build", scenario, "--json")
    told = json.loads(said)
    assert code == 0
    assert list(told["members"]) == ["whole"] and told["member"] == "whole"
    (failed,) = told["failed"]
    assert failed["name"] == "broken" and "hum.wav" in failed["reason"]

    clip = next((tmp_path / "words/audio").glob("*.flac"))
    shutil.copy(clip, with_noise(tmp_path, b"") / "hum.flac")
    (tmp_path / "noise/hum.wav").unlink()
    trained = {path: path.stat().st_mtime_ns for path in (home / "builds/three").glob("train-*")}
    again = build(scenario, config=config(home))
    assert not again.failed and set(again.members) == {"whole", "broken"}
    assert all(path.stat().st_mtime_ns == then for path, then in trained.items())


def test_too_few_that_are_left_end_the_build(home: Path, tmp_path: Path) -> None:
    noisy = {"policy": "light", "noise": "noise"}
    members = [
        {"name": n, **PLAIN, "augment": noisy | {"passes": p}} for n, p in (("a", 1), ("b", 2))
    ]
    scenario = tiny_scenario(tmp_path, members=members)
    with_noise(tmp_path, b"no sound")
    with pytest.raises(TrainingError, match=r"2 of 2 members failed: 'a': .*; 'b': ") as caught:
        build(scenario, config=config(home))
    assert caught.value.exit_code == 7
    alone = scenario_file(tmp_path, data={"train": "words"}, members=members[:1])
    code, _ = command(home, "build", alone)
    assert code == 3  # what is wrong with a single member is what is wrong with the build
