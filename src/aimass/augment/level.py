"""Steps about loudness and place: gain, overdrive, and silence around an utterance."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aimass.augment.sounds import Sounds
from aimass.augment.step import Entry, Range, Step, uniform
from aimass.base.contract import Samples


def decibels(gain: float) -> float:
    """The factor of an amplitude for a number of decibels."""
    return float(10 ** (gain / 20))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain(Step):
    """Louder or softer, at most to full scale: overdrive is the step `Clip`."""

    kind: ClassVar[str] = "gain"
    bounds: ClassVar[dict[str, Range]] = {"db": (-60, 40)}
    db: Range = (-20.0, 6.0)

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The gain, dB."""
        return {"step": self.kind, "db": uniform(rng, self.db)}

    @classmethod
    def one(cls, samples: Samples, entry: Entry, rate: int, sounds: Sounds) -> Samples:
        """The same shape, times the gain."""
        return samples * np.float32(decibels(entry["db"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip(Step):
    """A microphone or converter driven too far: the loudest part of the waveform is cut flat.

    Args:
        db: how far the peak lies above the limit.
    """

    kind: ClassVar[str] = "clip"
    bounds: ClassVar[dict[str, Range]] = {"db": (0, 40)}
    db: Range = (1.0, 12.0)

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The overdrive, dB."""
        return {"step": self.kind, "db": uniform(rng, self.db)}

    @classmethod
    def one(cls, samples: Samples, entry: Entry, rate: int, sounds: Sounds) -> Samples:
        """The same shape, cut at the peak less the drawn decibels; the level around stays."""
        limit = float(np.abs(samples).max()) * decibels(-entry["db"])
        return samples.clip(-limit, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift(Step):
    """The utterance begins anywhere within its padding; nothing of it is cut.

    Args:
        padding: seconds of digital silence that are put around, divided by the draw.
    """

    kind: ClassVar[str] = "shift"
    bounds: ClassVar[dict[str, Range]] = {"padding": (0, 10)}
    padding: float = 0.2

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """Seconds before and after."""
        before = uniform(rng, (0.0, self.padding))
        return {"step": self.kind, "before": before, "after": round(self.padding - before, 4)}

    @classmethod
    def one(cls, samples: Samples, entry: Entry, rate: int, sounds: Sounds) -> Samples:
        """Longer by the padding."""
        return np.pad(samples, (round(entry["before"] * rate), round(entry["after"] * rate)))
