"""Whisper's own log-mel spectrogram (Radford et al. 2022, section 2.2).

A Hann window of 25 ms centred on every 10 ms, mel bands of equal area on Slaney's scale, and the
logarithm to base 10, brought to about [-1, 1]. The sound is mirrored at its start and followed by
silence. Whisper also raises what is more than 80 dB below the loudest point of the whole recording
to that level: this is left to the model (`CLAMP`), because a stream does not know its future.
"""

from functools import cache

import numpy as np

from aimass.base.contract import Samples
from aimass.features import mel
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.windows import windows

FLOOR = np.float32(1e-10)
CLAMP = 2.0
"""How far below its loudest point Whisper hears: 80 dB, in the units of a frame."""

CHUNK = 128  # frames that are worked on together: bounds the memory, and stays in the cache


class WhisperStream:
    """Whisper's mel bands of one speaker's audio as it comes in."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._samples = np.empty(0, np.float32)  # from the start of the next window on
        self._mirrored = False
        self._heard = 0
        self._given = 0

    def accept(self, samples: Samples) -> Frames:
        """Take samples, shape ``(n,)``, and give the frames they complete."""
        self._heard += len(samples)
        self._append(samples)
        ready = (len(self._samples) - self._spec.length) // self._spec.shift + 1
        return self._take(ready if self._mirrored else 0)

    def finish(self) -> Frames:
        """No more samples will come: the frames that were waiting for them."""
        missing = self._spec.frames(self._heard) - self._given
        self._append(np.zeros(self._spec.length, np.float32))
        return self._take(missing)

    def _append(self, samples: Samples) -> None:
        parts = [self._samples, samples]
        half = self._spec.length // 2
        if not self._mirrored and len(self._samples) + len(samples) > half:
            start = np.concatenate(parts)
            parts = [start[half:0:-1], start]
            self._mirrored = True
        self._samples = np.concatenate(parts, dtype=np.float32)

    def _take(self, count: int) -> Frames:
        count, shift = max(0, count), self._spec.shift
        frames = np.empty((count, self._spec.bins), np.float32)
        for first in range(0, count, CHUNK):
            part = frames[first : first + CHUNK]
            end = (first + len(part) - 1) * shift + self._spec.length
            _fill(part, self._samples[first * shift : end], self._spec)
        self._samples = self._samples[count * shift :].copy()
        self._given += count
        return frames


def _fill(frames: Frames, samples: Samples, spec: FeatureSpec) -> None:
    faded = windows(np.ascontiguousarray(samples), spec.length, spec.shift) * _window(spec.length)
    spectrum = np.fft.rfft(faded)
    energies = (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32)
    np.matmul(energies, mel.slaney(spec.sample_rate, spec.length, spec.bins), out=frames)
    np.log10(np.maximum(frames, FLOOR, out=frames), out=frames)
    frames += 4
    frames /= 4


@cache
def _window(length: int) -> Samples:
    return np.hanning(length + 1)[:-1].astype(np.float32)
