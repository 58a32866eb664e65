"""What the tests of this folder listen to, and when two sets of frames are the same."""

from functools import cache
from pathlib import Path

import numpy as np

from aimass.audio.decode import load
from aimass.base.contract import Samples
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import FeatureStream

JFK = Path(__file__).parents[2] / "samples/jfk.wav"

FBANKS = [
    FeatureSpec(),
    FeatureSpec(sample_rate=8000, bins=40),
    FeatureSpec(sample_rate=16000, bins=23, frame_length_ms=32.0, frame_shift_ms=8.0),
    FeatureSpec(sample_rate=22050, bins=64, frame_length_ms=20.0, frame_shift_ms=20.0),
]
MFCCS = [
    FeatureSpec(kind="mfcc", bins=13),
    FeatureSpec(kind="mfcc", bins=40, sample_rate=8000),
]
NEMOS = [
    FeatureSpec(kind="nemo"),
    FeatureSpec(kind="nemo", sample_rate=8000, bins=40),
    FeatureSpec(kind="nemo", sample_rate=22050, bins=3, frame_shift_ms=12.5),
]
GAMMATONES = [
    FeatureSpec(kind="gammatone", bins=64),
    FeatureSpec(kind="gammatone", bins=40, sample_rate=8000, compression="pcen"),
    FeatureSpec(kind="gammatone", bins=1, sample_rate=22050, frame_length_ms=10.0),
]
SPECS = [
    *FBANKS,
    FeatureSpec(compression="pcen"),
    FeatureSpec(sample_rate=8000, bins=40, frame_shift_ms=12.5, compression="pcen"),
    *MFCCS,
    *NEMOS,
    *GAMMATONES,
    FeatureSpec(kind="waveform"),
    FeatureSpec(kind="waveform", sample_rate=11025, frame_shift_ms=5.0),
]


@cache
def speech(rate: int) -> Samples:
    return load(JFK, rate=rate).mono()[rate : 3 * rate]


def in_pieces(samples: Samples, spec: FeatureSpec, cuts: list[int]) -> Frames:
    stream = FeatureStream(spec)
    frames = [stream.accept(piece) for piece in np.split(samples, sorted(cuts))]
    return np.concatenate([*frames, stream.finish()])


def same(one: Frames, other: Frames, spec: FeatureSpec) -> bool:
    """Whether only rounding lies between the two.

    A band 60 dB below the loudest keeps three of the seven digits that float32 has; liftering
    makes the high cepstral coefficients up to twelve times as large.
    """
    if one.shape != other.shape or one.dtype != np.float32 or other.dtype != np.float32:
        return False
    away = np.abs(one - other) / (12 if spec.kind == "mfcc" else 1)
    return not away.size or bool(away.max() < 5e-3 and np.median(away) < 1e-4)
