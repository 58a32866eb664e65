"""Samples to frames, for whole recordings, batches of them, and streams.

A stream in any pieces gives the frames of the whole recording, and a batch those of each alone.
"""

from collections.abc import Sequence

import numpy as np

from aimass.base.contract import Samples
from aimass.features.kaldi import KaldiStream
from aimass.features.spec import FeatureSpec, Frames


class FeatureStream:
    """Features of one speaker's audio as it comes in."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._frames = KaldiStream(spec)

    def accept(self, samples: Samples) -> Frames:
        """Take samples, shape ``(n,)``, and give the frames they complete."""
        return self._frames.accept(samples)

    def finish(self) -> Frames:
        """No more samples will come: the frames that were waiting for them."""
        return self._frames.finish()


def extract(samples: Samples, spec: FeatureSpec) -> Frames:
    """Features of a whole recording, shape ``(frames, columns)``."""
    stream = FeatureStream(spec)
    return np.concatenate([stream.accept(samples), stream.finish()])


def extract_batch(samples: Sequence[Samples], spec: FeatureSpec) -> list[Frames]:
    """Features of several recordings, each as `extract` gives them."""
    return [extract(one, spec) for one in samples]
