"""Change the sample rate, whole or as a stream, with soxr's band-limited filters."""

import numpy as np
import soxr

from aimass.audio.types import Frames
from aimass.base.contract import Samples


class Resampler:
    """A stream from one rate to another; any chunking gives the same samples.

    Args:
        source_rate: samples per second that come in.
        target_rate: samples per second that go out.
        channels: fixed for the life of the stream.
    """

    def __init__(self, source_rate: int, target_rate: int, channels: int = 1) -> None:
        self._stream = soxr.ResampleStream(
            source_rate, target_rate, channels, dtype="float32", quality="HQ"
        )
        self._channels = channels

    def accept(self, samples: Frames) -> Frames:
        """Take ``(channels, n)`` or, for one channel, ``(n,)``; give what is ready, same form."""
        return self._process(samples, last=False)

    def finish(self) -> Frames:
        """No more comes: the samples still inside the filter, ``(channels, n)``."""
        return self._process(np.zeros((self._channels, 0), np.float32), last=True)

    def _process(self, samples: Frames, last: bool) -> Frames:
        if self._channels == 1:
            out: Frames = self._stream.resample_chunk(
                np.ascontiguousarray(samples.reshape(-1)), last
            )
            return out if samples.ndim == 1 else out[None]
        mixed: Frames = self._stream.resample_chunk(np.ascontiguousarray(samples.T), last)
        return mixed.T


def resample(samples: Samples, source_rate: int, target_rate: int) -> Samples:
    """Resample mono samples, shape ``(n,)``; returned unchanged when the rates are equal."""
    if source_rate == target_rate:
        return samples
    stream = Resampler(source_rate, target_rate)
    return np.concatenate([stream.accept(samples), stream.finish()[0]])
