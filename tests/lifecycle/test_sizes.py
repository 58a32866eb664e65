"""A search of sizes starts from what is known, fills gaps, goes on, and publishes the curve."""

import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from aimass.base.errors import RequestError
from aimass.lifecycle import sizes
from aimass.lifecycle.distil import Made, Student, distil
from aimass.lifecycle.scenario import Scenario
from aimass.lifecycle.sizes import Searched, SearchSpec, search
from aimass.registry.store import Registry

from .folders import aimass, aimass_json, command, config, scenario_file, tiny_scenario

KNOWN = {"name": "known", "parameters": 60000, "subsampling": "stack"}
FILE: dict[str, Any] = {
    "distil": {"teacher": "digits", "students": [KNOWN]},
    "training": {"epochs": 1, "batch_size": 16},
}


class Stopped(Exception):
    """Raised where an interrupt would be."""


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> tuple[Path, Path, Student]:
    """A home with a scenario and its one known student, which was distilled before."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "home").mkdir()
    shutil.copy(tables, folder / "home")
    scenario = tiny_scenario(folder, **FILE)
    (student,) = distil(scenario, config=config(folder / "home"))
    return folder / "home", scenario, student


@pytest.fixture
def fresh(begun: tuple[Path, Path, Student], tmp_path: Path) -> tuple[Path, Path, Student]:
    """The same in a home of the test's own."""
    home, scenario, student = begun
    shutil.copytree(home, tmp_path / "home")
    return tmp_path / "home", scenario, student


class School:
    """Makes students of planted error and cost, and notes what it made."""

    def __init__(self, like: Student, error: Callable[[int], float]) -> None:
        self.like, self.error = like, error
        self.asked: list[tuple[str, int]] = []
        self.stop_at = -1

    def __call__(self, plan: Scenario, *shared: Any) -> list[Made]:
        (one,) = plan.students()
        if len(self.asked) == self.stop_at:
            self.stop_at = -1
            raise Stopped
        self.asked.append((one.family, one.parameters))
        own = {field.name: getattr(self.like, field.name) for field in fields(Made)}
        cost = (20 if one.family == "conv" else 33) * one.parameters
        manifest = self.like.bundle.manifest
        scores = manifest.scores | {"multiply_adds": cost}
        bundle = replace(
            self.like.bundle,
            manifest=manifest.model_copy(update={"name": f"three-{one.name}", "scores": scores}),
        )
        rate = self.error(one.parameters)
        cards = {key: replace(card, error_rate=rate) for key, card in self.like.cards.items()}
        return [Made(**own | {"bundle": bundle, "cards": cards})]


def falling(parameters: int) -> float:
    return float((30_000 / parameters) ** 0.8 / 2)


@pytest.fixture
def school(begun: tuple[Path, Path, Student], monkeypatch: pytest.MonkeyPatch) -> School:
    planted = School(begun[2], falling)
    monkeypatch.setattr(sizes, "make", planted)
    return planted


def found(place: tuple[Path, Path, Any], trials: int = 8, **more: Any) -> Searched:
    home, scenario, _ = place
    return search(scenario, SearchSpec(trials, **more), config=config(home))


def pointed(home: Path) -> set[str]:
    registry = Registry(home)
    return {name for name in registry.names() if any(v.aliases for v in registry.versions(name))}


def test_it_starts_from_what_is_known_and_fills_gaps(
    fresh: tuple[Path, Path, Student], school: School
) -> None:
    told = found(fresh).to_dict()
    assert school.asked[:3] == [("conv", 60000), ("conv", 30000), ("conv", 280000)]
    assert school.asked[3] == ("conv", 129615)  # the middle of 60 and 280 thousand
    rows = told["students"]
    assert [row["parameters"] for row in rows] == sorted(size for _, size in school.asked)
    assert all(row["on_curve"] and row["version"] for row in rows) and len(rows) == 8
    assert {row["model"] for row in rows} == pointed(fresh[0])
    assert {"three-known", "three-student-conv-129615"} <= pointed(fresh[0])
    assert told["teacher"] == "digits"
    ahead = told["next"]
    assert [told["gaps"][0][key] for key in ahead] == list(ahead.values())
    assert ahead not in [{key: row[key] for key in ahead} for row in rows]
    assert not list((fresh[0] / "builds/three/unfinished").glob("*/"))


def test_a_search_that_is_stopped_goes_on_with_the_same(
    fresh: tuple[Path, Path, Student], school: School, tmp_path: Path
) -> None:
    other = (Path(shutil.copytree(fresh[0], tmp_path / "other")), *fresh[1:])
    whole = found(other, 7).to_dict()
    straight, school.asked = school.asked, []
    school.stop_at = 4
    with pytest.raises(Stopped):
        found(fresh, 7)
    assert pointed(fresh[0]) == {"three-known"}  # as it was: nothing is published before the end
    before, school.asked = school.asked, []
    assert found(fresh, 7).to_dict()["students"] == whole["students"]
    assert school.asked[:4] == before  # found in their finished stages
    assert school.asked == straight
    school.asked = []
    assert found(fresh, 1).to_dict() == whole  # which trains no more, whatever is asked
    assert sorted(school.asked) == sorted(straight)


