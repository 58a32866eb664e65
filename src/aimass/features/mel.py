"""The mel scale: triangular bands over the bins of a Fourier transform, and their cepstrum.

The formulas are Kaldi's (Povey et al. 2011), because kaldi-native-fbank computes streams with them.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

LOWEST = 20.0
"""Lower edge of the lowest band in hertz, as in sherpa-onnx."""

BELOW_NYQUIST = 400.0
"""How far the upper edge of the highest band stays below half the sample rate, in hertz."""

Matrix = npt.NDArray[np.float32]


def fft_size(length: int) -> int:
    """The power of two that holds a window of `length` samples."""
    return 1 << (length - 1).bit_length()


@cache
def bank(rate: int, size: int, bands: int) -> Matrix:
    """Weights from power spectrum to band energies, shape ``(size / 2, bands)``.

    The bin at half the sample rate is left out, as in Kaldi: no band reaches it.

    Args:
        rate: hertz.
        size: of the Fourier transform, a power of two.
    """
    edges = np.linspace(_mel(LOWEST), _mel(rate / 2 - BELOW_NYQUIST), bands + 2)
    bins = _mel(np.arange(size // 2) * rate / size)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    weights.setflags(write=False)  # shared by all who ask
    return weights


@cache
def empty_bands(rate: int, size: int, bands: int) -> int:
    """How many bands are so narrow that no bin of the transform lies in them."""
    return int((bank(rate, size, bands).max(axis=0) == 0).sum())


def _mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)
