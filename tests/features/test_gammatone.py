"""The gammatone bank: the envelope of filters as the ear has them."""

import numpy as np
import numpy.typing as npt
import pytest

from aimass.features import gammatone
from aimass.features.gammatone import centres, widths
from aimass.features.spec import FeatureSpec
from aimass.features.stream import extract

from .heard import GAMMATONES, speech

SPEC = FeatureSpec(kind="gammatone", bins=40)


def tone(hertz: float, rate: int = 16000) -> npt.NDArray[np.float32]:
    return np.sin(2 * np.pi * hertz * np.arange(rate) / rate).astype(np.float32)


def directly(spec: FeatureSpec, column: int) -> npt.NDArray[np.float64]:
    """The definition in float64: filter every sample, square the envelope, weigh every sample."""
    rate = spec.sample_rate
    samples = speech(rate).astype(np.float64)
    time = np.arange(rate // 5) / rate
    centre, width = centres(spec)[column], widths(centres(spec))[column]
    impulse = time**3 * np.exp(-2 * np.pi * width * time)
    impulse = 2 * impulse / impulse.sum() * np.exp(2j * np.pi * centre * time)
    size = 1 << (len(samples) + len(time)).bit_length()
    product = np.fft.fft(samples, size) * np.fft.fft(impulse, size)
    power = np.abs(np.fft.ifft(product)[: len(samples)]) ** 2
    weights = np.hanning(spec.length + 1)[:-1]
    weights *= (spec.length / 4) ** 2 / weights.sum()
    first = (spec.shift - spec.length) // 2
    starts = [i * spec.shift + first for i in range(2, spec.frames(len(samples)) - 2)]
    return np.array([np.log(power[s : s + spec.length] @ weights) for s in starts])


@pytest.mark.parametrize("column", [0, 13, 26, 39])
def test_looking_now_and_then_is_as_good_as_always(column: int) -> None:
    found = extract(speech(16000), SPEC)[2:-2, column]
    away = np.abs(found - directly(SPEC, column))
    assert np.median(away) < 0.02 and away.mean() < 0.05
    other = np.abs(found - directly(SPEC, column - 3))
    assert np.median(other) > 0.2  # the comparison can fail


@pytest.mark.parametrize("column", range(0, 40, 3))
def test_a_tone_is_loudest_where_it_belongs_with_its_own_energy(column: int) -> None:
    frames = extract(tone(float(centres(SPEC)[column])), SPEC)[20:80]
    assert frames.mean(axis=0).argmax() == column
    assert np.allclose(frames[:, column], np.log((SPEC.length / 4) ** 2), atol=0.1)


def test_the_bank_is_spaced_as_the_ear_hears() -> None:
    middle = centres(SPEC)
    assert np.isclose(middle[0], 50) and np.isclose(middle[-1], 7600)
    steps = np.diff(middle) / widths(middle)[:-1]
    assert steps.max() / steps.min() < 1.02  # Glasberg and Moore: filters overlap evenly
    assert np.isclose(widths(np.array([1000.0])) / 1.019, 132.6, atol=0.1)  # their ERB at 1 kHz


@pytest.mark.parametrize("spec", GAMMATONES)
def test_groups_cover_the_bank_once_and_look_alike_at_every_frame(spec: FeatureSpec) -> None:
    groups = gammatone._groups(spec)
    columns = [c for group in groups for c in range(*group.columns.indices(spec.bins))]
    assert columns == list(range(spec.bins))
    for group in groups:
        assert spec.shift % group.hop == 0
        assert np.isclose(group.weights.sum(), (spec.length / 4) ** 2, rtol=1e-5)


def test_nothing_is_heard_before_it_sounds() -> None:
    samples = np.zeros(16000, np.float32)
    samples[8000:] = speech(16000)[:8000]
    frames = extract(samples, SPEC)
    quiet = 8000 // SPEC.shift - 1
    assert (frames[: quiet - 1] == frames[0]).all()
    assert (frames[quiet + 3 :] != frames[0]).any(axis=1).all()


@pytest.mark.parametrize("shift_ms", [1.0, 3.7, 9.973, 10.0, 31.0])
@pytest.mark.parametrize("rate", [8000, 11025, 48000])
def test_any_shift_has_a_hop(rate: int, shift_ms: float) -> None:
    spec = FeatureSpec(rate, bins=5, frame_length_ms=31.0, frame_shift_ms=shift_ms, kind=SPEC.kind)
    frames = extract(speech(8000)[:3000], spec)
    assert frames.shape == (spec.frames(3000), 5)
    assert np.isfinite(frames).all()
