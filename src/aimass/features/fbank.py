"""Log-mel filterbank features with kaldi-native-fbank.

A whole file is a stream with one big block, so both give the same frames.
"""

from dataclasses import asdict, dataclass
from typing import Any

import kaldi_native_fbank as knf
import numpy as np
import numpy.typing as npt

from aimass.base.contract import Samples

Frames = npt.NDArray[np.float32]
"""Feature frames, shape ``(frames, bins)``."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What a model hears; saved in its bundle.

    Args:
        sample_rate: hertz; audio of another rate is resampled to it.
        bins: mel bands.
        frame_length_ms: analysis window.
        frame_shift_ms: step between frames.
    """

    sample_rate: int = 16000
    bins: int = 80
    frame_length_ms: float = 25.0
    frame_shift_ms: float = 10.0
    kind: str = "fbank"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a bundle."""
        return asdict(self)


class FbankStream:
    """Features of one speaker's audio as it comes in."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._rate = spec.sample_rate
        self._bins = spec.bins
        self._fbank = knf.OnlineFbank(_options(spec))
        self._given = 0

    def accept(self, samples: Samples) -> Frames:
        """Take samples, shape ``(n,)``, and give the frames they complete."""
        if len(samples):
            self._fbank.accept_waveform(self._rate, samples)
        return self._take()

    def finish(self) -> Frames:
        """No more samples will come: the frames that were waiting for them."""
        self._fbank.input_finished()
        return self._take()

    def _take(self) -> Frames:
        ready = self._fbank.num_frames_ready
        frames = np.empty((ready - self._given, self._bins), np.float32)
        for row in range(len(frames)):
            frames[row] = self._fbank.get_frame(self._given + row)
        self._fbank.pop(len(frames))  # frames once given are not kept: a stream may last for days
        self._given = ready
        return frames


def fbank(samples: Samples, spec: FeatureSpec) -> Frames:
    """Features of a whole recording, shape ``(frames, bins)``."""
    stream = FbankStream(spec)
    return np.concatenate([stream.accept(samples), stream.finish()])


def _options(spec: FeatureSpec) -> Any:
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = spec.sample_rate
    options.frame_opts.frame_length_ms = spec.frame_length_ms
    options.frame_opts.frame_shift_ms = spec.frame_shift_ms
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = spec.bins
    # The band edges of sherpa-onnx, so that an exported model hears the same there.
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = -400.0
    return options
