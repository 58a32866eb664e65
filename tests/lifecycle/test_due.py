"""A model that serves as it did is left alone; one that has become worse is due."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aimass.base.errors import DataError, UnknownModel
from aimass.cli.build import DUE
from aimass.data.checks import Code
from aimass.lifecycle.due import due
from aimass.lifecycle.scenario import read
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


def test_what_the_scenario_excludes_is_left_out(
    journey: Journey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = recent(tmp_path / "recent", others=False)
    soundfile.write(data / "audio/off.wav", np.zeros(8000), 8000)
    with (data / "metadata.tsv").open("a", encoding="utf-8") as table:
        table.write("audio/off.wav\ttheo\tzero\n")
    plan = read(journey.scenario)
    with pytest.raises(DataError, match=r"silent: 1.*exclude: \[silent\]"):
        due(plan, data, config=config(journey.home))
    section = plan.data.model_copy(update={"exclude": (Code.SILENT,)})
    found = due(plan.model_copy(update={"data": section}), data, config=config(journey.home))
    assert found.now.error_rate == found.published.error_rate
    assert found.to_dict()["left_out"] == {"silent": 1}
    assert "1 of the recent recordings are left out (silent: 1)" in caplog.messages


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
