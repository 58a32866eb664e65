"""Steps that add sound: recorded or simulated noise, and the babble of other utterances."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from aimass.augment.level import decibels
from aimass.augment.sounds import Recording, Sounds
from aimass.augment.spectrum import by_size, waveforms
from aimass.augment.step import Entry, Range, Step, seed, uniform
from aimass.base.contract import Samples
from aimass.base.randomness import generator

FLAT_HZ = 60.0  # below, coloured noise is flat: a red noise would be nothing but rumble
FAINT = 1e-8  # power that stands for silence, -80 dB


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(Step):
    """Background noise at a signal-to-noise ratio over the whole utterance.

    Args:
        snr_db: mean power of the utterance over that of the noise.
        recorded: share of recorded noise where there is any; the rest is simulated.
        slope: simulated noise falls with ``1 / f ** slope``, from 0 (white) to 2 (red), which
            spans the background of telephones, rooms and streets.
    """

    kind: ClassVar[str] = "noise"
    bounds: ClassVar[dict[str, Range]] = {
        "snr_db": (-20, 100),
        "recorded": (0, 1),
        "slope": (-2, 4),
    }
    snr_db: Range = (5.0, 30.0)
    recorded: float = 0.7
    slope: Range = (0.0, 2.0)

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The ratio, and which recording from where, or the seed and slope of a simulation."""
        entry = {"step": self.kind, "snr_db": uniform(rng, self.snr_db)}
        if sounds.noises and rng.random() < self.recorded:
            name = list(sounds.noises)[rng.integers(len(sounds.noises))]
            return entry | {"recording": name, "offset": uniform(rng, (0.0, 1.0), 6)}
        return entry | {"slope": uniform(rng, self.slope), "seed": seed(rng)}

    @classmethod
    def apply(
        cls, batch: Sequence[Samples], entries: Sequence[Entry], rate: int, sounds: Sounds
    ) -> list[Samples]:
        """The same shapes, with noise; simulated noise is made for the whole batch at once."""
        noises: dict[int, Samples] = {}
        simulated = [n for n, entry in enumerate(entries) if "recording" not in entry]
        for size, which in by_size([len(batch[n]) for n in simulated]):
            rows = [simulated[i] for i in which]
            noises |= zip(rows, coloured([entries[n] for n in rows], size, rate), strict=True)
        for n, entry in enumerate(entries):
            if "recording" in entry:
                found = sounds.noise(entry["recording"])
                noises[n] = piece(found, entry["offset"], len(batch[n]))
        return [
            mixed(samples, noises[n][: len(samples)], entry["snr_db"])
            for n, (samples, entry) in enumerate(zip(batch, entries, strict=True))
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Babble(Step):
    """Other utterances that go on at the same time; none without `Sounds.talkers`.

    Args:
        snr_db: mean power of the utterance over that of all others together.
        talkers: fewest and most of them; one is a competing speaker.
    """

    kind: ClassVar[str] = "babble"
    bounds: ClassVar[dict[str, Range]] = {"snr_db": (-20, 100), "talkers": (1, 50)}
    snr_db: Range = (8.0, 25.0)
    talkers: Range = (1, 6)

    def draw(self, rng: np.random.Generator, seconds: float, sounds: Sounds) -> Entry | None:
        """The ratio, who talks and from where in the utterance, 0 to 1."""
        if not sounds.talkers:
            return None
        names = list(sounds.talkers)
        low, high = self.talkers
        chosen = rng.integers(len(names), size=int(rng.integers(int(low), int(high) + 1)))
        return {
            "step": self.kind,
            "snr_db": uniform(rng, self.snr_db),
            "talkers": [[names[i], uniform(rng, (0.0, 1.0), 6)] for i in chosen],
        }

    @classmethod
    def one(cls, samples: Samples, entry: Entry, rate: int, sounds: Sounds) -> Samples:
        """The same shape, with all talkers equally loud in it."""
        total = np.zeros(len(samples), np.float32)
        for name, offset in entry["talkers"]:
            voice = piece(sounds.talker(name), offset, len(samples))
            total += voice / np.float32(np.sqrt(power(voice) + FAINT))
        return mixed(samples, total, entry["snr_db"])


def power(samples: Samples) -> float:
    """The mean square."""
    return float(np.dot(samples, samples)) / len(samples)


def mixed(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """The sum at a signal-to-noise ratio; silence counts as -80 dB, silent noise adds nothing."""
    loud = power(noise)
    if loud <= 0:
        return samples.copy()
    wanted = (power(samples) or FAINT) * decibels(-snr_db) ** 2
    return samples + noise * np.float32(np.sqrt(wanted / loud))


def piece(recording: Recording, offset: float, length: int) -> Samples:
    """`length` samples of a recording from a point in it, 0 to 1, again and again if short."""
    own = recording.samples
    start = int(offset * len(own)) % len(own)
    if start + length <= len(own):
        return own[start : start + length]
    rounds = -(-(start + length) // len(own))
    return np.tile(own, rounds)[start : start + length]


def coloured(entries: Sequence[Entry], size: int, rate: int) -> npt.NDArray[np.float32]:
    """Gaussian noise of each entry's slope and seed, shape ``(entries, size)``.

    Drawn as a spectrum, whose bins are independent, so that one inverse transform is all.
    """
    bins = size // 2 + 1
    white = np.stack([generator(e["seed"]).standard_normal(2 * bins, np.float32) for e in entries])
    octaves = np.log(np.maximum(np.arange(bins) * (rate / size), FLAT_HZ) / FLAT_HZ)
    slopes = np.array([[e["slope"]] for e in entries], np.float32)
    shape = np.exp(-0.5 * slopes * octaves.astype(np.float32))
    shape[:, 0] = 0  # no offset
    spectrum = white.view(np.complex64) * shape
    return waveforms(spectrum, size)
