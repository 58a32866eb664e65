"""`aimass data check` tells people and programs what is wrong, and remembers what it measured."""

import json
from pathlib import Path

import pytest

from data.faults import clean, planted

from .conftest import Command


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    planted(tmp_path / "faulty")
    return tmp_path / "faulty"


def test_check_for_people(aimass: Command, faulty: Path) -> None:
    said = aimass("data", "check", faulty, "--no-labels")
    assert (said.code, said.err) == (0, "")
    for word in ("unreadable", "stops training", "clipped", "to look at", "measured anew"):
        assert word in said.out
    assert " 0 recordings measured anew" in aimass("data", "check", faulty, "--no-labels").out


def test_check_for_programs_with_a_page(aimass: Command, faulty: Path, tmp_path: Path) -> None:
    page = tmp_path / "report"
    said = aimass("data", "check", faulty, "--no-labels", "--json", "--report", page)
    told = json.loads(said.out)
    assert told == json.loads((page / "report.json").read_text())
    assert told["counts"]["silent"] == 1
    assert (page / "index.html").is_file()


def test_check_with_a_model(aimass: Command, tmp_path: Path) -> None:
    clean(tmp_path / "data")
    table = tmp_path / "data" / "metadata.tsv"
    table.write_text(table.read_text().replace("\tone\t", "\ttwo\t", 1))
    said = aimass("data", "check", tmp_path / "data", "--no-labels", "--json", "--model", "digits")
    (found,) = json.loads(said.out)["findings"]
    assert found["code"] == "label_suspect" and "digits hears 'one'" in found["detail"]


def test_a_clean_set(aimass: Command, tmp_path: Path) -> None:
    clean(tmp_path / "data")
    said = aimass("data", "check", tmp_path / "data", "--no-labels", "--language", "en")
    assert said.code == 0 and "Nothing was found" in said.out
