"""`aimass dial`: measured, shown, set, packed, and what requests get of it."""

import json
import shutil
from pathlib import Path

import pytest

from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.registry.points import Point, curve
from aimass.registry.store import Registry
from data.folders import DIGITS, rows_of
from runtime.dials import of_skill, shaken

from .conftest import Command

DATA = ("--data", DIGITS, "--split", "train")
ONE = DIGITS / rows_of(["one"])[0][0]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return of_skill(tmp_path_factory.mktemp("massive"))


@pytest.fixture(scope="module")
def registered(many: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with ``many`` and the model ``pupil`` in its registry."""
    folder = tmp_path_factory.mktemp("registered")
    registry = Registry(folder / "home")
    registry.publish(many)
    registry.publish(shaken(folder / "pupil", 0.1, 500_000, "pupil"))
    return folder / "home"


@pytest.fixture
def published(registered: Path, home: Path) -> Path:
    """The same, of the test's own."""
    shutil.copytree(registered, home)
    return home


def test_measured_shown_and_set(aimass: Command, published: Path, many: Bundle) -> None:
    said = aimass("dial", "measure", "many", *DATA, "--timed", 8, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    points = [Point.model_validate(point) for point in told["points"]]
    at_once = [point for point in points if not point.chunk_ms]
    assert curve(at_once) == at_once and len(at_once) > 1
    plain = [row for row in told["points"] + told["dominated"] if not row["chunk_ms"]]
    assert (told["checked"], told["differing"]) == (8 * len(plain), 0)
    for point in points:
        assert point.interval[0] <= point.error_rate <= point.interval[1]
        assert point.utterances == 60 and point.rtf > 0 and point.latency_ms > 0
        assert point.wait_ms > 0 and point.memory_mb > 0 and point.multiply_adds
    assert points[0].multiply_adds == 1_000_000 and points[0].error_rate > 0.1
    assert points[-1].error_rate < 0.05
    page = Path(told["page"])
    assert "Error against cost" in page.read_text(encoding="utf-8")
    numbers = json.loads((page.parent / "curve.json").read_text())
    assert numbers | {"page": str(page)} == told
    kept = [bundles.load(folder) for folder in (published / "bundles").iterdir()]
    assert many.digest in [bundle.digest for bundle in kept]  # a bundle is never changed

    shown = json.loads(aimass("dial", "show", "many", "--json").out)
    assert [row["name"] for row in shown["points"]] == [point.name for point in points]
    assert shown["runs"] is None and "measured on" in shown["origin"]
    fast = json.loads(aimass("dial", "show", "many", "--quality", "fast", "--json").out)
    assert (fast["runs"], fast["why"]) == (points[0].name, "the cheapest")
    table = aimass("dial", "show", "many", "--quality", "accurate")
    assert table.code == 0 and "the lowest error" in table.out
    assert all(point.name in table.out for point in points)

    said = aimass("dial", "set", "many", "--max-error", "0.05")
    assert said.code == 0 and "the cheapest with an error of at most 5.00%" in said.out
    set_to = json.loads(aimass("dial", "show", "many", "--json").out)
    assert set_to["set"] == {"max_error": 0.05} and set_to["runs"]
    assert aimass("dial", "set", "many", "--clear").code == 0
    assert json.loads(aimass("dial", "show", "many", "--json").out)["runs"] is None


def test_requests(aimass: Command, published: Path) -> None:
    said = aimass("transcribe", ONE, "--model", "many", "--quality", "fast")
    assert (said.code, said.out) == (2, "") and "aimass dial measure many" in said.err
    assert aimass("transcribe", ONE, "--model", "digits", "--quality", "fast").out == "one\n"
    assert aimass("dial", "measure", "many", *DATA, "--timed", 2).code == 0
    for quality in ("balanced", "accurate"):
        assert aimass("transcribe", ONE, "--model", "many", "--quality", quality).out == "one\n"
    said = aimass("transcribe", ONE, "--model", "many", "--max-latency", 1)
    assert said.code == 2 and "the nearest is" in said.err
    said = aimass("dial", "set", "many", "best")
    assert said.code == 2 and "no operating point 'best'" in said.err
    for odd in ((), ("fast", "--clear")):
        assert aimass("dial", "set", "many", *odd).code == 2


def test_packed_with_a_student(aimass: Command, published: Path) -> None:
    say = ("--student", "pupil", "--quality", "fast", "--json")
    said = aimass("dial", "pack", "many", *DATA, *say)
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert told["version"] == 2 and told["differing"] == 0
    about = json.loads(aimass("models", "show", "many").out)
    assert [member["name"] for member in about["massive"]["members"]][-1] == "pupil"
    assert about["massive"]["combination"]["weights"][-1] == 0
    assert about["points"] == told["points"] and about["dial"] == {"quality": "fast"}
    assert any(row["name"].startswith("pupil") for row in told["points"])
    shown = json.loads(aimass("dial", "show", "many", "--json").out)
    assert shown["runs"] == told["points"][0]["name"] and shown["origin"] == "as they were packed"
    assert aimass("models", "verify", "many").code == 0
    assert aimass("transcribe", ONE, "--model", "many", "--quality", "accurate").out == "one\n"
    said = aimass("dial", "pack", "pupil", *DATA, "--student", "digits")
    assert said.code == 2 and "students beside 'pupil', a single model" in said.err


def test_one_model_has_one_point(aimass: Command) -> None:
    said = aimass("dial", "measure", "digits", *DATA, "--timed", 2)
    assert said.code == 0 and "as-it-is" in said.out
    shown = json.loads(aimass("dial", "show", "digits", "--max-error", "0.5", "--json").out)
    assert shown["runs"] == "as-it-is"


def test_models_without_a_dial(aimass: Command) -> None:
    said = aimass("dial", "show", "digits")
    assert said.code == 0 and "digits runs as it is" in said.out
    assert "aimass dial measure digits" in said.out
    said = aimass("dial", "set", "digits", "fast")
    assert said.code == 2 and "no operating points to choose from" in said.err
    assert aimass("dial", "show", "nobody").code == 5


def test_students_of_one_name_stand_side_by_side(aimass: Command, published: Path) -> None:
    twice = ("--student", "pupil", "--student", "pupil@1", "--quality", "balanced", "--json")
    said = aimass("dial", "pack", "many", *DATA, *twice)
    assert said.code == 0, said.err
    about = json.loads(aimass("models", "show", "many").out)
    names = [member["name"] for member in about["massive"]["members"]]
    assert names[-2:] == ["pupil", "pupil-2"]
    again = aimass("dial", "pack", "many", *DATA, "--json")
    assert again.code == 0, again.err
    assert json.loads(aimass("models", "show", "many").out)["dial"] == {"quality": "balanced"}
    said = aimass("dial", "pack", "many", *DATA, "--max-latency", "0.001")
    assert said.code == 2 and "no operating point with a latency" in said.err
