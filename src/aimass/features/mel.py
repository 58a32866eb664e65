"""The mel scale: triangular bands over the bins of a Fourier transform.

Kaldi's formulas (Povey et al. 2011), because kaldi-native-fbank computes streams with them, and
those of Slaney 1998, "Auditory Toolbox", which librosa, NeMo and Whisper took over.
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
def slaney(rate: int, size: int, bands: int) -> Matrix:
    """Weights from power spectrum to bands of equal area, shape ``(size / 2 + 1, bands)``.

    The bands go from 0 Hz to half the rate: linear below 1 kHz, logarithmic above.

    Args:
        rate: hertz.
        size: of the Fourier transform.
    """
    edges = _slaney_hertz(np.linspace(0.0, _slaney_mel(rate / 2), bands + 2))
    lines = (np.arange(size // 2 + 1) * rate / size)[:, None]
    rising = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    found = weights.astype(np.float32)
    found.setflags(write=False)  # shared by all who ask
    return found


def empty_bands(weights: Matrix) -> int:
    """How many bands are so narrow that no bin of the transform lies in them."""
    return int((weights.max(axis=0) == 0).sum())


def _mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)


_LINEAR = 200 / 3  # hertz a mel below 1 kHz
_STEP = np.log(6.4) / 27  # of the logarithm of hertz a mel above


def _slaney_mel(hertz: float) -> float:
    return float(15 + np.log(hertz / 1000) / _STEP)


def _slaney_hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mels < 15, _LINEAR * mels, 1000 * np.exp(_STEP * (mels - 15)))
