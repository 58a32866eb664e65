"""Real sound as features, for models of any number of columns."""

from functools import cache
from itertools import pairwise
from pathlib import Path

from aimass.audio.decode import load
from aimass.base.contract import Samples
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract

SAMPLES = Path(__file__).parents[2] / "samples"
RATE = 8000


@cache
def speech() -> Samples:
    """Eleven seconds of a speech."""
    return load(SAMPLES / "jfk.wav", rate=RATE).mono()


@cache
def clips(columns: int, count: int = 5) -> tuple[Frames, ...]:
    """Stretches of it, ``(frames, columns)`` each, of unequal length."""
    frames = extract(speech(), FeatureSpec(sample_rate=RATE, bins=columns))
    ends = [round(len(frames) * (n / count) ** 1.2) for n in range(count + 1)]
    return tuple(frames[a:b] for a, b in pairwise(ends))
