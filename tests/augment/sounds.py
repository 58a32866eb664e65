"""Speech, and a few sounds to mix into it, made of what the repository holds."""

from functools import cache
from pathlib import Path

import numpy as np

from aimass.audio.decode import load
from aimass.augment.sounds import Sounds, shelf
from aimass.base.contract import Samples
from aimass.base.randomness import generator

SAMPLES = Path(__file__).parents[2] / "samples"
RATE = 16_000


@cache
def speech() -> Samples:
    """Eleven seconds at 16 kHz."""
    return load(SAMPLES / "jfk.wav").mono()


@cache
def utterances() -> tuple[Samples, ...]:
    """Speech of many lengths, from 0.1 s to 2 s."""
    lengths = (1600, 4001, 9000, 16_000, 16_384, 23_456, 32_000)
    return tuple(speech()[5000 * n + 4000 :][:length] for n, length in enumerate(lengths))


@cache
def sounds(rate: int = RATE) -> Sounds:
    """A hum, a hiss shorter than most speech, a room with an early and a late echo, two voices."""
    rng = generator(0, "sounds")
    hum = np.sin(2 * np.pi * 120 * np.arange(3 * rate) / rate)
    hiss = rng.standard_normal(rate // 5)
    room = np.zeros(rate // 4)
    room[80], room[80 + rate // 50], room[80 + rate // 8] = 0.8, 0.5, -0.3
    room[80:] += (
        0.02 * rng.standard_normal(len(room) - 80) * np.exp(-np.linspace(0, 5, len(room) - 80))
    )
    voices = {"a.wav": speech()[:40_000], "b.wav": speech()[60_000:80_000]}
    return Sounds(
        noises=shelf({"hum.wav": as_samples(0.1 * hum), "street/hiss.wav": as_samples(0.1 * hiss)}),
        rooms=shelf({"hall.wav#1": as_samples(room)}),
        talkers=shelf(voices),
    )


def as_samples(values: np.ndarray) -> Samples:
    """Float32."""
    return values.astype(np.float32)


def decibels(samples: Samples) -> float:
    """Mean power."""
    return 10 * float(np.log10(np.mean(np.square(samples.astype(np.float64))) + 1e-20))


def tone(hz: float, seconds: float = 1.0, rate: int = RATE) -> Samples:
    """A sine at half of full scale."""
    return as_samples(0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate))


def band_db(samples: Samples, low: float, high: float, rate: int = RATE) -> float:
    """Energy between two frequencies, dB."""
    energy = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / rate)
    return 10 * float(np.log10(energy[(hz >= low) & (hz < high)].sum() + 1e-20))
