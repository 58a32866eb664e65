"""What a build packs: its operating points, students beside its members, and what was wished."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aimass.base.errors import ScenarioError
from aimass.lifecycle.build import build
from aimass.lifecycle.distil import distil, planned
from aimass.lifecycle.scenario import read
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.registry.massive import voice_of
from aimass.registry.points import Point, Wish
from aimass.registry.store import Registry

from .folders import aimass, aimass_json, config, scenario_file, tiny_scenario
from .test_tasks import labelled

SMALL = {"parameters": 30000, "subsampling": "stack"}
SECTIONS: dict[str, Any] = {
    "task": "classify",
    "members": [
        {"name": "a", "parameters": 40000},
        {"name": "b", "parameters": 40000, "family": "recurrent"},
    ],
    "augment": {"policy": "light", "joined": 1, "ramp": 0, "passes": 2},
    "training": {"epochs": 8, "batch_size": 8, "learning_rate": 0.008},
    "ensemble": {"methods": ["arithmetic"]},
    "distil": {"students": [SMALL], "training": {"epochs": 3, "batch_size": 8}},
    "quality": "fast",
}
"""Two members of labels that stay together, and a student that serves where nobody asks."""


@dataclass(frozen=True)
class Whole:
    """A home after the build of everything, and what the build said."""

    home: Path
    scenario: Path
    said: dict[str, Any]

    @property
    def bundle(self) -> Bundle:
        return bundles.load(Path(self.said["folder"]))

    @property
    def points(self) -> list[Point]:
        return [Point.model_validate(point) for point in self.said["points"]]


@pytest.fixture(scope="module")
def whole(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "home").mkdir()
    shutil.copy(tables, folder / "home")
    scenario = tiny_scenario(folder, **SECTIONS)
    labelled(scenario)
    return Whole(folder / "home", scenario, aimass_json(folder / "home", "build", scenario))


def test_points_and_students_are_in_the_bundle(whole: Whole) -> None:
    said, bundle = whole.said, whole.bundle
    assert said["selected"] == "massive" and said["failed"] == [] and said["version"] == 1
    assert bundle.massive is not None and bundle.manifest.points == tuple(whole.points)
    names = [member.name for member in bundle.massive.members]
    assert names == ["a", "b", "three-student"]
    assert bundle.massive.combination["weights"][-1] == 0  # it is no voice of the whole
    (student,) = said["students"]
    assert (student["model"], student["version"]) == ("three-student", 1)
    assert all(point.memory_mb > 0 and point.utterances == 18 for point in whole.points)
    report = Path(said["reports"]["dial"])
    assert "Error against cost" in (report / "index.html").read_text(encoding="utf-8")
    measured = json.loads((report / "curve.json").read_text(encoding="utf-8"))
    assert measured["points"] == said["points"] and measured["differing"] == 0
    everything = [Point.model_validate(p) for p in measured["points"] + measured["dominated"]]
    assert any("three-student" in point.members for point in everything)


def test_what_the_scenario_wishes_is_what_serves(whole: Whole) -> None:
    assert whole.bundle.manifest.dial == Wish(quality="fast")
    shown = aimass_json(whole.home, "dial", "show", "three")
    assert shown["runs"] == whole.points[0].name and shown["origin"] == "as they were packed"


def test_a_build_again_measures_nothing_again(whole: Whole) -> None:
    said = aimass_json(whole.home, "build", whole.scenario)
    assert (said["digest"], said["version"]) == (whole.said["digest"], 1)
    assert "dial" in said["reused"] and said["students"][0]["version"] == 1
    printed = aimass(whole.home, "build", whole.scenario)
    assert "Student three-student version 1: classification_error" in printed
    assert f"{len(whole.points)} operating points: aimass dial show three" in printed


def test_the_teacher_is_the_whole_however_its_dial_is_set(whole: Whole) -> None:
    """The bundle serves `fast`, and has a student in it: neither changes what it teaches."""
    (massive,) = (whole.home / "builds/three").glob("massive-*/bundle")
    before = bundles.load(massive)
    assert voice_of(before) == voice_of(whole.bundle) and before.digest != whole.bundle.digest
    aimass(whole.home, "dial", "set", "three", whole.points[0].name)
    for plan in (planned(whole.scenario), planned(whole.scenario, teacher="three")):
        (again,) = distil(plan, config=config(whole.home))
        assert again.bundle.digest == whole.said["students"][0]["digest"]
    quick = planned(whole.scenario, teacher="three", targets="answers", epochs=1)
    (student,) = distil(quick, config=config(whole.home))
    assert student.taught.error_rate == whole.said["massive"]["test"]["error_rate"]
    aimass(whole.home, "dial", "set", "three", "--clear")


def test_a_student_is_quantised_by_its_name(whole: Whole) -> None:
    said = aimass_json(whole.home, "compress", "quantize", whole.scenario, "--member", "student")
    assert said["model"].startswith("three-student@")
    assert Registry(whole.home).resolve("three-student", "quantized") is not None


def test_a_wish_that_no_point_gives_is_told(whole: Whole) -> None:
    sections = {k: v for k, v in SECTIONS.items() if k not in ("quality", "distil")}
    path = scenario_file(whole.scenario.parent, "slow.yaml", **sections, max_latency_ms=0.001)
    built = build(path, config=config(whole.home))
    assert not built.verdict.passed and built.published.aliases == ("candidate",)
    (reason,) = built.verdict.reasons
    assert "no operating point with a latency of at most 0.001 ms" in reason
    assert "the nearest is" in reason


def test_the_point_that_serves_is_held_against_the_gates(whole: Whole) -> None:
    sections = {k: v for k, v in SECTIONS.items() if k != "distil"}
    path = scenario_file(whole.scenario.parent, "gate.yaml", **sections, gates={"upper": 0.0001})
    built = build(path, config=config(whole.home))
    reasons = " ".join(built.verdict.reasons)
    assert not built.verdict.passed and "which serves, is" in reasons


@pytest.mark.parametrize(
    ("key", "value"), [("quality", "very good"), ("max_error", -1), ("max_latency_ms", 0)]
)
def test_wishes_that_cannot_be(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(ScenarioError, match=key):
        read(scenario_file(tmp_path, **{key: value}))


def test_one_model_has_a_dial_too(whole: Whole) -> None:
    student = bundles.load(Path(whole.said["students"][0]["folder"]))
    assert student.manifest.points is None  # measured beside its teacher, not alone
    sections = {k: v for k, v in SECTIONS.items() if k != "distil"}
    sections |= {"members": [SECTIONS["members"][0]], "quality": "balanced", "name": "one"}
    path = scenario_file(whole.scenario.parent, "one.yaml", **sections)
    said = aimass_json(whole.home, "build", path)
    names = [point["name"] for point in said["points"]]
    assert names[0] == "as-it-is" and all(name.startswith("as-it-is.") for name in names[1:])
    assert said["points"][0]["stream_rtf"] > 0
