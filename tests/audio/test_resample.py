"""Resampling: any chunking equals the whole, and nothing folds back below the new limit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.audio.resample import Resampler, resample
from audio.sounds import Sound, speech

_RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000]


def _tone(frequency: float, rate: int, seconds: float = 1.0) -> Sound:
    time = np.arange(int(rate * seconds)) / rate
    return np.sin(2 * np.pi * frequency * time).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    source=st.sampled_from(_RATES),
    target=st.sampled_from(_RATES),
    sizes=st.lists(st.integers(0, 5_000), min_size=1, max_size=20),
    channels=st.integers(1, 3),
)
def test_chunks_equal_the_whole(source: int, target: int, sizes: list[int], channels: int) -> None:
    total = sum(sizes)
    sound = np.stack([speech()[20_000 + i : 20_000 + i + total] for i in range(channels)])
    total = sound.shape[1]
    whole = Resampler(source, target, channels)
    expected = np.concatenate([whole.accept(sound), whole.finish()], axis=1)
    stream, parts, at = Resampler(source, target, channels), [], 0
    for size in sizes:
        parts.append(stream.accept(sound[:, at : at + size]))
        at += size
    joined = np.concatenate([*parts, stream.finish()], axis=1)
    assert joined.shape == expected.shape
    assert expected.shape[1] == pytest.approx(total * target / source, abs=1)
    np.testing.assert_allclose(joined, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "target"), [(48_000, 16_000), (44_100, 16_000), (16_000, 8_000)]
)
def test_tones_above_the_new_limit_vanish_and_others_stay(source: int, target: int) -> None:
    above = resample(_tone(target * 0.6, source), source, target)[800:-800]
    assert np.abs(above).max() < 1e-4
    below = resample(_tone(target * 0.3, source), source, target)[800:-800]
    assert np.sqrt(np.mean(below**2)) == pytest.approx(np.sqrt(0.5), rel=0.01)


def test_time_does_not_shift() -> None:
    click = np.zeros(48_000, np.float32)
    click[24_000] = 1
    assert np.abs(resample(click, 48_000, 16_000)).argmax() == 8_000


def test_equal_rates_return_the_samples_themselves() -> None:
    assert resample(speech(), 16_000, 16_000) is speech()


def test_mono_form_is_kept() -> None:
    assert Resampler(16_000, 8_000).accept(speech()).ndim == 1
    assert Resampler(16_000, 8_000).accept(speech()[None]).ndim == 2
