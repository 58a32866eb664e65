"""Band energies behind a fixed bank of gammatone filters, the model of the cochlea.

Filters of the fourth order (Patterson et al. 1992) as wide as the ear's and spaced like them
(Glasberg and Moore 1990), then the power of their envelope averaged over each frame, as in Schlüter
et al. 2007, "Gammatone features and feature combination for large vocabulary speech recognition".
The filters are complex, so the envelope needs no rectifier, and it is taken only as often as it can
change: narrow filters are long and slow, wide ones short and fast, and all cost the same.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Samples
from aimass.features.mel import BELOW_NYQUIST
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.windows import windows

LOWEST = 50.0  # centre of the lowest filter in hertz
ORDER = 4
DECAY = 15.0  # time constants that a filter lasts: 60 dB below its peak
POINTS = 4.0  # looks at an envelope in the time 1 / bandwidth
SPREAD = 1.4  # between the widths of filters that are computed together
CHUNK = 128  # frames that are worked on together: bounds the memory, and stays in the cache


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring filters of similar length.

    Args:
        columns: which of the bank's.
        taps: their impulse responses, newest sample last, ``(length, 2 * filters)``: real parts,
            then imaginary parts.
        hop: samples between two looks at the envelope.
        weights: of the looks that make a frame, ``(looks,)``.
        first: sample of the first look, counted from the start of the frame.
    """

    columns: slice
    taps: npt.NDArray[np.float32]
    hop: int
    weights: npt.NDArray[np.float32]
    first: int


class GammatoneStream:
    """Filter energies of one speaker's audio as it comes in."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._groups = _groups(spec)
        self._back = max(len(group.taps) - group.first for group in self._groups)
        ahead = max(group.first + (len(group.weights) - 1) * group.hop for group in self._groups)
        self._span = self._back + ahead
        self._samples = np.zeros(self._back - 1, np.float32)  # what the next frame hears
        self._heard = 0
        self._given = 0

    def accept(self, samples: Samples) -> Frames:
        """Take samples, shape ``(n,)``, and give the frames they complete."""
        self._heard += len(samples)
        self._samples = np.concatenate([self._samples, samples], dtype=np.float32)
        return self._take((len(self._samples) - self._span) // self._spec.shift + 1)

    def finish(self) -> Frames:
        """No more samples will come: the frames that were waiting for them."""
        missing = self._spec.frames(self._heard) - self._given
        needed = (missing - 1) * self._spec.shift + self._span
        silence = np.zeros(max(0, needed - len(self._samples)), np.float32)
        self._samples = np.concatenate([self._samples, silence])
        return self._take(missing)

    def _take(self, count: int) -> Frames:
        count, shift = max(0, count), self._spec.shift
        frames = np.empty((count, self._spec.bins), np.float32)
        for first in range(0, count, CHUNK):
            part = frames[first : first + CHUNK]
            for group in self._groups:
                self._fill(part[:, group.columns], group, self._samples[first * shift :])
        self._samples = self._samples[count * shift :].copy()
        self._given += count
        return frames

    def _fill(self, frames: Frames, group: Group, samples: Samples) -> None:
        length, filters = len(group.taps), group.taps.shape[1] // 2
        looks, each = len(group.weights), self._spec.shift // group.hop
        start = self._back - 1 + group.first - (length - 1)
        end = start + ((len(frames) - 1) * each + looks - 1) * group.hop + length
        heard = np.ascontiguousarray(windows(samples[start:end], length, group.hop))
        parts = np.square(heard @ group.taps)
        power = parts[:, :filters] + parts[:, filters:]
        np.einsum("flb,l->fb", windows(power, looks, each), group.weights, out=frames)


def centres(spec: FeatureSpec) -> npt.NDArray[np.float64]:
    """Centre frequencies in hertz, equally far apart for the ear, ``(bins,)``."""
    low, high = (
        21.4 * np.log10(1 + 0.00437 * f) for f in (LOWEST, spec.sample_rate / 2 - BELOW_NYQUIST)
    )
    return (10 ** (np.linspace(low, high, spec.bins) / 21.4) - 1) / 0.00437


def widths(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bandwidth of a gammatone filter that hears as much as the ear's, in hertz."""
    return 1.019 * 24.7 * (1 + 0.00437 * hertz)


@cache
def _groups(spec: FeatureSpec) -> list[Group]:
    middle = centres(spec)
    wide = widths(middle)
    groups, first = [], 0
    while first < len(wide):
        last = int(np.searchsorted(wide, SPREAD * wide[first], side="right"))
        groups.append(_group(spec, middle, wide, slice(first, last)))
        first = last
    return groups


def _group(
    spec: FeatureSpec,
    middle: npt.NDArray[np.float64],
    wide: npt.NDArray[np.float64],
    columns: slice,
) -> Group:
    hop = _hop(spec.shift, POINTS * wide[columns][-1] * spec.frame_shift)
    half, centre = spec.length / 2, spec.shift / 2
    reach = int((half - centre) // hop) + 2
    places = np.arange(-reach, spec.shift // hop + reach) * hop + hop // 2
    places = places[np.abs(places - centre) < half]
    weights = 0.5 + 0.5 * np.cos(np.pi * (places - centre) / half)
    return Group(
        columns,
        _taps(middle[columns], wide[columns], spec.sample_rate),
        hop,
        # A tone then has about the energy that it has in a mel band.
        (weights / weights.sum() * (spec.length / 4) ** 2).astype(np.float32),
        int(places[0]),
    )


def _hop(shift: int, looks: float) -> int:
    """The longest hop with so many looks in a shift, such that all frames are looked at alike."""
    fitting = (hop for hop in range(2, shift + 1) if shift % hop == 0 and shift >= looks * hop)
    return max(fitting, default=1)


def _taps(
    middle: npt.NDArray[np.float64], wide: npt.NDArray[np.float64], rate: int
) -> npt.NDArray[np.float32]:
    """Impulse responses whose output for a tone at the centre has the tone's amplitude."""
    length = int(np.ceil(DECAY / (2 * np.pi * wide[0]) * rate))
    time = np.arange(length)[::-1, None] / rate
    envelope = time ** (ORDER - 1) * np.exp(-2 * np.pi * wide * time)
    envelope *= 2 / envelope.sum(axis=0)
    angle = 2 * np.pi * middle * time
    return np.hstack([envelope * np.cos(angle), envelope * np.sin(angle)]).astype(np.float32)
