"""From band energies to the numbers a model sees: their logarithm, or what rises above the usual.

Per-channel energy normalisation divides every band by its own recent past, so that the loudness of
a microphone and steady noise fall away: Wang et al. 2017, "Trainable frontend for robust and
far-field keyword spotting"; the time constant as in Lostanlen et al. 2019, "Per-channel energy
normalization: why and how". Only the past is used.
"""

import numpy as np
import numpy.typing as npt

from aimass.features.spec import Frames

FLOOR = np.float32(np.finfo(np.float32).eps)
"""The least energy that a logarithm is taken of, Kaldi's."""

SECONDS = 0.4  # over which a band's usual energy is smoothed
GAIN, BIAS = np.float32(0.98), np.float32(2.0)  # Wang's alpha and delta; his exponent is a root
QUIET = np.float32(1e-6)  # the energy of the last bit of 16: what is below stays near zero
BLOCK = 32


def logarithm(energies: Frames) -> Frames:
    """The natural logarithm, of nothing less than `FLOOR`."""
    floored = np.maximum(energies, FLOOR)
    return np.log(floored, out=floored)


class Pcen:
    """Per-channel energy normalisation of one stream.

    Args:
        frame_shift: seconds between two frames.
    """

    def __init__(self, frame_shift: float) -> None:
        frames = SECONDS / frame_shift
        new = (np.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)
        self._weights = _weights(new)
        self._usual: Frames | None = None

    def __call__(self, energies: Frames) -> Frames:
        """The next frames, ``(frames, bands)``, normalised by all before them."""
        if not len(energies):
            return energies
        found = self._smoothed(energies)
        found += QUIET
        np.log(found, out=found)
        found *= -GAIN
        np.exp(found, out=found)  # several times faster than a power
        found *= energies
        found += BIAS
        np.sqrt(found, out=found)
        found -= np.sqrt(BIAS)
        return found

    def _smoothed(self, energies: Frames) -> Frames:
        """A recursion of the first order as one product for every `BLOCK` frames.

        All weights and energies are positive, so nothing cancels.
        """
        usual = energies[:1] if self._usual is None else self._usual
        found = np.empty_like(energies)
        for first in range(0, len(energies), BLOCK):
            block = np.concatenate([usual, energies[first : first + BLOCK]])
            size = len(block)
            np.matmul(self._weights[1:size, :size], block, out=found[first : first + BLOCK])
            usual = found[first + size - 2 : first + size - 1]
        self._usual = usual.copy()
        return found


def _weights(new: float) -> npt.NDArray[np.float32]:
    """How much of the past (column 0) and of each frame is in each smoothed frame."""
    step = np.arange(BLOCK + 1)[:, None] - np.arange(BLOCK + 1)
    weights = np.where(step >= 0, (1 - new) ** np.maximum(step, 0), 0)
    weights[:, 1:] *= new
    return weights.astype(np.float32)
