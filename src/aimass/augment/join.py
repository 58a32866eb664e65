"""Connected words from isolated ones, with pauses that sound like the recordings around them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimass.augment.noise import coloured
from aimass.augment.spectrum import size_for
from aimass.augment.step import Entry, Range, bad_value, seed, uniform
from aimass.base.contract import Samples
from aimass.base.errors import DataError

Starts = npt.NDArray[np.int64]

_FADE = 0.005  # seconds in which a recording comes in and goes out: a step would be a click
_FRAME = 0.01
_QUIET = 0.1  # quantile of the frames of a recording whose level is its background


@dataclass(frozen=True, slots=True)
class Join:
    """Pauses before, between and after utterances.

    Args:
        pause: shortest and longest, seconds.
        slope: of the background's spectrum, ``1 / f ** slope``.
    """

    pause: Range = (0.02, 0.3)
    slope: Range = (0.5, 1.5)

    def __post_init__(self) -> None:
        low, high = self.pause
        if not 0 <= low <= high <= 60:
            raise bad_value("join", "pause", self.pause, "two numbers from 0 to 60, seconds")

    def draw(self, rng: np.random.Generator, count: int) -> Entry:
        """The pauses and the background of `count` utterances in a row."""
        return {
            "step": "join",
            "pauses": [uniform(rng, self.pause) for _ in range(count + 1)],
            "slope": uniform(rng, self.slope),
            "seed": seed(rng),
        }


def connected(pieces: Sequence[Samples], entry: Entry, rate: int) -> Samples:
    """Utterances in a row as an entry of `Join` says, over a background that never stops.

    Digital silence between words would tell a model where they end. The background goes from
    the level of one recording's own quietest parts to that of the next.

    Args:
        pieces: mono samples of each utterance, in order.

    Raises:
        DataError: an entry that was drawn for another number of pieces.
    """
    if len(entry["pauses"]) != len(pieces) + 1:
        raise DataError(
            f"{len(entry['pauses'])} pauses for {len(pieces)} utterances",
            expected="one more than there are utterances",
            fix="Draw the entry anew for these utterances",
        )
    pauses = [round(seconds * rate) for seconds in entry["pauses"]]
    starts = np.cumsum([pauses[0], *(len(x) + p for x, p in zip(pieces, pauses[1:], strict=True))])
    out = np.zeros(int(starts[-1]), np.float32)
    if not len(out):
        return out
    for piece, start in zip(pieces, starts, strict=False):
        out[start : start + len(piece)] = _faded(piece, rate)
    return out + _background(pieces, starts, entry, rate)


def _background(pieces: Sequence[Samples], starts: Starts, entry: Entry, rate: int) -> Samples:
    """Noise in the pauses alone; its level goes from piece to piece on a line in decibels."""
    length = int(starts[-1])
    open_ = np.ones(length, np.float32)
    for piece, start in zip(pieces, starts, strict=False):
        open_[start : start + len(piece)] = 1 - _window(len(piece), rate)
    pauses = np.flatnonzero(open_)
    if not len(pauses):
        return open_
    # Only as much as is heard: speech parts the pauses, so nobody hears where one goes on.
    noise = coloured([entry], size_for(len(pauses)), rate)[0][: len(pauses)]
    noise /= np.float32(np.sqrt(np.dot(noise, noise) / len(noise)) + 1e-12)
    ends = [(start, start + len(x)) for x, start in zip(pieces, starts, strict=False)]
    levels = np.log(np.repeat([floor(x, rate) for x in pieces], 2) + 1e-8)
    level = np.exp(np.interp(pauses, np.array(ends).reshape(-1), levels))
    open_[pauses] *= (noise * level).astype(np.float32)
    return open_


def floor(samples: Samples, rate: int) -> float:
    """Root mean square of the quietest tenth of a recording's 10 ms frames."""
    frame = max(1, round(_FRAME * rate))
    count = len(samples) // frame
    if not count:
        return 0.0
    frames = samples[: count * frame].reshape(count, frame)
    return float(np.quantile(np.sqrt(np.mean(np.square(frames), axis=1)), _QUIET))


def _faded(samples: Samples, rate: int) -> Samples:
    return samples * _window(len(samples), rate)


def _window(length: int, rate: int) -> Samples:
    """One, with short ramps from and to zero."""
    rise = (np.arange(length) + 1) / max(1, round(_FADE * rate))
    return np.minimum(1, np.minimum(rise, rise[::-1])).astype(np.float32)
