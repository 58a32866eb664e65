"""Waveform augmentation: every draw comes from the generator that is passed in."""

from collections.abc import Sequence

import numpy as np

from aimass.audio.resample import resample
from aimass.base.contract import Samples

SPEEDS = (0.9, 1.0, 1.1)
"""Speed perturbation factors of Ko et al. 2015, "Audio augmentation for speech recognition"."""


def at_speed(samples: Samples, factor: float, rate: int) -> Samples:
    """Play faster or slower, pitch and tempo together; ``factor`` 1.1 is 10 % faster."""
    return samples if factor == 1.0 else resample(samples, round(rate * factor), rate)


def joined(
    pieces: Sequence[Samples], rate: int, rng: np.random.Generator, pause: tuple[float, float]
) -> Samples:
    """Utterances in a row, with a pause before, between and after them.

    Args:
        pieces: mono samples of each utterance.
        pause: shortest and longest pause, seconds.
    """
    lengths = (rng.uniform(*pause, len(pieces) + 1) * rate).astype(int)
    parts = [np.zeros(lengths[0], np.float32)]
    for piece, length in zip(pieces, lengths[1:], strict=True):
        parts += [piece, np.zeros(length, np.float32)]
    return np.concatenate(parts)


def with_gain(samples: Samples, rng: np.random.Generator, low_db: float, high_db: float) -> Samples:
    """Louder or softer by a drawn number of decibels, clipped as a converter would."""
    gain = 10 ** (rng.uniform(low_db, high_db) / 20)
    return np.asarray(np.clip(samples * np.float32(gain), -1, 1))


def with_noise(
    samples: Samples, rng: np.random.Generator, low_db: float, high_db: float
) -> Samples:
    """Stationary noise of a drawn colour, from white to red, at a drawn signal-to-noise ratio.

    The spectrum falls with ``1 / f ** slope`` with a slope between 0 (white) and 2 (red), which
    spans the background of telephones, rooms and streets.
    """
    power = float(np.mean(np.square(samples))) or 1e-8
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)).astype(np.float32))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** (rng.uniform(0, 2) / 2)
    noise = np.fft.irfft(spectrum, len(samples)).astype(np.float32)
    wanted = power / 10 ** (rng.uniform(low_db, high_db) / 10)
    noise *= np.sqrt(wanted / (float(np.mean(np.square(noise))) + 1e-20))
    return np.asarray(np.clip(samples + noise, -1, 1))
