"""Recordings of any length: words in order at their places, in stretches that are bounded."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aimass.audio.decode import Source
from aimass.audio.decode import load as load_audio
from aimass.audio.types import Limits
from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Segment, Word
from aimass.base.errors import AudioNotFound, AudioTooLarge, EmptyAudio, RequestError, UnknownModel
from aimass.runtime.transcribe import Heard, hear, put_together, transcribe

from . import digits
from .digits import RATE, SAMPLES

JFK = SAMPLES / "jfk.wav"
WORDS = RecognizeOptions(word_times=True)
MINUTES = 3


class Ear:
    """Says how many samples it heard, and keeps them."""

    name = "ear"
    sample_rate = RATE

    def __init__(self, max_seconds: float = 60.0, invents: bool = False) -> None:
        self.max_seconds = max_seconds
        self.invents_on_silence = invents
        self.heard: list[Samples] = []

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        self.heard.append(samples)
        end = len(samples) / RATE
        words = (Word(str(len(samples)), 0.0, end, 1.0),)
        return Hypothesis((Segment(0.0, end, str(len(samples)), words),), "en")

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """Three minutes of digits with pauses, and where each digit begins."""
    sound, starts = digits.in_a_row(digits.clips(), pause=2.6)
    assert len(sound) > MINUTES * 60 * RATE
    path = tmp_path_factory.mktemp("long") / "digits.flac"
    soundfile.write(path, sound, RATE)
    return path, starts


def test_three_minutes(long: tuple[Path, list[float]]) -> None:
    path, starts = long
    told: list[tuple[str, int, int | None]] = []
    found = transcribe(path, digits.engine(), WORDS, progress=lambda *step: told.append(step))
    seconds = soundfile.info(path).duration
    assert found.duration == pytest.approx(seconds)
    assert (found.model, found.language, found.channel) == ("digits", "en", None)
    assert told[-1] == ("transcribe", round(seconds), round(seconds))

    assert len(found.segments) >= MINUTES
    for one, other in pairwise(found.segments):
        assert one.start < one.end <= other.start
    for one_word, other_word in pairwise(found.words):
        assert one_word.end <= other_word.start
    for segment in found.segments:
        assert all(segment.start <= w.start <= w.end <= segment.end for w in segment.words)

    right = 0
    for clip, start in zip(digits.clips(), starts, strict=True):
        there = [w.text for w in found.words if start - 0.2 <= w.start <= start + 1.5]
        right += there == [clip.text]
    assert right >= 0.9 * len(starts)
    assert found.text.split() == [w.text for w in found.words]


def test_stretches_are_bounded_and_lose_nothing(long: tuple[Path, list[float]]) -> None:
    path, _ = long
    ear = Ear(max_seconds=10)
    steps = list(hear(path, ear))
    assert max(map(len, ear.heard)) <= 10 * RATE
    assert len(steps) >= MINUTES * 6
    assert np.array_equal(np.concatenate(ear.heard), load_audio(path, rate=RATE).mono())
    assert steps[0].start == 0
    for one, other in pairwise(steps):
        assert one.end == pytest.approx(other.start)


def test_cuts_are_in_pauses(long: tuple[Path, list[float]]) -> None:
    path, starts = long
    for step in list(hear(path, Ear(max_seconds=15)))[:-1]:
        assert not any(start < step.end < start + 0.25 for start in starts)


def test_it_is_heard_as_it_is_read(long: tuple[Path, list[float]]) -> None:
    ear = Ear(max_seconds=10)
    steps = hear(long[0], ear)
    assert ear.heard == []
    next(steps)
    assert len(ear.heard) == 1  # nothing further is decoded and kept
    steps.close()  # type: ignore[attr-defined]


def test_a_short_recording_is_one_stretch() -> None:
    ear = Ear()
    found = transcribe(JFK, ear, WORDS)
    assert len(ear.heard) == 1
    assert found.segments[0].start == 0
    assert found.duration == pytest.approx(11.0)


@pytest.mark.parametrize("kind", ["path", "bytes", "file"])
def test_any_source(kind: str) -> None:
    clip = digits.clips()[7]
    raw = clip.path.read_bytes()
    sources: dict[str, Source] = {"path": clip.path, "bytes": raw, "file": io.BytesIO(raw)}
    source = sources[kind]
    found = transcribe(source, digits.engine(), progress=lambda *step: None)
    assert found.text == transcribe(clip.path, digits.engine()).text != ""


def two_channels(folder: Path) -> tuple[Path, list[str]]:
    """One speaker on each channel, one after the other."""
    left, right = (digits.samples(digits.clips()[n].path) for n in (6, 30))
    sound = np.zeros((2 * RATE, 2), np.float32)
    sound[1000 : 1000 + len(left), 0] = left
    sound[9000 : 9000 + len(right), 1] = right
    soundfile.write(folder / "two.wav", sound, RATE)
    return folder / "two.wav", [digits.clips()[n].text for n in (6, 30)]


def test_channels_are_mixed_or_split(tmp_path: Path) -> None:
    path, words = two_channels(tmp_path)
    for channel, word in enumerate(words):
        found = transcribe(path, digits.engine(), channel=channel)
        assert (found.text, found.channel) == (word, channel)
    both = transcribe(path, digits.engine())
    assert (both.text.split(), both.channel) == (words, None)


@pytest.mark.parametrize("channel", [2, 7, -1])
def test_a_channel_that_is_not_there(tmp_path: Path, channel: int) -> None:
    path, _ = two_channels(tmp_path)
    with pytest.raises(RequestError, match=f"channel {channel} of a recording with 2") as caught:
        transcribe(path, Ear(), channel=channel)
    assert (caught.value.param, caught.value.expected) == ("channel", "0 to 1")


def test_an_engine_that_invents_is_not_given_silence(tmp_path: Path) -> None:
    hum = np.random.default_rng(0).normal(0, 1e-4, 5 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "hum.wav", hum, RATE, subtype="FLOAT")
    inventive, honest = Ear(invents=True), Ear()
    quiet = transcribe(tmp_path / "hum.wav", inventive)
    assert (quiet.text, quiet.segments, inventive.heard) == ("", (), [])
    assert quiet.duration == pytest.approx(5)
    assert transcribe(tmp_path / "hum.wav", honest).text == str(5 * RATE)
    assert transcribe(JFK, inventive).text == str(11 * RATE)


def test_limits_hold() -> None:
    limits = Limits(max_bytes=10**9, max_seconds=5, max_channels=2, min_bytes_per_second=0)
    with pytest.raises(AudioTooLarge):
        transcribe(JFK, Ear(), limits=limits)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AudioNotFound):
        transcribe(tmp_path / "gone.wav", Ear())
    with pytest.raises(EmptyAudio):
        transcribe(b"", Ear())
    with pytest.raises(UnknownModel):
        transcribe(JFK, "nobody")


def test_put_together() -> None:
    def heard(start: float, text: str, language: str | None) -> Heard:
        segments = (Segment(start, start + 1, text),) if text else ()
        return Heard(start, start + 1, Hypothesis(segments, language))

    steps = [heard(0, "a", "de"), heard(1, "", None), heard(2, "b", "en"), heard(3, "c", "en")]
    found = put_together(steps, "m", channel=1)
    assert (found.text, found.duration, found.language, found.channel) == ("a b c", 4, "en", 1)
    assert put_together([], "m").duration == 0
    assert put_together([], "m").language is None
