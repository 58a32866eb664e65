"""Waveform augmentation is a function of its generator alone, and does what it was drawn to do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.audio.decode import load
from aimass.augment.waveform import SPEEDS, at_speed, joined, with_gain, with_noise
from aimass.base.contract import Samples
from aimass.base.randomness import generator

RATE = 8000
SPEECH = load(Path(__file__).parents[2] / "samples/jfk.wav", rate=RATE).mono()[: 3 * RATE]
QUIET = SPEECH * np.float32(0.05)  # far from clipping, which would change what was drawn
Draw = Callable[[np.random.Generator], Samples]
DRAWS: dict[str, Draw] = {
    "joined": lambda rng: joined([SPEECH, SPEECH[:100]], RATE, rng, (0.0, 0.3)),
    "gain": lambda rng: with_gain(SPEECH, rng, -20, 6),
    "noise": lambda rng: with_noise(SPEECH, rng, 5, 40),
}


def level(samples: Samples) -> float:
    return 10 * float(np.log10(np.mean(np.square(samples.astype(np.float64)))))


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_gives_the_same(name: str) -> None:
    np.random.seed(0)  # noqa: NPY002  # what others draw from must not matter
    first = DRAWS[name](generator(7, "a"))
    np.random.seed(1)  # noqa: NPY002
    DRAWS[name](generator(8, "a"))
    assert np.array_equal(first, DRAWS[name](generator(7, "a")))


@pytest.mark.parametrize("name", DRAWS)
def test_another_seed_gives_another(name: str) -> None:
    assert not np.array_equal(DRAWS[name](generator(7, "a")), DRAWS[name](generator(7, "b")))


@pytest.mark.parametrize("name", DRAWS)
def test_sound_stays_sound(name: str) -> None:
    before = SPEECH.copy()
    for seed in range(20):
        found = DRAWS[name](generator(seed))
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 1
    assert np.array_equal(SPEECH, before)  # the recording is shared by all epochs


@given(st.integers(0, 2**32), st.floats(-5, 40))
def test_noise_is_as_loud_as_drawn(seed: int, wanted_db: float) -> None:
    noise = with_noise(QUIET, generator(seed), wanted_db, wanted_db) - QUIET
    assert level(QUIET) - level(noise) == pytest.approx(wanted_db, abs=0.5)


@given(st.integers(0, 2**32))
def test_noise_stays_in_its_range(seed: int) -> None:
    noise = with_noise(QUIET, generator(seed), 10, 20) - QUIET
    assert 9.5 <= level(QUIET) - level(noise) <= 20.5


def test_noise_has_many_colours() -> None:
    tilts = []
    for seed in range(40):
        noise = with_noise(QUIET, generator(seed), 10, 10) - QUIET
        power = np.abs(np.fft.rfft(noise)) ** 2
        low, high = power[10:1000].mean(), power[-1000:].mean()
        tilts.append(10 * np.log10(low / high))
    assert min(tilts) < 3  # nearly white
    assert max(tilts) > 15  # nearly red


def test_silence_gets_faint_noise() -> None:
    found = with_noise(np.zeros(RATE, np.float32), generator(1), 10, 10)
    assert np.isfinite(found).all()
    assert level(found) == pytest.approx(-90, abs=1)


@given(st.integers(0, 2**32), st.floats(-30, 6), st.floats(0, 6))
def test_gain_is_in_its_range(seed: int, low: float, width: float) -> None:
    found = with_gain(QUIET, generator(seed), low, low + width)
    assert low - 0.01 <= level(found) - level(QUIET) <= low + width + 0.01


def test_gain_clips_as_a_converter_would() -> None:
    found = with_gain(SPEECH, generator(0), 40, 40)
    assert np.abs(found).max() == 1
    loud = np.abs(SPEECH) > 0.02
    assert np.array_equal(np.sign(found[loud]), np.sign(SPEECH[loud]))


@given(
    st.integers(0, 2**32), st.lists(st.integers(0, 400), min_size=1, max_size=5), st.floats(0, 0.2)
)
def test_joined_length_and_order(seed: int, sizes: list[int], shortest: float) -> None:
    longest = shortest + 0.1
    pieces = [np.full(size, number + 1, np.float32) for number, size in enumerate(sizes)]
    found = joined(pieces, RATE, generator(seed), (shortest, longest))
    pauses = len(found) - sum(sizes)
    assert (len(sizes) + 1) * (shortest * RATE - 1) <= pauses <= (len(sizes) + 1) * longest * RATE
    assert np.array_equal(found[found > 0], np.concatenate(pieces))


@pytest.mark.parametrize("factor", SPEEDS)
def test_speed_changes_length_and_pitch_together(factor: float) -> None:
    tone = np.asarray(0.5 * np.sin(2 * np.pi * 500 * np.arange(2 * RATE) / RATE), np.float32)
    found = at_speed(tone, factor, RATE)
    assert len(found) == pytest.approx(len(tone) / factor, abs=2)
    peak = np.abs(np.fft.rfft(found)).argmax() * RATE / len(found)
    assert peak == pytest.approx(500 * factor, abs=2)
    assert level(found) == pytest.approx(level(tone), abs=0.2)


def test_speed_one_is_the_recording_itself() -> None:
    assert at_speed(SPEECH, 1.0, RATE) is SPEECH
