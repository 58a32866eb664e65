"""Steps that change how fast and how high someone speaks."""

from dataclasses import dataclass
from typing import Any, ClassVar

import av
import numpy as np

from aimass.audio.resample import resample
from aimass.augment.codec import fitted
from aimass.augment.sounds import Sounds
from aimass.augment.step import Entry, Range, Step, uniform
from aimass.base.contract import Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed(Step):
    """Faster or slower as a tape is, pitch and tempo together (Ko et al. 2015)."""

    kind: ClassVar[str] = "speed"
    bounds: ClassVar[dict[str, Range]] = {"factor": (0.5, 2)}
    factor: Range = (0.9, 1.1)

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The factor; 1.1 is 10 % faster."""
        return {"step": self.kind, "factor": uniform(rng, self.factor)}

    @classmethod
    def one(cls, samples: Samples, entry: Entry, rate: int, sounds: Sounds) -> Samples:
        """Shorter by the factor."""
        return resampled(samples, entry["factor"], rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo(Step):
    """Faster or slower at the same pitch."""

    kind: ClassVar[str] = "tempo"
    bounds: ClassVar[dict[str, Range]] = {"factor": (0.5, 2)}
    factor: Range = (0.85, 1.15)

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The factor; 1.1 is 10 % faster."""
        return {"step": self.kind, "factor": uniform(rng, self.factor)}

    @classmethod
    def one(cls, samples: Samples, entry: Entry, rate: int, sounds: Sounds) -> Samples:
        """Shorter by the factor."""
        return at_tempo(samples, entry["factor"], rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warp(Step):
    """A shorter or longer vocal tract: formants and pitch move, the duration stays.

    What vocal tract length perturbation does to a spectrogram (Jaitly and Hinton 2013), done to
    the waveform: a change of speed, and of tempo back. It makes new speakers out of known ones.

    Args:
        factor: by which all frequencies are multiplied; 1.1 is a smaller head.
    """

    kind: ClassVar[str] = "warp"
    bounds: ClassVar[dict[str, Range]] = {"factor": (0.5, 2)}
    factor: Range = (0.87, 1.15)

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The factor."""
        return {"step": self.kind, "factor": uniform(rng, self.factor)}

    @classmethod
    def one(cls, samples: Samples, entry: Entry, rate: int, sounds: Sounds) -> Samples:
        """The same length."""
        moved = resampled(samples, entry["factor"], rate)
        return fitted(at_tempo(moved, 1 / entry["factor"], rate), len(samples))


def resampled(samples: Samples, factor: float, rate: int) -> Samples:
    """Played `factor` times as fast; what is too short for the filter stays as it is."""
    heard = resample(samples, round(rate * factor), rate)
    return heard if len(heard) else samples.copy()


def at_tempo(samples: Samples, factor: float, rate: int) -> Samples:
    """Spoken `factor` times as fast at the same pitch, ``round(n / factor)`` samples.

    FFmpeg's ``atempo``, waveform-similarity overlap-add (Verhelst and Roelands 1993). It drops
    the first half of its window, and what does not fill the last: silence stands there.
    """
    window = 1 << (rate // 24 - 1).bit_length()  # the power of two that atempo takes
    graph: Any = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=f"1/{rate}")
    tempo, sink = graph.add("atempo", f"{factor:.6f}"), graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    padded = np.pad(samples, (window // 2, 4 * window))
    frame: Any = av.AudioFrame.from_ndarray(padded[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts = rate, 0
    source.push(frame)
    source.push(None)
    return fitted(_drained(sink), max(1, round(len(samples) / factor)))


def _drained(sink: Any) -> Samples:
    """All samples that a filter graph still gives."""
    parts = [np.zeros(0, np.float32)]
    while True:
        try:
            parts.append(sink.pull().to_ndarray()[0])
        except (av.error.EOFError, av.error.BlockingIOError):
            return np.concatenate(parts)
