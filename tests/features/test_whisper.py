"""Whisper's own front end, held against faster-whisper's."""

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor
from hypothesis import example, given
from hypothesis import strategies as st

from aimass.audio.decode import load
from aimass.base.contract import Samples
from aimass.base.errors import FeatureError
from aimass.features.mel import slaney
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import FeatureStream, extract, extract_batch
from aimass.features.whisper import CLAMP

from .heard import JFK, in_pieces, same, speech

SPEC = FeatureSpec(kind="whisper")
LONG = FeatureSpec(kind="whisper", bins=128)


def theirs(samples: Samples, bins: int) -> Frames:
    """What faster-whisper gives for sound that silence follows."""
    return np.asarray(FeatureExtractor(feature_size=bins)(samples, padding=16000).T)


def clamped(frames: Frames) -> Frames:
    return np.asarray(np.maximum(frames, frames.max() - np.float32(CLAMP)))


@pytest.mark.parametrize("spec", [SPEC, LONG])
def test_frames_are_those_of_faster_whisper(spec: FeatureSpec) -> None:
    samples = load(JFK, rate=16000).mono()
    found = clamped(extract(samples, spec))
    assert found.shape == (len(samples) // 160, spec.bins)
    assert np.abs(found - theirs(samples, spec.bins)[: len(found)]).max() < 1e-5


@pytest.mark.parametrize("bins", [80, 128])
def test_bands_are_those_of_faster_whisper(bins: int) -> None:
    assert np.allclose(slaney(16000, 400, bins).T, FeatureExtractor(feature_size=bins).mel_filters)
    assert (slaney(16000, 400, bins).max(axis=0) > 0).all()


@given(st.lists(st.integers(0, 32_000), max_size=12), st.integers(0, 32_000))
@example([], 0)
@example([], 79)
@example([], 80)
@example([1, 2, 200, 201], 201)
@example([100, 199], 200)
@example([100, 199], 240)
def test_a_stream_in_any_pieces_is_the_whole(cuts: list[int], count: int) -> None:
    samples = speech(16000)[:count]
    found = in_pieces(samples, SPEC, cuts)
    assert same(found, extract(samples, SPEC), SPEC)
    assert found.shape == (SPEC.frames(count), 80)


def test_sample_by_sample() -> None:
    samples = speech(16000)[:1500]
    assert same(in_pieces(samples, SPEC, list(range(1500))), extract(samples, SPEC), SPEC)


def test_short_sound_is_sound_before_silence() -> None:
    for count in (1, 80, 150, 200, 201, 400):
        samples = speech(16000)[:count]
        silent = np.concatenate([samples, np.zeros(4000, np.float32)])
        found = extract(samples, SPEC)
        assert same(found, extract(silent, SPEC)[: len(found)], SPEC)


def test_a_batch_is_each_alone() -> None:
    samples = [speech(16000)[:n] for n in (0, 5000, 16000)]
    for frames, one in zip(extract_batch(samples, SPEC), samples, strict=True):
        assert np.array_equal(frames, extract(one, SPEC))


def test_every_frame_comes_as_soon_as_it_can() -> None:
    stream, count = FeatureStream(SPEC), 0
    for start in range(0, 32_000, 400):
        count += len(stream.accept(speech(16000)[start : start + 400]))
        assert count == max(0, (start + 400 - 200) // 160 + (start + 400 > 200))
    assert count + len(stream.finish()) == 200


@pytest.mark.parametrize("level", [0.0, 1e-9, 1.0, 100.0])
def test_silence_and_overload_give_finite_numbers(level: float) -> None:
    samples = np.full(16000, level, np.float32)
    samples[::2] *= -1
    found = extract(samples, SPEC)
    assert found.shape == (100, 80)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= -1.5001


def test_a_long_stream_keeps_no_sample_that_it_used() -> None:
    stream = FeatureStream(SPEC)
    for _ in range(20):
        stream.accept(speech(16000))
        kept = [v for v in stream._frames.__dict__.values() if isinstance(v, np.ndarray)]
        assert sum(a.size if a.base is None else a.base.size for a in kept) < 4000


@pytest.mark.parametrize(
    "change",
    [{"sample_rate": 8000}, {"bins": 40}, {"frame_length_ms": 20.0}, {"frame_shift_ms": 12.5}],
)
def test_whisper_has_one_front_end(change: dict[str, float]) -> None:
    with pytest.raises(FeatureError, match="features of kind whisper with") as caught:
        FeatureSpec(**{"kind": "whisper", **change})  # type: ignore[arg-type]
    assert caught.value.param == "kind"


def test_pcen_is_not_for_whisper() -> None:
    with pytest.raises(FeatureError, match="the compression pcen"):
        FeatureSpec(kind="whisper", compression="pcen")
