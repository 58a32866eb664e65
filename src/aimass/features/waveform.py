"""The samples themselves, for a filter bank that the model learns."""

import numpy as np

from aimass.base.contract import Samples
from aimass.features.spec import FeatureSpec, Frames


class WaveformStream:
    """Frames of one shift of samples each, ``(frames, samples of a shift)``, none of them twice."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._shift = spec.shift
        self._waiting = np.empty(0, np.float32)

    def accept(self, samples: Samples) -> Frames:
        """Take samples, shape ``(n,)``, and give the frames they complete."""
        samples = np.concatenate([self._waiting, samples], dtype=np.float32)
        whole = len(samples) - len(samples) % self._shift
        self._waiting = samples[whole:].copy()  # else the least rest would keep all of it
        return samples[:whole].reshape(-1, self._shift)

    def finish(self) -> Frames:
        """The rest, filled up with zeros, when it is at least half a frame."""
        missing = self._shift - len(self._waiting)
        if missing > self._shift // 2:
            return np.empty((0, self._shift), np.float32)
        return self.accept(np.zeros(missing, np.float32))
