"""`aimass data speak`, `voices` and `align`, as a person types them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aimass.data.corpus import read
from aimass.data.split import hold_out
from data.folders import DIGITS, rows_of

from .conftest import Command

WORDS = ("three", "one", "four")
RATE = 8000


def spoken(path: Path, words: Sequence[str], number: int = 0) -> Path:
    """A recording of digits with pauses."""
    parts = [np.zeros(RATE // 2, np.float32)]
    for word in words:
        sound, rate = soundfile.read(DIGITS / rows_of([word])[number][0], dtype="float32")
        assert rate == RATE
        parts += [sound, np.zeros(RATE, np.float32)]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), RATE)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Three digits with pauses."""
    return spoken(tmp_path / "long.wav", WORDS)


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """Three recordings of two digits each, with their texts beside them."""
    folder = tmp_path / "talks"
    for number, name in enumerate(("monday", "tuesday", "late/monday")):
        path = spoken(folder / f"{name}.wav", WORDS[:2], number)
        path.with_suffix(".txt").write_text("Three,\none.\n", "utf-8")
    (folder / "LICENSE").write_text("for all", "utf-8")
    return folder


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


ALIGNING = ("--model", "digits", "--language", "en", "--shortest", 0)


def test_recordings_are_aligned_shown_and_split(
    aimass: Command, tmp_path: Path, talks: Path
) -> None:
    made = tmp_path / "made"
    said = aimass("data", "align", talks, made / "talks.jsonl", *ALIGNING)
    assert said.code == 0, said.err
    assert "holds 6 clips of 3 recordings" in said.out
    assert "nobody said who speaks in 3" in said.out
    told = json.loads(aimass("data", "show", made, "--json").out)
    assert (told["clips"], told["speakers"], told["licence"]) == (6, 3, "for all")
    kept, held = hold_out(read(made).clips)
    assert kept and held
    assert not {clip.path for clip in kept} & {clip.path for clip in held}
    assert {clip.speaker for clip in (*kept, *held)} == {"monday", "tuesday", "late/monday"}


def test_manifests_of_several_calls_are_one_corpus(
    aimass: Command, tmp_path: Path, talks: Path
) -> None:
    made = tmp_path / "made"
    for name in ("monday", "tuesday"):
        said = aimass(
            "data", "align", talks / f"{name}.wav", talks / f"{name}.txt", made / f"{name}.jsonl",
            "--speaker", "eva", *ALIGNING,
        )  # fmt: skip
        assert said.code == 0, said.err
        assert "nobody said" not in said.out
    clips = read(made).clips
    assert len({clip.id for clip in clips}) == len(clips) == 4
    assert [clip.id.partition("-")[0] for clip in clips] == ["monday"] * 2 + ["tuesday"] * 2
    assert {clip.speaker for clip in clips} == {"eva"}


def test_a_table_names_speakers_splits_and_texts(
    aimass: Command, tmp_path: Path, talks: Path
) -> None:
    rows = (
        ("audio", "text", "speaker", "split"),
        ("monday.wav", "monday.txt", "eva", "train"),
        ("late/monday.wav", "three one", "", "test"),
        ("tuesday.wav", "three " * 500, "", ""),
    )
    table = talks / "table.csv"
    table.write_text("".join(",".join(row) + "\n" for row in rows), "utf-8")
    made = tmp_path / "made.jsonl"
    said = aimass("data", "align", table, made, "--speaker", "bob", *ALIGNING)
    assert said.code == 0, said.err
    assert "tuesday could not be aligned" in said.out
    assert [(clip.text, clip.speaker, clip.split) for clip in read(made).clips] == [
        ("Three,", "eva", "train"), ("one.", "eva", "train"),
        ("three", "bob", "test"), ("one", "bob", "test"),
    ]  # fmt: skip


def test_sources_of_no_use(aimass: Command, tmp_path: Path, talks: Path) -> None:
    made = tmp_path / "made.jsonl"
    text = talks / "monday.txt"
    assert aimass("data", "align", talks / "monday.wav", text, made, *ALIGNING).code == 0
    for source, code, found in (
        ((talks, talks, text), 2, "3 files before the manifest"),
        ((made,), 2, "a part of monday.wav"),
        ((text,), 4, "is no data set"),
    ):
        said = aimass("data", "align", *source, tmp_path / "x.jsonl", *ALIGNING)
        assert said.code == code
        assert found in said.err
    spoken(talks / "silent.wav", ["one"])
    said = aimass("data", "align", talks, tmp_path / "x.jsonl", *ALIGNING)
    assert said.code == 4
    assert "silent.wav has no text beside it" in said.err


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
