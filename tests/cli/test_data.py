"""`aimass data`: what a newcomer types first."""

import json
import re
from pathlib import Path

import pytest

from data.folders import DIGITS, digits_folder
from data.test_sources_layouts import common_voice, librispeech

from .conftest import Command


def strip_ansi(text: str) -> str:
    """The text that a terminal shows."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_help(aimass: Command) -> None:
    said = aimass("data", "--help")
    assert said.code == 0
    for command in ("show", "corpora", "import"):
        assert command in said.out
        assert aimass("data", command, "--help").code == 0


def test_show(aimass: Command) -> None:
    said = aimass("data", "show", DIGITS)
    assert (said.code, said.err) == (0, "")
    text = strip_ansi(said.out)
    for words in ("table", "file = file", "300", "train 240, test 60", "CC BY-SA 4.0", "zero"):
        assert words in text


def test_show_json(aimass: Command) -> None:
    found = json.loads(aimass("data", "show", DIGITS, "--json").out)
    assert list(found) == [
        "source", "layout", "columns", "notes", "clips", "hours", "texts", "speakers",
        "clips_without_speaker", "splits", "languages", "synthetic", "missing", "unreadable",
        "unmeasured", "licence", "examples",
    ]  # fmt: skip
    assert (found["clips"], found["texts"], found["speakers"]) == (300, 10, 6)
    assert found["splits"] == {"train": 240, "test": 60}
    assert found["languages"] == {"unknown": 300}
    assert 0.02 < found["hours"] < 0.06


def test_show_counts_what_is_wrong(aimass: Command, tmp_path: Path) -> None:
    folder = digits_folder(tmp_path / "words", ["one"])
    paths = sorted((folder / "audio").iterdir())
    for path in paths[:7]:
        path.unlink()
    paths[-1].write_text("[red]no sound")
    found = json.loads(aimass("data", "show", folder, "--json").out)
    assert (len(found["missing"]), len(found["unreadable"])) == (7, 1)
    assert found["missing"][0]["what"] == "recording"
    said = strip_ansi(aimass("data", "show", folder).out)
    assert "missing: 2 more; --json lists them" in said
    assert f"unreadable: audio/{paths[-1].name}: " in said


def test_show_takes_a_column(aimass: Command, tmp_path: Path) -> None:
    folder = common_voice(tmp_path)
    said = aimass("data", "show", folder, "--column", "text=locale", "--json")
    found = json.loads(said.out)
    assert found["columns"]["text"] == "locale"
    assert found["examples"][0]["text"] == "zh-TW"


@pytest.mark.parametrize("column", ["text", "=a", "text="])
def test_a_column_that_is_no_pair(aimass: Command, column: str) -> None:
    said = aimass("data", "show", DIGITS, "--column", column)
    assert said.code == 2 and "NAME=VALUE" in said.err


def test_nothing_there(aimass: Command, tmp_path: Path) -> None:
    said = aimass("data", "show", tmp_path / "gone")
    assert said.code == 4 and said.err.startswith("data_error: ")


def test_corpora(aimass: Command) -> None:
    found = json.loads(aimass("data", "corpora", "--json").out)
    assert {"name": "yesno", "needs": [], "options": []} in found
    assert "librispeech" in aimass("data", "corpora").out


def test_import_and_show(aimass: Command, tmp_path: Path) -> None:
    source = librispeech(tmp_path / "LibriSpeech")
    said = aimass("data", "import", "librispeech", source, tmp_path / "c.jsonl.gz")
    assert (said.code, said.err) == (0, "")
    assert "holds 3 clips" in said.out and "2 train" in said.out and "1 dev" in said.out
    found = json.loads(aimass("data", "show", tmp_path / "c.jsonl.gz", "--json").out)
    assert (found["layout"], found["clips"], found["languages"]) == ("Lhotse cuts", 3, {"en": 3})
    options = ("--option", "normalize_text=lower", "--json")
    said = aimass("data", "import", "librispeech", source, tmp_path / "d.jsonl", *options)
    done = json.loads(said.out)
    assert (done["splits"], done["without_text"]) == ({"train": 2, "dev": 1}, 0)


def test_a_recipe_that_fails(aimass: Command, tmp_path: Path) -> None:
    said = aimass("data", "import", "yesno", tmp_path, tmp_path / "c.jsonl")
    assert said.code == 4 and "AssertionError" in said.err and "Traceback" not in said.err
