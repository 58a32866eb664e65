"""Streaming mel bands and cepstra by kaldi-native-fbank, the front end of sherpa-onnx."""

from typing import Any

import kaldi_native_fbank as knf
import numpy as np

from aimass.base.contract import Samples
from aimass.features import mel
from aimass.features.spec import FeatureSpec, Frames


class KaldiStream:
    """Mel energies or cepstra of one speaker's audio as it comes in.

    Args:
        logarithm: of the energies; cepstra are always taken of the logarithm.
    """

    def __init__(self, spec: FeatureSpec, *, logarithm: bool = True) -> None:
        self._rate = spec.sample_rate
        self._columns = spec.columns
        self._computer = _mfcc(spec) if spec.kind == "mfcc" else _fbank(spec, logarithm)
        self._given = 0

    def accept(self, samples: Samples) -> Frames:
        """Take samples, shape ``(n,)``, and give the frames they complete."""
        if len(samples):
            self._computer.accept_waveform(self._rate, samples)
        return self._take()

    def finish(self) -> Frames:
        """No more samples will come: the frames that were waiting for them."""
        self._computer.input_finished()
        return self._take()

    def _take(self) -> Frames:
        ready = self._computer.num_frames_ready
        frames = np.empty((ready - self._given, self._columns), np.float32)
        for row in range(len(frames)):
            frames[row] = self._computer.get_frame(self._given + row)
        self._computer.pop(len(frames))  # frames once given are not kept: a stream may last days
        self._given = ready
        return frames


def _fbank(spec: FeatureSpec, logarithm: bool) -> Any:
    options = knf.FbankOptions()
    options.use_log_fbank = logarithm
    return knf.OnlineFbank(_shared(options, spec))


def _mfcc(spec: FeatureSpec) -> Any:
    options = knf.MfccOptions()
    options.num_ceps = spec.bins
    options.use_energy = False  # the zeroth coefficient says as much
    return knf.OnlineMfcc(_shared(options, spec))


def _shared(options: Any, spec: FeatureSpec) -> Any:
    options.frame_opts.samp_freq = spec.sample_rate
    options.frame_opts.frame_length_ms = spec.frame_length_ms
    options.frame_opts.frame_shift_ms = spec.frame_shift_ms
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = spec.bands
    if spec.kind == "nemo":
        _like_nemo(options)
    else:
        options.mel_opts.low_freq = mel.LOWEST
        options.mel_opts.high_freq = -mel.BELOW_NYQUIST
    return options


def _like_nemo(options: Any) -> None:
    """What sherpa-onnx sets for models of NeMo: librosa's mel bands from 0 Hz to half the rate."""
    options.frame_opts.window_type = "hann"
    options.frame_opts.remove_dc_offset = False
    options.mel_opts.is_librosa = True
    options.mel_opts.low_freq = 0.0
    options.mel_opts.high_freq = 0.0
