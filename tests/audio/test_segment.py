"""Long recordings are cut at pauses, and every sample is in exactly one stretch."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.audio.resample import resample
from aimass.audio.segment import segments
from aimass.audio.types import Audio
from aimass.audio.voice import VoiceActivity, voice_activity
from audio.sounds import Sound, speech


def _blocks(sound: Sound, size: int, rate: int = 16_000) -> Iterator[Audio]:
    for at in range(0, len(sound), size):
        yield Audio(sound[None, at : at + size], rate)


@pytest.fixture(params=["silero", "loudness"])
def voice(request: pytest.FixtureRequest) -> VoiceActivity | None:
    return voice_activity() if request.param == "silero" else None


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(50, 200_000),
    seconds=st.floats(0.05, 12),
    rate=st.sampled_from([8_000, 16_000]),
)
def test_nothing_is_lost_or_doubled(size: int, seconds: float, rate: int) -> None:
    sound = resample(speech(), 16_000, rate)
    found = list(segments(_blocks(sound, size, rate), max_seconds=seconds, voice=None))
    np.testing.assert_array_equal(np.concatenate([s.samples for s in found]), sound)
    at = 0
    for stretch in found:
        assert stretch.start == pytest.approx(at / rate)
        assert 0 < len(stretch.samples) <= max(1, int(seconds * rate))
        assert stretch.samples.flags.c_contiguous
        assert 0 <= stretch.speech <= 1
        at += len(stretch.samples)


@pytest.mark.parametrize("size", [777, 16_000, 50_000])
def test_cuts_do_not_depend_on_the_blocks(voice: VoiceActivity | None, size: int) -> None:
    long = np.tile(speech(), 3)
    whole = list(segments([Audio(long[None], 16_000)], max_seconds=7, voice=voice))
    parts = list(segments(_blocks(long, size), max_seconds=7, voice=voice))
    assert [s.start for s in parts] == [s.start for s in whole]
    assert [s.speech for s in parts] == pytest.approx([s.speech for s in whole], abs=1e-5)


def test_a_short_recording_is_one_stretch(voice: VoiceActivity | None) -> None:
    for seconds in (0.01, 0.3, 5, 11):
        sound = speech()[8_000 : 8_000 + int(seconds * 16_000)]
        (only,) = segments(_blocks(sound, 4_000), max_seconds=11, voice=voice)
        assert only.start == 0
        np.testing.assert_array_equal(only.samples, sound)
    assert list(segments([], max_seconds=5, voice=voice)) == []


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_cuts_fall_into_planted_pauses(voice: VoiceActivity | None, rate: int) -> None:
    said, pause = speech()[4_800:36_800], np.zeros(9_600, np.float32)  # 2.0 s and 0.6 s
    sound = resample(np.concatenate([said, pause] * 6), 16_000, rate)
    found = list(segments(_blocks(sound, rate, rate), max_seconds=3.0, voice=voice))
    assert len(found) >= 6
    for stretch in found[1:]:
        within = stretch.start % 2.6
        assert 1.95 < within < 2.6, f"cut at {within:.2f} s, within the words"


def test_a_cut_is_hard_where_no_pause_is() -> None:
    tone = np.sin(np.arange(160_000) * 0.3).astype(np.float32)
    found = list(segments(_blocks(tone, 16_000), max_seconds=3, voice=None))
    assert [s.start for s in found] == [0, 3, 6, 9]


def test_a_short_word_is_speech_and_noise_is_not() -> None:
    word = speech()[9_600:14_400]  # 0.3 s
    (said,) = segments([Audio(word[None], 16_000)], max_seconds=30, voice=voice_activity())
    assert said.speech >= 0.2
    noise = np.random.default_rng(1).normal(0, 0.05, (1, 80_000)).astype(np.float32)
    (heard,) = segments([Audio(noise, 16_000)], max_seconds=30, voice=voice_activity())
    assert heard.speech < 0.2


def test_little_is_held() -> None:
    """Stretches come out while blocks still go in."""
    taken = 0

    def endless() -> Iterator[Audio]:
        nonlocal taken
        for _ in range(60):
            taken += 1
            yield Audio(speech()[None, :16_000], 16_000)

    for stretch in segments(endless(), max_seconds=5, voice=None):
        assert taken - (stretch.start + len(stretch.samples) / 16_000) <= 2 * 5
    assert taken == 60
