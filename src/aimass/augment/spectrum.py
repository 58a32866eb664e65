"""Fourier transforms of many utterances at once.

scipy transforms the rows of an array several at a time, which takes half as long as one by one.
The size of a transform follows from the utterance's own length, so that it comes out the same in
any batch. scipy is loaded with the first transform: who but reads a policy can do without.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Samples

Spectra = npt.NDArray[np.complex64]
"""Shape ``(utterances, bins)``."""


def by_size(lengths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Transform sizes, and for each the indices of the utterances that take it."""
    groups = defaultdict(list)
    for number, length in enumerate(lengths):
        groups[size_for(length)].append(number)
    yield from groups.items()


def size_for(length: int) -> int:
    """The next power of two, or three quarters of it: few sizes, and little waste."""
    power = 1 << max(8, (length - 1).bit_length())
    return 3 * power // 4 if length <= 3 * power // 4 else power


def spectra(rows: Sequence[Samples], size: int) -> Spectra:
    """Each row, followed by silence, transformed."""
    padded = np.zeros((len(rows), size), np.float32)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    from scipy import fft

    transformed: Spectra = fft.rfft(padded, axis=1, overwrite_x=True)
    return transformed


def waveforms(transformed: Spectra, size: int) -> npt.NDArray[np.float32]:
    """The inverse of `spectra`, shape ``(utterances, size)``."""
    from scipy import fft

    rows: npt.NDArray[np.float32] = fft.irfft(transformed, size, axis=1, overwrite_x=True)
    return rows


def convolved(
    batch: Sequence[Samples], responses: Sequence[Samples], lead: Sequence[int]
) -> list[Samples]:
    """Each utterance through its own response, as long as before.

    Args:
        lead: samples of each response before what keeps its place in time.
    """
    out: dict[int, Samples] = {}
    totals = [len(x) + len(h) for x, h in zip(batch, responses, strict=True)]
    for size, rows in by_size(totals):
        product = spectra([batch[n] for n in rows], size)
        product *= spectra([responses[n] for n in rows], size)
        for n, heard in zip(rows, waveforms(product, size), strict=True):
            out[n] = heard[lead[n] : lead[n] + len(batch[n])].copy()
    return [out[n] for n in range(len(batch))]
