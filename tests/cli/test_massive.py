"""The commands that take a model take a massive one, and `aimass eval --members` looks inside."""

import json
import shutil
from pathlib import Path

import pytest

from aimass.registry import bundle as bundles
from aimass.registry.bundle import MEMBERS, Bundle
from aimass.registry.store import Registry
from data.folders import DIGITS, rows_of
from runtime.massives import digits_three

from .conftest import Command

ONE = DIGITS / rows_of(["one"])[0][0]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return digits_three(tmp_path_factory.mktemp("massive") / "many")


@pytest.fixture(scope="module")
def registered(many: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with ``many`` in its registry, which takes seconds to make."""
    home = tmp_path_factory.mktemp("registered") / "home"
    Registry(home).publish(many)
    return home


@pytest.fixture
def published(registered: Path, home: Path) -> Path:
    """The folder of the model in a registry of the test's own."""
    shutil.copytree(registered, home)
    (folder,) = (home / "bundles").iterdir()
    return folder


def test_it_is_measured_with_its_members(aimass: Command, published: Path) -> None:
    said = aimass("eval", "--data", DIGITS, "--model", "many", "--members", "--json")
    assert said.code == 0
    card = json.loads(said.out)
    assert (card["metric"], card["error_rate"]) == ("wer", 0)
    assert [row["name"] for row in card["members"]] == ["one", "two", "three"]
    for row in card["members"]:
        assert set(row) == {"name", "error_rate", "interval", "rtf"}
        low, high = row["interval"]
        assert low <= row["error_rate"] <= high and row["rtf"] > 0
    plain = json.loads(aimass("eval", "--data", DIGITS, "--model", "many", "--json").out)
    assert "members" not in plain and plain["error_rate"] == 0


def test_the_members_in_a_table(aimass: Command, published: Path) -> None:
    said = aimass("eval", "--data", DIGITS, "--model", "many", "--members", "--metric", "cer")
    assert said.code == 0 and "cer 0.00%" in said.out
    for word in ("member", "real-time factor", "one", "two", "three"):
        assert word in said.out


def test_a_single_model_is_its_own_only_member(aimass: Command) -> None:
    said = aimass("eval", "--data", DIGITS, "--model", "digits", "--members", "--json")
    card = json.loads(said.out)
    (row,) = card["members"]
    assert (row["name"], row["error_rate"]) == ("digits", card["error_rate"])
    assert row["interval"] == card["interval"]


def test_the_commands_take_it(aimass: Command, many: Bundle) -> None:
    assert aimass("models", "pull", "many", "--from", many.folder).code == 0
    assert "many@1" in aimass("models", "list").out
    shown = json.loads(aimass("models", "show", "many").out)
    assert shown["digest"] == many.digest
    assert [member["name"] for member in shown["massive"]["members"]] == ["one", "two", "three"]
    assert "many@1 is whole" in aimass("models", "verify", "many").out
    assert aimass("transcribe", ONE, "--model", "many").out == "one\n"


def test_a_dead_member_is_told(aimass: Command, published: Path) -> None:
    (published / MEMBERS / "two" / bundles.GRAPH).write_bytes(b"no graph")
    said = aimass("models", "verify", "many")
    assert said.code == 5 and "two/model.onnx was changed" in said.err
    assert aimass("transcribe", ONE, "--model", "many").out == "one\n"
    said = aimass("eval", "--data", DIGITS, "--model", "many", "--members", "--json")
    card = json.loads(said.out)
    assert card["error_rate"] == 0
    assert [row["name"] for row in card["members"]] == ["one", "three"]
    assert list(card["dead"]) == ["two"] and "changed after" in card["dead"]["two"]
    said = aimass("eval", "--data", DIGITS, "--model", "many", "--members")
    assert "dead" in said.out and "changed after" in said.out


def test_a_damaged_one_is_not_brought(aimass: Command, many: Bundle, tmp_path: Path) -> None:
    folder = digits_three(tmp_path / "many", "vote").folder
    (folder / MEMBERS / "two" / bundles.GRAPH).write_bytes(b"no graph")
    said = aimass("models", "pull", "many", "--from", folder)
    assert said.code == 5 and "was changed after it was packed" in said.err
    assert "many" not in aimass("models", "list").out
