"""One front end: streams in any pieces, whole recordings and batches give the same frames."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aimass.base.contract import Samples
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import FeatureStream, extract, extract_batch

from .heard import FBANKS, MFCCS, SPECS, in_pieces, same, speech

CUTS = st.lists(st.integers(0, 44_100), max_size=12)


@cache
def whole(spec: FeatureSpec) -> Frames:
    return extract(speech(spec.sample_rate), spec)


def expected_frames(count: int, spec: FeatureSpec) -> int:
    shift = int(spec.sample_rate * 0.001 * spec.frame_shift_ms)
    return (count + shift // 2) // shift


@given(st.sampled_from(SPECS), CUTS, st.integers(0, 44_100))
@example(SPECS[0], [], 0)
@example(SPECS[0], [0, 0, 1], 1)
@example(SPECS[-1], [], 80)
@example(SPECS[-1], [], 79)
def test_a_stream_in_any_pieces_is_the_whole(spec: FeatureSpec, cuts: list[int], n: int) -> None:
    samples = speech(spec.sample_rate)[:n]
    found = in_pieces(samples, spec, cuts)
    assert same(found, extract(samples, spec), spec)
    assert found.shape == (expected_frames(len(samples), spec), spec.columns)


@given(st.sampled_from(SPECS), st.integers(40, 1500))
def test_equal_pieces_of_any_length(spec: FeatureSpec, size: int) -> None:
    samples = speech(spec.sample_rate)
    cuts = list(range(size, len(samples), size))
    assert same(in_pieces(samples, spec, cuts), whole(spec), spec)


@pytest.mark.parametrize("spec", SPECS)
def test_sample_by_sample(spec: FeatureSpec) -> None:
    samples = speech(spec.sample_rate)[:1500]
    found = in_pieces(samples, spec, list(range(len(samples))))
    assert same(found, extract(samples, spec), spec)


@given(st.sampled_from([*FBANKS, *MFCCS]), CUTS)
def test_pieces_do_not_change_a_bit_of_what_kaldi_computes(
    spec: FeatureSpec, cuts: list[int]
) -> None:
    samples = speech(spec.sample_rate)
    assert np.array_equal(in_pieces(samples, spec, cuts), in_pieces(samples, spec, []))


@given(st.sampled_from(SPECS), st.lists(st.integers(0, 20_000), max_size=8))
@example(SPECS[0], [0, 1, 79, 80, 81, 400, 0])
def test_a_batch_is_each_alone(spec: FeatureSpec, lengths: list[int]) -> None:
    samples = [speech(spec.sample_rate)[-n:] if n else np.zeros(0, np.float32) for n in lengths]
    found = extract_batch(samples, spec)
    assert len(found) == len(samples)
    for frames, one in zip(found, samples, strict=True):
        assert same(frames, extract(one, spec), spec)


@pytest.mark.parametrize("spec", SPECS)
def test_neighbours_in_a_batch_are_not_heard(spec: FeatureSpec) -> None:
    samples = speech(spec.sample_rate)[:4000]
    loud = np.ones(3000, np.float32)
    found = extract_batch([loud, samples, loud], spec)[1]
    assert same(found, extract(samples, spec), spec)


@pytest.mark.parametrize("spec", SPECS)
def test_every_frame_comes_as_soon_as_it_can(spec: FeatureSpec) -> None:
    stream, given_frames = FeatureStream(spec), 0
    samples = speech(spec.sample_rate)
    for start in range(0, len(samples), 400):
        given_frames += len(stream.accept(samples[start : start + 400]))
        heard = min(start + 400, len(samples)) / spec.sample_rate
        assert given_frames * spec.frame_shift >= heard - 0.05
    assert given_frames + len(stream.finish()) == len(whole(spec))


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("level", [0.0, 1e-9, 1.0, 100.0])
def test_silence_and_overload_give_finite_numbers(spec: FeatureSpec, level: float) -> None:
    samples = np.full(spec.sample_rate, level, np.float32)
    samples[::2] *= -1
    for frames in (extract(samples, spec), in_pieces(samples, spec, [1000])):
        assert frames.shape == (expected_frames(spec.sample_rate, spec), spec.columns)
        assert frames.dtype == np.float32
        assert np.isfinite(frames).all()


@pytest.mark.parametrize("spec", SPECS)
def test_sound_after_silence_is_finite(spec: FeatureSpec) -> None:
    samples = np.concatenate([np.zeros(4000, np.float32), speech(spec.sample_rate)])
    assert np.isfinite(extract(samples, spec)).all()


@pytest.mark.parametrize("spec", SPECS)
def test_nothing_gives_no_frame(spec: FeatureSpec) -> None:
    nothing = np.zeros(0, np.float32)
    assert extract(nothing, spec).shape == (0, spec.columns)
    assert in_pieces(nothing, spec, []).shape == (0, spec.columns)
    assert extract_batch([], spec) == []


@pytest.mark.parametrize("spec", SPECS)
def test_frames_are_fresh_and_writable(spec: FeatureSpec) -> None:
    samples = speech(spec.sample_rate).copy()
    before = samples.copy()
    frames = extract(samples, spec)
    frames += 1
    assert np.array_equal(samples, before)


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
    stream, block = FeatureStream(FBANKS[1]), speech(8000)
    frames: Any = stream._frames
    spy = frames._computer = Spy(frames._computer)
    given_frames = 0
    for _ in range(50):
        given_frames += len(stream.accept(block))
        assert spy.forgotten == given_frames
    assert given_frames >= 50 * len(block) // 80 - 2


@pytest.mark.parametrize("kind", ["gammatone", "waveform"])
def test_a_long_stream_keeps_no_sample_that_it_used(kind: str) -> None:
    stream = FeatureStream(FeatureSpec(kind=kind))
    kept = stream._frames.__dict__
    for _ in range(20):
        stream.accept(speech(16000))
        arrays: list[Samples] = [v for v in kept.values() if isinstance(v, np.ndarray)]
        assert sum(a.size if a.base is None else a.base.size for a in arrays) < 4000


@pytest.mark.parametrize("spec", SPECS)
def test_streams_do_not_share_anything(spec: FeatureSpec) -> None:
    samples = speech(spec.sample_rate)
    one, other = FeatureStream(spec), FeatureStream(spec)
    parts = []
    for piece in np.array_split(samples, 30):
        parts.append(one.accept(piece))
        other.accept(piece[::-1].copy())
    assert same(np.concatenate([*parts, one.finish()]), whole(spec), spec)
