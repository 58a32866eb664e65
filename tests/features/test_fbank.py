"""Mel bands and cepstra: streams are kaldi-native-fbank, whole recordings the same arithmetic."""

from typing import Any

import kaldi_native_fbank as knf
import numpy as np
import numpy.typing as npt
import pytest

from aimass.base.contract import Samples
from aimass.features import mel
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract

from .heard import FBANKS, MFCCS, in_pieces, same, speech


def by_kaldi(samples: Samples, spec: FeatureSpec) -> Frames:
    options: Any = knf.FbankOptions() if spec.kind == "fbank" else knf.MfccOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = spec.sample_rate
    options.frame_opts.snip_edges = False
    options.frame_opts.frame_length_ms = spec.frame_length_ms
    options.frame_opts.frame_shift_ms = spec.frame_shift_ms
    options.mel_opts.num_bins = spec.bins if spec.kind == "fbank" else max(23, spec.bins)
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = -400
    if spec.kind == "mfcc":
        options.num_ceps = spec.bins
        options.use_energy = False
    computer = (knf.OnlineFbank if spec.kind == "fbank" else knf.OnlineMfcc)(options)
    computer.accept_waveform(spec.sample_rate, samples.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


@pytest.mark.parametrize("spec", [*FBANKS, *MFCCS])
def test_a_stream_equals_kaldi_native_fbank(spec: FeatureSpec) -> None:
    samples = speech(spec.sample_rate)
    assert np.array_equal(in_pieces(samples, spec, [999]), by_kaldi(samples, spec))


@pytest.mark.parametrize("spec", [*FBANKS, *MFCCS])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_a_whole_recording_is_near_kaldi_native_fbank(spec: FeatureSpec, offset: float) -> None:
    samples = speech(spec.sample_rate) + np.float32(offset)
    assert same(extract(samples, spec), by_kaldi(samples, spec), spec)
    louder = by_kaldi(samples * np.float32(1.01), spec)
    assert not same(extract(samples, spec), louder, spec)  # the comparison can fail


@pytest.mark.parametrize("count", [1, 39, 40, 41, 79, 80, 199, 200, 201, 555])
@pytest.mark.parametrize("spec", FBANKS[:2])
def test_a_recording_shorter_than_its_windows_is_mirrored_as_in_kaldi(
    spec: FeatureSpec, count: int
) -> None:
    samples = speech(spec.sample_rate)[:count]
    found = extract(samples, spec)
    assert len(found) == spec.frames(count)
    if len(found):
        assert same(found, by_kaldi(samples, spec), spec)


def exactly(samples: Samples, spec: FeatureSpec) -> npt.NDArray[np.float64]:
    """The definition, in float64: windows inside the recording only, from the second frame on."""
    inner = range(2, spec.frames(len(samples)) - 2)
    starts = [i * spec.shift + spec.shift // 2 - spec.length // 2 for i in inner]
    windows = np.stack([samples[s : s + spec.length] for s in starts]).astype(np.float64)
    windows -= windows.mean(axis=1, keepdims=True)
    windows[:, 1:] -= 0.97 * windows[:, :-1].copy()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.length) / (spec.length - 1))
    size = mel.fft_size(spec.length)
    power = np.abs(np.fft.rfft(windows * hann**0.85, size)) ** 2
    energies = power[:, : size // 2] @ mel.bank(spec.sample_rate, size, spec.bins)
    return np.log(np.maximum(energies, np.finfo(np.float32).eps))


@pytest.mark.parametrize("spec", FBANKS)
def test_whole_recordings_are_as_near_the_definition_as_streams(spec: FeatureSpec) -> None:
    samples = speech(spec.sample_rate)
    truth = exactly(samples, spec)
    ours = np.abs(extract(samples, spec)[2:-2] - truth).mean()
    theirs = np.abs(in_pieces(samples, spec, [])[2:-2] - truth).mean()
    assert ours < 2 * theirs < 1e-4


@pytest.mark.parametrize("spec", FBANKS)
def test_silence_is_one_number(spec: FeatureSpec) -> None:
    frames = extract(np.zeros(spec.sample_rate, np.float32), spec)
    assert frames.min() == frames.max() == np.log(np.finfo(np.float32).eps)


@pytest.mark.parametrize("tone", [300.0, 1000.0, 3000.0])
def test_a_tone_is_loudest_in_its_band(tone: float) -> None:
    spec = FeatureSpec()
    time = np.arange(16000) / 16000
    frames = extract(np.sin(2 * np.pi * tone * time).astype(np.float32), spec)
    bank = mel.bank(16000, 512, 80)
    centre = bank.argmax(axis=0)[frames.mean(axis=0).argmax()] * 16000 / 512
    assert abs(centre - tone) < 40
