"""Steps about the way from the microphone to the recogniser: telephone lines and codecs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, get_args

import numpy as np

from aimass.audio import g711
from aimass.audio.resample import resample
from aimass.augment.codec import FORMS, fitted, through
from aimass.augment.sounds import Sounds
from aimass.augment.spectrum import convolved
from aimass.augment.step import Entry, Range, Step, bad_value
from aimass.base.contract import Samples

BAND = (300.0, 3400.0)
"""What a telephone line carries, Hz (ITU-T G.712)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telephone(Step):
    """A telephone line: 300 to 3400 Hz, 8 kHz, G.711.

    Args:
        laws: ``mulaw``, ``alaw`` or ``none`` (the band alone), each as likely.
    """

    kind: ClassVar[str] = "telephone"
    bounds: ClassVar[dict[str, Range]] = {}
    laws: tuple[str, ...] = g711.LAWS

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        _among(self.kind, "laws", self.laws, (*g711.LAWS, "none"))

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The law."""
        return {"step": self.kind, "law": self.laws[rng.integers(len(self.laws))]}

    @classmethod
    def apply(
        cls, batch: Sequence[Samples], entries: Sequence[Entry], rate: int, sounds: Sounds
    ) -> list[Samples]:
        """The same shapes and the same times."""
        filters = [_band(rate)] * len(batch)
        narrow = convolved(batch, filters, [len(one) // 2 for one in filters])
        return [_line(x, entry["law"], rate) for x, entry in zip(narrow, entries, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec(Step):
    """A lossy codec at a low rate, as in calls and voice messages.

    Args:
        codecs: names of `aimass.augment.codec.FORMS`, each as likely.
        bits: least and most bits per second.
    """

    kind: ClassVar[str] = "codec"
    bounds: ClassVar[dict[str, Range]] = {"bits": (1_000, 512_000)}
    codecs: tuple[str, ...] = ("opus", "amr", "mp3")
    bits: Range = (4_000, 32_000)

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        _among(self.kind, "codecs", self.codecs, tuple(FORMS))
        for name in self.codecs:
            if not _rates(name, self.bits):
                raise bad_value(self.kind, "bits", self.bits, f"one of {FORMS[name].bit_rates}")

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The codec and its bit rate."""
        name = self.codecs[rng.integers(len(self.codecs))]
        rates = _rates(name, self.bits)
        return {"step": self.kind, "codec": name, "bits": rates[rng.integers(len(rates))]}

    @classmethod
    def one(cls, samples: Samples, entry: Entry, rate: int, sounds: Sounds) -> Samples:
        """The same shape and the same times."""
        return through(samples, rate, entry["codec"], entry["bits"])


def _rates(name: str, bits: Range) -> list[int]:
    return [one for one in FORMS[name].bit_rates if bits[0] <= one <= bits[1]]


def _line(samples: Samples, law: str, rate: int) -> Samples:
    narrow = resample(samples, rate, g711.RATE)
    for known in get_args(g711.Law):
        if law == known:
            narrow = g711.decode(g711.encode(narrow, known), known)
    return fitted(resample(narrow, g711.RATE, rate), len(samples))


@cache
def _band(rate: int) -> Samples:
    """A band-pass of 20 ms that delays all frequencies alike: two windowed sincs, subtracted."""
    length = 2 * round(0.01 * rate) + 1
    time = (np.arange(length) - length // 2) / rate
    upper, lower = (2 * hz / rate * np.sinc(2 * hz * time) for hz in reversed(BAND))
    response = (upper - lower) * np.blackman(length)
    return response.astype(np.float32)


def _among(kind: str, field: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not values or not isinstance(values, tuple) or not set(values) <= set(known):
        raise bad_value(kind, field, values, f"some of {', '.join(known)}")
