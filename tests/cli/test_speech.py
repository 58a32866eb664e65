"""`aimass data speak`, `voices` and `align`, as a person types them."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aimass.data.corpus import read
from data.folders import DIGITS, rows_of

from .conftest import Command

WORDS = ("three", "one", "four")
RATE = 8000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Three digits with pauses."""
    parts = [np.zeros(RATE // 2, np.float32)]
    for word in WORDS:
        sound, rate = soundfile.read(DIGITS / rows_of([word])[0][0], dtype="float32")
        assert rate == RATE
        parts += [sound, np.zeros(RATE, np.float32)]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), RATE)
    return tmp_path / "long.wav"


def test_speaking_makes_a_corpus_and_goes_on(aimass: Command, tmp_path: Path) -> None:
    folder = tmp_path / "spoken"
    typed = ("data", "speak", folder, "--text", "turn left", "--count", 2, "--voices", "f2, m1")
    said = aimass(*typed)
    assert said.code == 0, said.err
    assert "2 utterances spoken" in said.out
    assert {clip.speaker for clip in read(folder).clips} == {"espeak:f2", "espeak:m1"}
    again = aimass(*typed, "--text", "stop", "--json")
    told = json.loads(again.out)
    assert (told["spoken"], told["kept"]) == (2, 2)


def test_texts_come_from_a_file_or_from_a_data_set(aimass: Command, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("turn left\n\n  stop \nstop\n", "utf-8")
    for name, source, count in (("a", tmp_path / "texts.txt", 2), ("b", DIGITS, 10)):
        said = aimass(
            "data", "speak", tmp_path / name, "--texts", source, "--count", 1,
            "--engine", "nanotts",
        )  # fmt: skip
        assert said.code == 0, said.err
        assert len(read(tmp_path / name).clips) == count


@pytest.mark.parametrize(
    ("typed", "code", "found"),
    [
        ((), 2, "there is no text to speak"),
        (("--text", "one", "--engine", "parrot"), 2, "no voice engine 'parrot'"),
        (("--text", "one", "--engine", "kokoro"), 2, "aimass models pull kokoro"),
        (("--text", "one", "--voices", "nobody"), 2, "no voice 'nobody'"),
        (("--text", "one", "--language", "tlh"), 2, "no voice for language 'tlh'"),
        (("--texts", "/nowhere"), 4, "/nowhere cannot be read"),
    ],
)
def test_what_cannot_be_spoken(
    aimass: Command, tmp_path: Path, typed: tuple[str, ...], code: int, found: str
) -> None:
    said = aimass("data", "speak", tmp_path / "x", *typed)
    assert said.code == code
    assert found in said.err


def test_voices_are_listed(aimass: Command) -> None:
    said = aimass("data", "voices", "--language", "en")
    assert said.code == 0
    assert "en-GB" in said.out
    assert "klatt2" in said.out
    assert "aimass models pull kokoro" in said.out
    told = json.loads(aimass("data", "voices", "--engine", "nanotts", "--json").out)
    assert {"engine": "nanotts", "voice": "it-IT", "language": "it-IT"}.items() <= told[-1].items()


def test_a_recording_is_cut_by_its_text(aimass: Command, tmp_path: Path, recording: Path) -> None:
    (tmp_path / "text.txt").write_text("Three, one ... four!\n", "utf-8")
    typed = ("data", "align", recording, tmp_path / "text.txt", tmp_path / "cuts.jsonl")
    said = aimass(*typed, "--model", "digits", "--language", "en", "--shortest", 0)
    assert said.code == 0, said.err
    assert "holds 3 clips" in said.out
    assert not (tmp_path / "cuts.doubtful.jsonl").exists()
    clips = read(tmp_path / "cuts.jsonl").clips
    assert [clip.text for clip in clips] == ["Three,", "one ...", "four!"]


def test_what_does_not_match_is_kept_apart(
    aimass: Command, tmp_path: Path, recording: Path
) -> None:
    (tmp_path / "text.txt").write_text("three rhubarb four\n", "utf-8")
    typed = ("data", "align", recording, tmp_path / "text.txt", tmp_path / "cuts.jsonl")
    options = ("--model", "digits", "--language", "en", "--shortest", 0)
    said = aimass(*typed, *options)
    assert said.code == 0, said.err
    assert "text and sound do not agree" in said.out
    assert "rhubarb" in said.out
    told = json.loads(aimass(*typed, *options, "--json").out)
    apart = read(Path(told["doubtful_manifest"])).clips
    sure = read(Path(told["manifest"])).clips
    words = " ".join(clip.text for clip in (*sure, *apart)).split()
    assert sorted(words) == ["four", "rhubarb", "three"]
    assert [one["text"] for one in told["doubtful"]] == [clip.text for clip in apart]


@pytest.mark.parametrize(
    ("output", "model", "text", "code", "found"),
    [
        ("cuts.txt", "digits", "three", 2, "ending in .jsonl"),
        ("cuts.jsonl", "nobody", "three", 5, "there is no model 'nobody'"),
        ("cuts.jsonl", "digits", " - ", 4, "the text has 0 words"),
        ("cuts.jsonl", "digits", "three " * 500, 4, "belong together"),
    ],
)
def test_what_cannot_be_aligned(
    aimass: Command,
    tmp_path: Path,
    recording: Path,
    output: str,
    model: str,
    text: str,
    code: int,
    found: str,
) -> None:
    (tmp_path / "text.txt").write_text(text, "utf-8")
    said = aimass(
        "data", "align", recording, tmp_path / "text.txt", tmp_path / output, "--model", model
    )
    assert said.code == code
    assert found in said.err
    assert not (tmp_path / output).exists()
