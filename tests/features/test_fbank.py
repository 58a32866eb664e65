"""One front end: a stream in any pieces gives the frames of the whole file, and none is lost."""

from functools import cache
from pathlib import Path
from typing import Any

import kaldi_native_fbank as knf
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.audio.decode import load
from aimass.base.contract import Samples
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import FeatureStream, extract

JFK = Path(__file__).parents[2] / "samples/jfk.wav"
SPECS = [
    FeatureSpec(),
    FeatureSpec(sample_rate=8000, bins=40),
    FeatureSpec(sample_rate=16000, bins=23, frame_length_ms=32.0, frame_shift_ms=8.0),
    FeatureSpec(sample_rate=22050, bins=64, frame_length_ms=20.0, frame_shift_ms=20.0),
]


@cache
def speech(rate: int) -> Samples:
    return load(JFK, rate=rate).mono()[rate : 3 * rate]


@cache
def whole(spec: FeatureSpec) -> Frames:
    return extract(speech(spec.sample_rate), spec)


def in_pieces(samples: Samples, spec: FeatureSpec, cuts: list[int]) -> Frames:
    stream = FeatureStream(spec)
    frames = [stream.accept(piece) for piece in np.split(samples, sorted(cuts))]
    return np.concatenate([*frames, stream.finish()])


def expected_frames(count: int, spec: FeatureSpec) -> int:
    shift = int(spec.sample_rate * 0.001 * spec.frame_shift_ms)
    return (count + shift // 2) // shift


@given(
    st.sampled_from(SPECS), st.lists(st.integers(0, 16_000), max_size=12), st.integers(0, 44_100)
)
def test_a_stream_in_any_pieces_is_the_whole(spec: FeatureSpec, cuts: list[int], n: int) -> None:
    samples = speech(spec.sample_rate)[:n]
    found = in_pieces(samples, spec, cuts)
    assert np.array_equal(found, extract(samples, spec))
    assert found.shape == (expected_frames(len(samples), spec), spec.bins)


@given(st.sampled_from(SPECS), st.integers(1, 700))
def test_equal_pieces_of_any_length(spec: FeatureSpec, size: int) -> None:
    samples = speech(spec.sample_rate)
    cuts = list(range(size, len(samples), size))
    assert np.array_equal(in_pieces(samples, spec, cuts), whole(spec))


@pytest.mark.parametrize("spec", SPECS)
def test_every_frame_comes_as_soon_as_it_can(spec: FeatureSpec) -> None:
    stream, given_frames = FeatureStream(spec), 0
    samples = speech(spec.sample_rate)
    for start in range(0, len(samples), 400):
        given_frames += len(stream.accept(samples[start : start + 400]))
        heard = min(start + 400, len(samples)) / spec.sample_rate
        assert given_frames * spec.frame_shift_ms / 1000 >= heard - 0.05
    assert given_frames + len(stream.finish()) == len(whole(spec))


def by_kaldi(samples: Samples, spec: FeatureSpec) -> npt.NDArray[np.float32]:
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = spec.sample_rate
    options.frame_opts.snip_edges = False
    options.frame_opts.frame_length_ms = spec.frame_length_ms
    options.frame_opts.frame_shift_ms = spec.frame_shift_ms
    options.mel_opts.num_bins = spec.bins
    options.mel_opts.low_freq = 20
    options.mel_opts.high_freq = -400
    computer = knf.OnlineFbank(options)
    computer.accept_waveform(spec.sample_rate, samples.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)])


@pytest.mark.parametrize("spec", SPECS)
def test_equals_kaldi_native_extract(spec: FeatureSpec) -> None:
    samples = speech(spec.sample_rate)
    assert np.array_equal(whole(spec), by_kaldi(samples, spec))
    louder = by_kaldi(samples * np.float32(2), spec)
    assert not np.allclose(whole(spec), louder, atol=0.1)  # the comparison can fail


@pytest.mark.parametrize("spec", SPECS)
def test_silence_is_finite(spec: FeatureSpec) -> None:
    frames = extract(np.zeros(spec.sample_rate, np.float32), spec)
    assert frames.shape == (expected_frames(spec.sample_rate, spec), spec.bins)
    assert frames.dtype == np.float32
    assert np.isfinite(frames).all()
    assert frames.min() == frames.max()


@pytest.mark.parametrize("spec", SPECS)
def test_nothing_gives_no_frame(spec: FeatureSpec) -> None:
    assert extract(np.zeros(0, np.float32), spec).shape == (0, spec.bins)


class Spy:
    """Passes everything on to the frame computer, and counts what it is told to forget."""

    def __init__(self, computer: Any) -> None:
        self.computer = computer
        self.forgotten = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.computer, name)

    def pop(self, count: int) -> None:
        self.forgotten += count
        self.computer.pop(count)


def test_a_long_stream_keeps_no_frame_that_it_gave() -> None:
    stream, block = FeatureStream(SPECS[1]), speech(8000)
    spy = Spy(stream._frames._computer)
    stream._frames._computer = spy
    given_frames = 0
    for _ in range(50):
        given_frames += len(stream.accept(block))
        assert spy.forgotten == given_frames
    assert given_frames >= 50 * len(block) // 80 - 2


def test_streams_do_not_share_anything() -> None:
    spec = SPECS[1]
    samples = speech(8000)
    one, other = FeatureStream(spec), FeatureStream(spec)
    parts = []
    for piece in np.array_split(samples, 30):
        parts.append(one.accept(piece))
        other.accept(piece[::-1].copy())
    assert np.array_equal(np.concatenate([*parts, one.finish()]), whole(spec))


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_survives_its_plain_values(spec: FeatureSpec) -> None:
    assert FeatureSpec(**spec.to_dict()) == spec
