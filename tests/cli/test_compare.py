"""`aimass compare` and the reports of `aimass eval`, on real recordings."""

import json
from pathlib import Path

import pytest

from aimass.evaluation.scorecard import read

from .conftest import Command

DIGITS = Path(__file__).parents[2] / "samples/digits"


@pytest.fixture
def card(aimass: Command, tmp_path: Path) -> Path:
    """The scorecard of the shipped model, as the command line wrote it."""
    said = aimass("eval", "--data", DIGITS, "--model", "digits", "--json")
    (tmp_path / "a.json").write_text(said.out)
    return tmp_path / "a.json"


def worse(card: Path) -> Path:
    """The same with every second utterance wrong."""
    plain = json.loads(card.read_text())
    for row in plain["per_utterance"][::2]:
        row["errors"] = 1
    plain["error_rate"] = 0.5
    other = card.with_name("b.json")
    other.write_text(json.dumps(plain))
    return other


def test_two_scorecards(aimass: Command, card: Path) -> None:
    other = worse(card)
    said = aimass("compare", card, other)
    assert said.code == 0
    assert said.out.startswith(f"{card} is better: wer 0.00% against 50.00%, difference -50.00% ")
    assert "(mapsswe), 30 utterances better, 0 worse, 30 alike" in said.out
    found = json.loads(aimass("compare", other, card, "--json").out)
    assert found["significant"] is True
    assert (found["difference"], found["wins"], found["losses"]) == (0.5, 0, 30)
    assert aimass("compare", card, card).out.startswith("no sure difference: wer 0.00% against")


def test_two_models_measured_now(aimass: Command) -> None:
    said = aimass("compare", "--data", DIGITS, "digits", "digits", "--metric", "cer", "--json")
    assert said.code == 0
    assert json.loads(said.out)["metric"] == "cer"


def test_what_is_no_scorecard(aimass: Command, card: Path, tmp_path: Path) -> None:
    said = aimass("compare", card, tmp_path / "gone.json")
    assert said.code == 4 and "gone.json is no scorecard" in said.err
    plain = json.loads(card.read_text())
    plain["per_utterance"][0]["utterance_id"] = "another"
    card.with_name("c.json").write_text(json.dumps(plain))
    said = aimass("compare", card, card.with_name("c.json"))
    assert said.code == 4 and "different recordings" in said.err


def test_a_report(aimass: Command, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    said = aimass("eval", "--data", DIGITS, "--model", "digits", "--report", folder)
    assert said.code == 0
    assert f"The report is {folder / 'index.html'}" in said.err
    assert "digits on digits" in (folder / "index.html").read_text()
    assert read(folder / "scorecard.json").utterances == 60
