"""Every command prints what it promises, for people and for programs."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile

from aimass.registry import bundle as bundles
from aimass.registry.store import Registry
from aimass.runtime.load import shipped
from data.folders import DIGITS, rows_of
from registry.bundles import make
from runtime.digits import RATE, clips, in_a_row, samples

from .conftest import Command


def strip_ansi(text: str) -> str:
    """The text that a terminal shows."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


ONE = DIGITS / rows_of(["one"])[0][0]
TWO = DIGITS / rows_of(["two"])[0][0]


def test_help(aimass: Command) -> None:
    said = aimass("--help")
    assert (said.code, said.err) == (0, "")
    for command in ("build", "tune", "due", "transcribe", "eval", "serve", "doctor", "models"):
        assert command in said.out
        about = aimass(command, "--help")
        assert about.code == 0 and f" {command} [OPTIONS]" in strip_ansi(about.out)
    for command in ("list", "show", "pull", "verify"):
        assert aimass("models", command, "--help").code == 0


def test_transcribe(aimass: Command) -> None:
    said = aimass("transcribe", ONE, "--model", "digits")
    assert (said.code, said.out, said.err) == (0, "one\n", "")


def test_transcribe_many(aimass: Command) -> None:
    said = aimass("transcribe", ONE, TWO, "--model", "digits")
    assert said.out == f"{ONE}: one\n{TWO}: two\n"


@pytest.mark.parametrize("words", [False, True])
def test_transcribe_json(aimass: Command, words: bool) -> None:
    brief = json.loads(aimass("transcribe", ONE, "--model", "digits", "--format", "json").out)
    assert brief["text"] == "one"
    options = ["--words"] if words else []
    full = json.loads(
        aimass("transcribe", ONE, "--model", "digits", "--format", "verbose_json", *options).out
    )
    assert full["text"] == full["segments"][0]["text"] == "one"
    assert full["duration"] == pytest.approx(soundfile.info(ONE).duration)
    assert ("words" in full) == words
    if words:
        (word,) = full["words"]
        assert word["word"] == "one" and 0 <= word["start"] < word["end"] <= full["duration"]


def test_transcribe_subtitles(aimass: Command) -> None:
    srt = aimass("transcribe", ONE, "--model", "digits", "--format", "srt").out
    assert srt.startswith("1\n00:00:00,0") and srt.rstrip().endswith("one")
    vtt = aimass("transcribe", ONE, "--model", "digits", "--format", "vtt").out
    assert vtt.startswith("WEBVTT\n\n00:00:00.0") and vtt.rstrip().endswith("one")


def test_transcribe_channels(aimass: Command, tmp_path: Path) -> None:
    left, right = samples(ONE), samples(TWO)
    longest = max(len(left), len(right))
    both = [[*one, *[0.0] * (longest - len(one))] for one in (left, right)]
    path = tmp_path / "two.wav"
    soundfile.write(path, list(zip(*both, strict=True)), RATE)
    said = aimass("transcribe", path, "--model", "digits", "--split-channels")
    assert said.out == "channel 0: one\nchannel 1: two\n"
    found = json.loads(
        aimass(
            "transcribe", path, ONE, "--model", "digits", "--split-channels", "--format", "json"
        ).out
    )
    assert [(row["file"], row["channel"], row["text"]) for row in found] == [
        (str(path), 0, "one"),
        (str(path), 1, "two"),
        (str(ONE), 0, "one"),
    ]


def test_subtitles_are_of_one_transcript(aimass: Command) -> None:
    said = aimass("transcribe", ONE, TWO, "--model", "digits", "--format", "vtt")
    assert (said.code, said.out) == (2, "")
    assert "more than one transcript" in said.err


def test_a_bundle_is_brought_under_its_name_alone(aimass: Command) -> None:
    folder = shipped()["digits"]
    said = aimass("models", "pull", "other", "--from", folder)
    assert said.code == 2 and "aimass models pull digits --from" in said.err
    assert aimass("models", "pull", "digits", "--from", folder).code == 0
    assert "digits@1" in aimass("models", "list").out


def test_a_name_that_would_never_be_reached(aimass: Command, tmp_path: Path) -> None:
    said = aimass("models", "pull", "digits", "--from", tmp_path)
    assert said.code == 2 and "already a model of our own" in said.err


def test_a_damaged_registry_is_told(aimass: Command, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "registry.db").write_text("junk" * 1000)
    said = aimass("models", "list")
    assert said.code == 8 and "registry.db cannot be asked" in said.err


@pytest.mark.parametrize(("split", "code"), [("foo", 2), ("dev", 4)])
def test_a_split_that_is_not_there(aimass: Command, split: str, code: int) -> None:
    said = aimass("eval", "--model", "digits", "--data", "samples/digits", "--split", split)
    assert said.code == code


