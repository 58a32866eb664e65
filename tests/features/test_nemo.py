"""NeMo's mel bands as sherpa-onnx computes them: the same numbers there, in streams and here."""

from pathlib import Path
from typing import Any

import kaldi_native_fbank as knf
import numpy as np
import numpy.typing as npt
import pytest
import sherpa_onnx

from aimass.audio.decode import load
from aimass.base.contract import Samples
from aimass.data.corpus import read
from aimass.features import mel
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract

from .heard import NEMOS, in_pieces, speech

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "src/aimass/bundles/digits"
NEAR = 1e-3  # in the logarithm of an energy
WINDOW = 32


def by_kaldi(samples: Samples, spec: FeatureSpec) -> Frames:
    options: Any = knf.FbankOptions()
    options.frame_opts.samp_freq = spec.sample_rate
    options.frame_opts.frame_length_ms = spec.frame_length_ms
    options.frame_opts.frame_shift_ms = spec.frame_shift_ms
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.frame_opts.remove_dc_offset = False
    options.frame_opts.window_type = "hann"
    options.mel_opts.num_bins = spec.bins
    options.mel_opts.low_freq = 0
    options.mel_opts.high_freq = 0
    options.mel_opts.is_librosa = True
    computer = knf.OnlineFbank(options)
    computer.accept_waveform(spec.sample_rate, samples.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


def digits(every: int) -> list[Samples]:
    clips = read(ROOT / "samples/digits").split("test").clips[::every]
    return [load(clip.path, rate=8000).mono() for clip in clips]


@pytest.mark.parametrize("spec", NEMOS)
def test_a_stream_equals_kaldi_native_fbank(spec: FeatureSpec) -> None:
    samples = speech(spec.sample_rate)
    assert np.array_equal(in_pieces(samples, spec, [999]), by_kaldi(samples, spec))


@pytest.mark.parametrize("spec", NEMOS)
@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_a_whole_recording_is_near_kaldi_native_fbank(spec: FeatureSpec, offset: float) -> None:
    samples = speech(spec.sample_rate) + np.float32(offset)
    truth = by_kaldi(samples, spec)
    assert np.abs(extract(samples, spec) - truth).max() <= NEAR
    louder = by_kaldi(samples * np.float32(1.01), spec)
    assert np.abs(extract(samples, spec) - louder).max() > NEAR  # the comparison can fail


@pytest.mark.parametrize("spec", NEMOS[:2])
def test_clips_are_near_kaldi_native_fbank(spec: FeatureSpec) -> None:
    for samples in digits(7):
        heard = samples if spec.sample_rate == 8000 else np.repeat(samples, 2)
        assert np.abs(extract(heard, spec) - by_kaldi(heard, spec)).max() <= NEAR


@pytest.mark.parametrize("count", [1, 39, 40, 41, 79, 80, 199, 200, 201, 555])
def test_a_recording_shorter_than_its_windows_is_mirrored(count: int) -> None:
    spec = NEMOS[1]
    samples = speech(spec.sample_rate)[:count]
    found = extract(samples, spec)
    assert len(found) == spec.frames(count)
    if len(found):
        assert np.abs(found - by_kaldi(samples, spec)).max() <= NEAR


def exactly(samples: Samples, spec: FeatureSpec) -> npt.NDArray[np.float64]:
    """The definition, in float64: windows inside the recording only, from the second frame on."""
    inner = range(2, spec.frames(len(samples)) - 2)
    starts = [i * spec.shift + spec.shift // 2 - spec.length // 2 for i in inner]
    windows = np.stack([samples[s : s + spec.length] for s in starts]).astype(np.float64)
    windows[:, 1:] -= 0.97 * windows[:, :-1].copy()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.length) / spec.length)
    size = mel.fft_size(spec.length)
    power = np.abs(np.fft.rfft(windows * hann, size)) ** 2
    energies = power @ mel.slaney(spec.sample_rate, size, spec.bins)
    return np.log(np.maximum(energies, np.finfo(np.float32).eps))


@pytest.mark.parametrize("spec", NEMOS)
def test_whole_recordings_are_as_near_the_definition_as_streams(spec: FeatureSpec) -> None:
    samples = speech(spec.sample_rate)
    truth = exactly(samples, spec)
    ours = np.abs(extract(samples, spec)[2:-2] - truth).mean()
    theirs = np.abs(in_pieces(samples, spec, [])[2:-2] - truth).mean()
    assert ours < 2 * theirs < 1e-4


def test_a_steady_voltage_stays_in_the_frames() -> None:
    spec = FeatureSpec(kind="nemo")
    lifted = np.full(16000, 0.1, np.float32)
    assert extract(lifted, spec)[:, 0].min() > extract(0 * lifted, spec).max()
    assert np.ptp(extract(lifted, FeatureSpec())) == 0  # Kaldi takes it away


@pytest.fixture(scope="module")
def sherpa() -> Any:
    return sherpa_onnx.OnlineRecognizer.from_nemo_ctc(
        tokens=str(DIGITS / "tokens.txt"),
        model=str(DIGITS / "model.onnx"),
        sample_rate=8000,
        feature_dim=40,
        num_threads=1,
    )


def test_sherpa_onnx_hears_these_frames(sherpa: Any) -> None:
    spec = NEMOS[1]
    for samples in digits(12):
        heard = np.concatenate([samples, np.zeros(4000, np.float32)])
        stream = sherpa.create_stream()
        stream.accept_waveform(8000, heard)
        truth, done = in_pieces(heard, spec, []), 0
        while sherpa.is_ready(stream):
            frames = np.array(stream.get_frames(done, WINDOW), np.float32).reshape(WINDOW, -1)
            assert np.array_equal(frames, truth[done : done + WINDOW])
            sherpa.decode_stream(stream)
            done += WINDOW
        assert done
