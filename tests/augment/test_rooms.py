"""Rooms echo as long as they were drawn to, and leave the words where they were."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.augment.policy import NO_SOUNDS, Policy, apply, draw
from aimass.augment.rooms import SOUND, WALL, Reverb, direct, simulated
from aimass.augment.sounds import Sounds
from aimass.base.contract import Samples
from aimass.base.randomness import generator

from .sounds import RATE, decibels, sounds, speech, tone


def entry(seed: int = 0, own: Sounds = NO_SOUNDS, **values: Any) -> dict[str, Any]:
    return draw(Policy("one", (Reverb(**values),)), generator(seed), 1.0, own)[0]


def echoing(samples: Samples, seed: int, own: Sounds = NO_SOUNDS, **values: Any) -> Samples:
    return apply([samples], [[entry(seed, own, **values)]], RATE, own)[0]


def decay_seconds(response: Samples) -> float:
    """Reverberation time from the fall from -5 to -25 dB (Schroeder 1965)."""
    left = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    level = 10 * np.log10(left / left[0] + 1e-12)
    return 3 * float((level < -25).argmax() - (level < -5).argmax()) / RATE


@given(seed=st.integers(0, 2**32))
def test_everyone_is_inside_the_room(seed: int) -> None:
    drawn = entry(seed, side=(1.5, 20.0), distance=(0.1, 20.0))
    for place in (drawn["talker"], drawn["microphone"]):
        for where, length in zip(place, drawn["room"], strict=True):
            assert WALL - 0.01 <= where <= length - WALL + 0.01


@pytest.mark.parametrize("rt60", [0.2, 0.4, 0.8])
def test_echoes_last_as_long_as_drawn(rt60: float) -> None:
    found = [
        decay_seconds(simulated(entry(seed, rt60=(rt60, rt60), distance=(2, 3)), RATE))
        for seed in range(20)
    ]
    assert np.median(found) == pytest.approx(rt60, rel=0.25)


def test_reflections_come_when_walls_are_met() -> None:
    drawn = {"room": [5.0, 6.0, 3.0], "talker": [2.0, 3.0, 1.5], "microphone": [3.0, 3.0, 1.5]}
    response = simulated(drawn | {"rt60": 0.3, "seed": 1}, RATE)
    assert response[0] == pytest.approx(1)
    # Floor and ceiling: sqrt(1 + 3 ** 2) metres instead of 1.
    late = (np.sqrt(10) - 1) / SOUND * RATE
    around = response[int(late) - 1 : int(late) + 3]
    assert not response[1 : int(late)].any()
    assert around.sum() == pytest.approx(2 * response_loss(drawn, 0.3) / np.sqrt(10), rel=0.01)


def response_loss(drawn: dict[str, Any], rt60: float) -> float:
    """What a wall leaves of an amplitude, by Eyring's formula."""
    x, y, z = drawn["room"]
    surface = 2 * (x * y + y * z + z * x)
    absorbed = 24 * np.log(10) / SOUND * x * y * z / (surface * rt60)
    return float(np.exp(-absorbed / 2))


def test_far_talkers_are_more_echo() -> None:
    def clarity(distance: float) -> float:
        drawn = [entry(seed, distance=(distance, distance), side=(8, 9)) for seed in range(10)]
        responses = [simulated(one, RATE) for one in drawn]
        return float(np.median([1 / np.sum(h[1:] ** 2) for h in responses]))

    assert clarity(0.3) > 4 * clarity(2.5)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), own=st.sampled_from([NO_SOUNDS, sounds()]))
def test_words_stay_in_their_place_and_as_loud(seed: int, own: Sounds) -> None:
    sound = np.zeros(RATE, np.float32)
    sound[5000:12_000] = 0.2 * tone(1000)[:7000]
    heard = echoing(sound, seed, own)
    assert len(heard) == len(sound)
    begun = int((np.abs(heard) > 0.1 * np.abs(heard).max()).argmax())
    assert abs(begun - 5000) <= 0.002 * RATE
    assert decibels(heard) == pytest.approx(decibels(sound), abs=0.01)


def test_a_recorded_room_is_a_convolution() -> None:
    own, sound = sounds(), speech()[8_000:24_000] * np.float32(0.1)
    room = own.rooms["hall.wav#1"].samples
    assert direct(room) == 80
    known = np.convolve(sound, room)[80 : 80 + len(sound)]
    known *= np.sqrt(np.mean(sound**2) / np.mean(known**2))
    heard = echoing(sound, 0, own, recorded=1.0)
    assert np.abs(heard - known).max() < 1e-5


def test_silence_stays_silent() -> None:
    assert not echoing(np.zeros(4000, np.float32), 0).any()