def test_what_is_drawn_is_new_and_the_same_again(
    fresh: tuple[Path, Path, Student], school: School, tmp_path: Path
) -> None:
    school.error = lambda parameters: 0.5  # one point is on the curve, so there is no gap
    other = (Path(shutil.copytree(fresh[0], tmp_path / "other")), *fresh[1:])
    runs = []
    for place in (fresh, other):
        school.asked = []
        told = found(place, 6).to_dict()
        runs.append(school.asked)
        assert (told["gaps"], told["next"]) == ([], None)
        assert [row["on_curve"] for row in told["students"]] == [True] + 5 * [False]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 6
    assert all(30_000 <= size <= 280_000 for _, size in runs[0])


def test_a_search_ends_where_every_model_was_tried(
    fresh: tuple[Path, Path, Student], school: School
) -> None:
    told = found(fresh, 10, least=60_000, most=60_100).to_dict()
    assert [row["parameters"] for row in told["students"]] == [60_000]


def test_what_is_no_more_on_the_curve_is_withdrawn(
    fresh: tuple[Path, Path, Student], school: School
) -> None:
    found(fresh, 3)
    assert "three-student-conv-280000" in pointed(fresh[0])
    school.error = lambda size: 0.01 if size == 129615 else falling(size)
    rows = found(fresh, 4).to_dict()["students"]
    assert [row["on_curve"] for row in rows] == [True, True, True, False]
    names = {row["model"] for row in rows if row["on_curve"]}
    assert pointed(fresh[0]) == names
    assert Registry(fresh[0]).versions("three-student-conv-280000")  # its version stays


def test_families_are_searched_together(fresh: tuple[Path, Path, Student], school: School) -> None:
    found(fresh, 8, families=("recurrent",))
    assert school.asked[0] == ("conv", 60000)
    assert set(school.asked[1:5]) == {
        (family, end) for family in ("conv", "recurrent") for end in (30_000, 280_000)
    }
    asked, school.asked = school.asked, []
    found(fresh, 8)  # of one family is another search
    assert {family for family, _ in school.asked} == {"conv"} and asked != school.asked


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (SearchSpec(trials=0), "0 students. Expected at least 1"),
        (SearchSpec(least=70_000, most=60_000), "from 70000 to 60000 parameters"),
        (SearchSpec(least=1), "from 1 to 280000 parameters. Expected from 30000"),
        (SearchSpec(families=("forest",)), "forest. Expected one of conv, recurrent, attention"),
    ],
)
def test_searches_that_cannot_be(tmp_path: Path, spec: SearchSpec, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        search(scenario_file(tmp_path, **FILE), spec, config=config(tmp_path))
    assert words in str(caught.value) and caught.value.fix.startswith("Correct --")


def test_nobody_to_learn_from_or_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"names no teacher.*--teacher NAME"):
        search(scenario_file(tmp_path), config=config(tmp_path))
    path = tiny_scenario(tmp_path, task="embed")
    with pytest.raises(RequestError, match="which is for voiceprints"):
        search(path, teacher="digits", config=config(tmp_path))


def trained(home: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in home.glob("builds/three/train-*")}


def test_the_command(fresh: tuple[Path, Path, Student], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    home, scenario, student = fresh
    args = ("dial", "search", scenario, "--most", "90000")
    two = aimass_json(home, *args, "--trials", "2")
    before = trained(home)
    assert len(before) == 2  # the known one was found
    three = aimass_json(home, *args, "--trials", "3")
    assert len(trained(home)) == 3 and before.items() < trained(home).items()
    rows = {row["model"]: row for row in three["students"]}
    assert list(rows) == ["three-student-conv-30000", "three-known", "three-student-conv-90000"]
    costs = [row["multiply_adds"] for row in rows.values()]
    assert costs == sorted(costs) and costs[0] > 0
    known = rows["three-known"]
    assert known["test"]["error_rate"] == student.cards["test"].error_rate
    assert known["dev"] == student.cards["dev"].error_rate
    assert {row["model"] for row in two["students"]} < rows.keys()
    table = aimass(home, *args, "--trials", "3")
    assert all(name in table for name in rows) and "Next, with more --trials:" in table
    assert "on the curve" in table
    assert command(home, *args, "--trials", "0")[0] == 2
    assert command(home, *args, "--teacher", "nobody")[0] == 5
