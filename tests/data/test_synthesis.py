"""Corpora that voice engines speak: marked, deterministic, and only ever added to."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from aimass.audio.types import Audio
from aimass.base.errors import DataError, RequestError
from aimass.data import synthesis
from aimass.data.corpus import read
from aimass.data.synthesis import SpeechPlan, synthesise, utterances
from aimass.data.voices.contract import Delivery
from aimass.data.voices.espeak import EspeakVoices
from aimass.data.voices.nano import NanoVoices

from .folders import DIGITS

PLAN = SpeechPlan("en", count=4)


@pytest.fixture(scope="module")
def espeak() -> EspeakVoices:
    return EspeakVoices.open()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_is_a_corpus_of_synthetic_train_clips(
    espeak: EspeakVoices, tmp_path: Path
) -> None:
    done = synthesise(["turn left", "stop"], espeak, PLAN, tmp_path)
    assert (done.spoken, done.kept) == (8, 0)
    corpus = read(tmp_path)
    assert sorted(clip.text for clip in corpus.clips) == ["stop"] * 4 + ["turn left"] * 4
    assert all(clip.synthetic and clip.split == "train" for clip in corpus.clips)
    assert {clip.language for clip in corpus.clips} == {"en"}
    assert len({clip.speaker for clip in corpus.clips}) > 4
    assert all(clip.speaker and clip.speaker.startswith("espeak:") for clip in corpus.clips)
    assert "espeak: eSpeak NG" in corpus.licence
    seconds = 0.0
    for clip in corpus.clips:
        samples, rate = soundfile.read(clip.path)
        assert rate == 16000
        assert 0.05 < np.abs(samples).max() <= 0.96
        assert np.abs(samples[: rate // 10]).max() > 0.001  # no long silence before the speech
        seconds += len(samples) / rate
    assert done.seconds == pytest.approx(seconds)


def test_the_same_seed_speaks_the_same(espeak: EspeakVoices, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthesise(["stop", "go"], espeak, replace(PLAN, seed=seed), tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not contents(tmp_path / "a").keys() & {
        name for name in contents(tmp_path / "c") if name.startswith("audio/")
    }


def test_more_texts_and_a_higher_count_speak_only_what_is_new(
    espeak: EspeakVoices, tmp_path: Path
) -> None:
    synthesise(["stop"], espeak, PLAN, tmp_path / "grown")
    before = contents(tmp_path / "grown")
    more = synthesise(["go", "stop"], espeak, replace(PLAN, count=6), tmp_path / "grown")
    assert (more.spoken, more.kept) == (8, 4)
    after = contents(tmp_path / "grown")
    assert all(after[name] == before[name] for name in before if name.startswith("audio/"))
    synthesise(["go", "stop"], espeak, replace(PLAN, count=6), tmp_path / "fresh")
    assert after == contents(tmp_path / "fresh")


def test_a_run_that_was_stopped_goes_on(espeak: EspeakVoices, tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesise(["stop", "go"], espeak, PLAN, tmp_path / "stopped", stop)
    done = synthesise(["stop", "go"], espeak, PLAN, tmp_path / "stopped")
    assert (done.spoken, done.kept) == (3, 5)
    synthesise(["stop", "go"], espeak, PLAN, tmp_path / "whole")
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_two_engines_share_a_folder(espeak: EspeakVoices, tmp_path: Path) -> None:
    synthesise(["stop"], espeak, PLAN, tmp_path)
    synthesise(["stop"], NanoVoices.open(), PLAN, tmp_path)
    corpus = read(tmp_path)
    assert len(corpus.clips) == 8
    assert "nanotts: SVOX Pico" in corpus.licence
    assert "espeak: eSpeak NG" in corpus.licence
    with (tmp_path / "metadata.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {row["synthetic"] for row in rows} == {"true"}
    assert all(0.85 <= float(row["speed"]) <= 1.2 for row in rows)


def test_real_recordings_are_never_joined(espeak: EspeakVoices, tmp_path: Path) -> None:
    table = (DIGITS / "metadata.tsv").read_bytes()
    (tmp_path / "metadata.tsv").write_bytes(table)
    with pytest.raises(DataError, match="not a table of synthetic speech"):
        synthesise(["stop"], espeak, PLAN, tmp_path)
    assert contents(tmp_path) == {"metadata.tsv": table}


def test_a_text_is_spoken_as_it_is_said(espeak: EspeakVoices, tmp_path: Path) -> None:
    plan = replace(PLAN, spoken={"Close": ("Close", "cloze")})
    wanted = list(utterances(["Close"], espeak, plan))
    assert [one.said for one in wanted] == ["Close", "cloze"] * 2
    assert {one.text for one in wanted} == {"Close"}
    synthesise(["Close"], espeak, plan, tmp_path)
    assert {clip.text for clip in read(tmp_path).clips} == {"Close"}


texts = st.lists(st.sampled_from(["stop", "go", "left", "right"]), min_size=1, unique=True)


@given(texts, st.integers(1, 5), st.integers(0, 3), st.integers(0, 9))
def test_draws_depend_on_the_text_and_its_turn_alone(
    given: list[str], count: int, more: int, seed: int
) -> None:
    engine = EspeakVoices.open()
    plan = replace(PLAN, count=count, seed=seed)
    alone = {
        one.file("espeak", 16000) for text in given for one in utterances([text], engine, plan)
    }
    together = {
        one.file("espeak", 16000)
        for one in utterances(given[::-1], engine, replace(plan, count=count + more))
    }
    assert alone <= together
    assert len(together) == len(given) * (count + more)


def test_voices_take_turns(espeak: EspeakVoices) -> None:
    plan = replace(PLAN, count=7, voices=("f1", "f2", "m1"))
    voices = [one.delivery.voice for one in utterances(["stop"], espeak, plan)]
    assert set(voices[:3]) == set(voices[3:6]) == {"f1", "f2", "m1"}


class Blending:
    """Names its deliveries; what it would sound like is another engine's matter."""

    name, licence, blends, pitches = "blending", "none", True, False

    def speak(self, text: str, delivery: Delivery) -> Audio:
        return Audio(np.zeros((1, 100), np.float32), 16000)