def test_one_bad_file_does_not_stop_the_others(aimass: Command, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    said = aimass("transcribe", ONE, tmp_path / "empty.wav", TWO, "--model", "digits")
    assert said.code == 3
    assert said.out == f"{ONE}: one\n{TWO}: two\n"
    assert said.err.startswith(f"{tmp_path / 'empty.wav'}: ")


def test_the_default_model_comes_from_the_settings(
    aimass: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMASS_DEFAULT_MODEL", "digits")
    assert aimass("transcribe", ONE).out == "one\n"


def test_eval(aimass: Command) -> None:
    said = aimass("eval", "--data", DIGITS, "--model", "digits")
    assert (said.code, said.err) == (0, "")
    first, *rest = strip_ansi(said.out).splitlines()
    assert first.startswith("wer ") and "60 utterances, 6 speakers, real-time factor" in first
    assert any("yweweler" in line for line in rest)


def test_eval_json(aimass: Command) -> None:
    card = json.loads(aimass("eval", "--data", DIGITS, "--model", "digits", "--json").out)
    assert list(card)[:11] == [
        "metric", "error_rate", "interval", "errors", "utterances", "speakers",
        "per_speaker", "rtf", "peak_memory_mb", "audio_seconds", "worst",
    ]  # fmt: skip
    assert card["error_rate"] <= 0.05
    train = aimass(
        "eval", "--data", DIGITS, "--model", "digits", "--json", "--split", "train",
        "--metric", "cer",
    )  # fmt: skip
    card = json.loads(train.out)
    assert (card["utterances"], card["metric"]) == (240, "cer")


def test_names_that_look_like_markup(aimass: Command, tmp_path: Path) -> None:
    shutil.copy(ONE, tmp_path / "[bold]a[x].flac")
    rows = "file\tspeaker\ttext\n[bold]a[x].flac\t[/red]eva\ttwo\n"
    (tmp_path / "metadata.tsv").write_text(rows)
    said = aimass("eval", "--data", tmp_path, "--model", "digits")
    assert said.code == 0
    assert "[/red]eva" in said.out and "[bold]a[x].flac: two -> one" in said.out


@pytest.fixture
def registered(home: Path, tmp_path: Path) -> Registry:
    """Two versions of ``tiny``."""
    registry = Registry(home)
    for number in (1, 2):
        registry.publish(make(tmp_path / f"tiny-{number}", bias=-9 - number / 10))
    return registry


def test_models(aimass: Command, registered: Registry) -> None:
    rows: list[dict[str, Any]] = json.loads(aimass("models", "list", "--json").out)
    assert [r["model"] for r in rows[:3]] == ["tiny@2", "tiny@1", "digits"]
    assert rows[0] == {
        "model": "tiny@2", "kind": "bundle", "source": "registry", "aliases": ["production"],
    }  # fmt: skip
    assert {
        "model": "whisper-base",
        "kind": "whisper",
        "source": "can be pulled",
        "aliases": [],
    } in (rows)
    table = strip_ansi(aimass("models", "list").out)
    assert all(word in table for word in ("tiny@1", "tiny@2", "digits", "can be pulled"))

    shown = json.loads(aimass("models", "show", "tiny").out)
    published = registered.resolve("tiny")
    assert published is not None
    assert (shown["model"], shown["digest"]) == ("tiny@2", published.digest)
    assert shown["folder"] == str(published.folder)
    assert {"scores", "lineage", "licences", "files"} <= shown.keys()
    assert aimass("models", "verify", "tiny@1").out == "tiny@1 is whole\n"
    (published.folder / bundles.TOKENS).write_text("x")
    assert aimass("models", "verify", "tiny@production").code == 5


def test_show_and_verify_the_shipped_model(aimass: Command) -> None:
    shown = json.loads(aimass("models", "show", "digits").out)
    assert (shown["source"], shown["folder"]) == ("shipped", str(shipped()["digits"]))
    assert aimass("models", "verify", "digits").out == "digits is whole\n"


def test_doctor(aimass: Command, home: Path) -> None:
    findings = json.loads(aimass("doctor", "--json").out)
    assert all(list(f) == ["what", "found", "ok", "fix", "needed"] for f in findings)
    named = {f["what"]: f for f in findings}
    assert named["Python"]["ok"]
    assert named["model digits"]["ok"]
    assert named[f"home {home}"]["found"].endswith("GB free")
    assert not named["default model whisper-base"]["ok"]
    assert "pull whisper-base" in named["default model whisper-base"]["fix"]
    said = aimass("doctor")
    assert said.code == 0 and "model digits" in said.out


def test_doctor_fails_where_something_needed_is_missing(
    aimass: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(shipped()["digits"], tmp_path / "digits"))
    (damaged / bundles.GRAPH).write_bytes(b"x")
    monkeypatch.setattr("aimass.cli.doctor.shipped", lambda: {"digits": damaged})
    monkeypatch.setattr("aimass.runtime.load.shipped", lambda: {"digits": damaged})
    said = aimass("doctor", "--json")
    assert said.code == 6
    assert not {f["what"]: f for f in json.loads(said.out)}["model digits"]["ok"]


def test_serve(aimass: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr("aimass.serving.server.serve", lambda **options: given.append(options))
    assert aimass("serve", "--port", "0", "--preload", "digits", "--preload", "b").code == 0
    assert given == [{"host": "127.0.0.1", "port": 0, "preload": ("digits", "b")}]


def test_pull_from_a_folder_that_is_no_model(aimass: Command, tmp_path: Path) -> None:
    said = aimass("models", "pull", "whisper-base", "--from", tmp_path)
    assert said.code in (2, 5, 6) and said.out == "" and "Traceback" not in said.err


def test_a_recording_of_minutes(aimass: Command, tmp_path: Path) -> None:
    sound, _ = in_a_row(clips()[::4], pause=4.0)
    soundfile.write(tmp_path / "long.wav", sound, RATE)
    said = aimass(
        "transcribe", tmp_path / "long.wav", "--model", "digits", "--format", "verbose_json"
    )
    found = json.loads(said.out)
    assert len(found["segments"]) >= 2
    starts = [segment["start"] for segment in found["segments"]]
    assert starts == sorted(starts)


def test_doctor_says_what_to_type_to_the_letter(
    aimass: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    extras = {"train": ("no-such-package", "training your own models")}
    monkeypatch.setattr("aimass.cli.doctor.EXTRAS", extras)
    monkeypatch.setenv("COLUMNS", "200")
    assert "pip install 'aimass[train]'; in a clone: make trainer" in aimass("doctor").out
