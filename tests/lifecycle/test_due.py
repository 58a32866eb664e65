"""A model that serves as it did is left alone; one that has become worse is due."""

import json
from pathlib import Path

import pytest

from aimass.base.errors import DataError, UnknownModel
from aimass.cli.build import DUE
from aimass.lifecycle.due import due
from data.folders import digits_folder, rows_of, write_table

from .conftest import Journey
from .folders import WORDS, aimass, command, config, scenario_file


def recent(folder: Path, others: bool) -> Path:
    """The test clips again; `others` gives the words another sound than the model knows."""
    names = {word: WORDS[(number + others) % 3] for number, word in enumerate(WORDS)}
    digits_folder(folder, WORDS)
    rows = [[r[0], r[1], names[r[2]]] for r in rows_of(WORDS) if r[3] == "test"]
    return write_table(folder, ["file", "speaker", "text"], rows)


def test_the_same_recordings_give_no_reason(journey: Journey, tmp_path: Path) -> None:
    data = recent(tmp_path / "recent", others=False)
    found = due(journey.scenario, data, config=config(journey.home))
    assert not found.retraining.needed and found.retraining.reasons == ()
    assert found.now.error_rate == found.published.error_rate
    assert "three@1 need not be trained" in aimass(
        journey.home, "due", journey.scenario, "--data", data
    )


def test_a_language_that_changed_does(journey: Journey, tmp_path: Path) -> None:
    data = recent(tmp_path / "recent", others=True)
    code, said = command(journey.home, "due", journey.scenario, "--data", data, "--json")
    told = json.loads(said)
    assert (code, told["needs_retraining"], told["model"]) == (DUE, True, "three@1")
    assert "has risen from" in told["reasons"][0]
    assert told["published"]["error_rate"] < told["scorecard"]["error_rate"]
    code, said = command(journey.home, "due", journey.scenario, "--data", data)
    assert code == DUE and "must be trained again" in said and "Reason: the wer has" in said


def test_nothing_in_production(home: Path, journey: Journey, tmp_path: Path) -> None:
    data = recent(tmp_path / "recent", others=False)
    with pytest.raises(UnknownModel, match="no version of 'three' is in production"):
        due(journey.scenario, data, config=config(home))
    with pytest.raises(UnknownModel, match="'other'"):
        due(scenario_file(tmp_path, name="other"), data, config=config(journey.home))


def test_a_model_of_another_machine(journey: Journey, home: Path, tmp_path: Path) -> None:
    said = aimass(home, "models", "pull", "three", "--from", journey.said["folder"])
    assert "is ready" in said
    with pytest.raises(DataError, match="no scorecard of three@1"):
        due(journey.scenario, recent(tmp_path / "recent", False), config=config(home))