def test_means_of_voices_where_the_engine_has_them(espeak: EspeakVoices) -> None:
    plan = replace(PLAN, count=60, voices=("f1", "f2", "m1"), blend=0.5)
    drawn = list(utterances(["stop"], Blending(), plan))  # type: ignore[arg-type]
    blended = [one.delivery.voice for one in drawn if "+" in one.delivery.voice]
    assert 10 < len(blended) < 30
    assert set(blended) == {"f1+f2", "f1+m1", "f2+m1"}
    assert {one.delivery.pitch for one in drawn} == {1}
    assert not any("+" in one.delivery.voice for one in utterances(["stop"], espeak, plan))


def test_silence_is_no_utterance(tmp_path: Path) -> None:
    plan = replace(PLAN, voices=("f1",))
    with pytest.raises(RequestError, match="says nothing to 'stop'"):
        synthesise(["stop"], Blending(), plan, tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"count": 0},
        {"count": synthesis.MOST_UTTERANCES + 1},
        {"speeds": (1.2, 0.8)},
        {"speeds": (0.1, 1.0)},
        {"pitches": (1.0, float("nan"))},
        {"blend": 1.5},
        {"rate": 1},
        {"language": "tlh"},
    ],
)
def test_plans_of_no_use(
    espeak: EspeakVoices, tmp_path: Path, change: dict[str, int | str | tuple[float, float]]
) -> None:
    with pytest.raises(RequestError):
        synthesise(["stop"], espeak, replace(PLAN, **change), tmp_path)  # type: ignore[arg-type]
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "two\nlines", "x" * 501, "tab\tinside"])
def test_texts_of_no_use(espeak: EspeakVoices, tmp_path: Path, text: str) -> None:
    with pytest.raises(RequestError):
        synthesise(["stop", text], espeak, PLAN, tmp_path)
    assert contents(tmp_path) == {}


def test_an_unknown_voice_is_named(espeak: EspeakVoices, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="espeak has no voice 'nobody'"):
        synthesise(["stop"], espeak, replace(PLAN, voices=("nobody",)), tmp_path)


def test_progress_counts_utterances(espeak: EspeakVoices, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []

    def hear(what: str, done: int, total: int | None) -> None:
        told.append((done, total))

    synthesise(["stop"], espeak, PLAN, tmp_path, hear)
    assert told == [(number, 4) for number in range(5)]
