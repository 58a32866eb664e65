"""Samples to frames, for whole recordings, batches of them, and streams.

A stream in any pieces gives the frames of the whole recording, and a batch those of each alone, but
for rounding.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from aimass.base.contract import Samples
from aimass.features import whole
from aimass.features.compress import Pcen, logarithm
from aimass.features.gammatone import GammatoneStream
from aimass.features.kaldi import KaldiStream
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.waveform import WaveformStream
from aimass.features.whisper import WhisperStream


class _Stream(Protocol):
    def accept(self, samples: Samples) -> Frames: ...

    def finish(self) -> Frames: ...


class FeatureStream:
    """Features of one speaker's audio as it comes in."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._frames = _stream(spec)
        self._compress = _compression(spec)

    def accept(self, samples: Samples) -> Frames:
        """Take samples, shape ``(n,)``, and give the frames they complete."""
        return self._compress(self._frames.accept(samples))

    def finish(self) -> Frames:
        """No more samples will come: the frames that were waiting for them."""
        return self._compress(self._frames.finish())


def extract(samples: Samples, spec: FeatureSpec) -> Frames:
    """Features of a whole recording, shape ``(frames, columns)``."""
    return extract_batch([samples], spec)[0]


def extract_batch(samples: Sequence[Samples], spec: FeatureSpec) -> list[Frames]:
    """Features of several recordings, each as `extract` gives them."""
    if spec.kind in ("gammatone", "waveform", "whisper"):
        return [_in_one_piece(one, spec) for one in samples]
    energies = whole.bands(samples, spec)
    if spec.kind == "mfcc":
        return [whole.cepstrum(found, spec) for found in energies]
    if spec.compression == "pcen":
        return [Pcen(spec.frame_shift)(found) for found in energies]
    return [logarithm(found) for found in energies]


def _in_one_piece(samples: Samples, spec: FeatureSpec) -> Frames:
    stream = FeatureStream(spec)
    return np.concatenate([stream.accept(samples), stream.finish()])


def _stream(spec: FeatureSpec) -> _Stream:
    if spec.kind == "gammatone":
        return GammatoneStream(spec)
    if spec.kind == "waveform":
        return WaveformStream(spec)
    if spec.kind == "whisper":
        return WhisperStream(spec)
    return KaldiStream(spec, logarithm=spec.compression == "log")


def _compression(spec: FeatureSpec) -> Callable[[Frames], Frames]:
    """What is left to do behind `_stream`."""
    if spec.compression == "pcen":
        return Pcen(spec.frame_shift)
    return logarithm if spec.kind == "gammatone" else _as_it_is


def _as_it_is(frames: Frames) -> Frames:
    return frames
