"""`aimass eval` and reports: silence is an answer, voiceprints are trials, a file is no folder."""

import json
from pathlib import Path

import pytest

from data.folders import DIGITS

from .conftest import Command

EVAL = ("eval", "--model", "digits", "--data")
CHECK = ("data", "check", "--no-labels")


@pytest.mark.parametrize("command", [EVAL, CHECK])
@pytest.mark.parametrize("inside", ["", "deep/er"])
def test_a_report_is_refused_before_anything_is_read(
    aimass: Command, tmp_path: Path, command: tuple[str, ...], inside: str
) -> None:
    file = tmp_path / "some.yaml"
    file.write_text("kept")
    said = aimass(*command, tmp_path / "no data", "--report", file / inside)
    assert said.code == 2
    assert "request_error" in said.err and f"{file} is a file" in said.err
    assert file.read_text() == "kept"


def test_a_report_in_a_folder_that_is_there(aimass: Command, tmp_path: Path) -> None:
    said = aimass(*EVAL, DIGITS, "--json", "--report", tmp_path)
    assert said.code == 0
    assert json.loads(said.out) == json.loads((tmp_path / "scorecard.json").read_text())
