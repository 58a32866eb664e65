"""Mel bands and cepstra of whole recordings, many at once.

The arithmetic is that of kaldi-native-fbank, done for all frames by a few array operations, which
leave the interpreter free for other threads.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Samples
from aimass.features import mel
from aimass.features.compress import logarithm
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.windows import windows

CHUNK = 24 << 10  # points of spectra that are worked on together: they stay in the cache
EMPHASIS = np.float32(0.97)
LIFTER = 22.0


def bands(samples: Sequence[Samples], spec: FeatureSpec) -> list[Frames]:
    """Mel band energies of every recording, each ``(frames, spec.bands)``."""
    row, firsts = _in_one_row(samples, spec)
    found = np.empty(((len(row) - spec.length) // spec.shift + 1, spec.bands), np.float32)
    _compute(row, spec, found)
    return [
        found[first : first + spec.frames(len(one))]
        for one, first in zip(samples, firsts, strict=True)
    ]


def cepstrum(energies: Frames, spec: FeatureSpec) -> Frames:
    """The first ``spec.bins`` cepstral coefficients of band energies."""
    return logarithm(energies) @ _cosines(spec.bands, spec.bins)


def _in_one_row(samples: Sequence[Samples], spec: FeatureSpec) -> tuple[Samples, list[int]]:
    """All recordings one after the other, mirrored at their ends, and the first frame of each.

    Every recording fills a multiple of the shift, so that one stride leads through all of them;
    the few frames that reach from one into the next are nobody's.
    """
    tail = -(-spec.length // spec.shift) - 1
    counts = [spec.frames(len(one)) for one in samples]
    blocks = [count + tail if count else 0 for count in counts]
    row = np.zeros((sum(blocks) + tail + 1) * spec.shift, np.float32)
    firsts, first = [], 0
    for one, count, size in zip(samples, counts, blocks, strict=True):
        if count:
            start = first * spec.shift
            _mirror(one, row[start : start + (count - 1) * spec.shift + spec.length], spec)
        firsts.append(first)
        first += size
    return row, firsts


def _mirror(samples: Samples, into: Samples, spec: FeatureSpec) -> None:
    """Write the samples with what their first and last windows hear beyond the ends."""
    count, before = len(samples), spec.length // 2 - spec.shift // 2
    inside = min(count, len(into) - before)
    into[before : before + inside] = samples[:inside]
    into[:before] = samples[_mirrored(np.arange(-before, 0), count)]
    after = np.arange(inside, len(into) - before)
    into[before + inside :] = samples[_mirrored(after, count)]


def _mirrored(places: npt.NDArray[np.intp], count: int) -> npt.NDArray[np.intp]:
    """Where the samples stand that a row of mirrors shows at `places`."""
    places = places % (2 * count)
    return np.minimum(places, 2 * count - 1 - places)


def _compute(row: Samples, spec: FeatureSpec, found: Frames) -> None:
    """Fill `found` with the band energies of the windows at every shift of `row`."""
    shift, length, size = spec.shift, spec.length, mel.fft_size(spec.length)
    chunk = max(1, CHUNK // size)
    padded = np.zeros((chunk, size), np.float32)
    power = np.empty((2, chunk, size // 2), np.float32)
    for first in range(0, len(found), chunk):
        frames = found[first : first + chunk]
        n = len(frames)
        _prepare(row[first * shift : (first + n - 1) * shift + length], spec, padded[:n, :length])
        spectrum = np.fft.rfft(padded[:n])[:, : size // 2]
        energy = np.square(spectrum.real, out=power[0, :n])
        energy += np.square(spectrum.imag, out=power[1, :n])
        for lines, columns, weights in _blocks(spec):
            np.matmul(energy[:, lines], weights, out=frames[:, columns])


def _prepare(samples: Samples, spec: FeatureSpec, into: Frames) -> None:
    """Cut windows, take their means off, emphasise what is high, and fade their ends.

    The first sample of a window, which has none before it to emphasise it against, is faded to 0.
    The means stay where NeMo's bands are asked for.
    """
    nemo = spec.kind == "nemo"
    window = _hann(spec.length) if nemo else _povey(spec.length)
    emphasised = samples.copy()
    emphasised[1:] -= EMPHASIS * samples[:-1]
    np.multiply(windows(emphasised, spec.length, spec.shift), window, out=into)
    if not nemo:
        means = windows(samples, spec.length, spec.shift).mean(axis=1)
        into -= means[:, None] * ((1 - EMPHASIS) * window)  # what the emphasis leaves of a mean


@cache
def _povey(length: int) -> Samples:
    """Kaldi's own window: Hann's to the power of 0.85."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / (length - 1))
    return np.asarray(hann**0.85, np.float32)


@cache
def _hann(length: int) -> Samples:
    """The periodic one, whose end is not its start again."""
    return np.hanning(length + 1)[:-1].astype(np.float32)


@cache
def _blocks(spec: FeatureSpec) -> list[tuple[slice, slice, mel.Matrix]]:
    """The bank cut into neighbouring bands, each with the lines of the spectrum that it needs."""
    weights = mel.slaney if spec.kind == "nemo" else mel.bank
    size = mel.fft_size(spec.length)
    bank = weights(spec.sample_rate, size, spec.bands)[: size // 2]  # no band reaches the last
    blocks = []
    for first in range(0, spec.bands, 20):
        columns = slice(first, min(first + 20, spec.bands))
        used = np.flatnonzero(bank[:, columns].max(axis=1))
        lines = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append((lines, columns, np.ascontiguousarray(bank[lines, columns])))
    return blocks


@cache
def _cosines(bands: int, count: int) -> mel.Matrix:
    """Orthonormal cosine transform with Kaldi's liftering, shape ``(bands, count)``."""
    order = np.arange(count)
    angles = np.pi / bands * (np.arange(bands)[:, None] + 0.5) * order
    scale = np.where(order == 0, np.sqrt(1 / bands), np.sqrt(2 / bands))
    lifter = 1 + LIFTER / 2 * np.sin(np.pi * order / LIFTER)
    return np.asarray(np.cos(angles) * scale * lifter, np.float32)
