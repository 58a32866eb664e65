"""Per-channel energy normalisation: gain and steady noise fall away, and only the past is used."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.randomness import generator
from aimass.features.compress import Pcen
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract

from .heard import speech

SPEC = FeatureSpec(compression="pcen")
SHIFT = 0.01


def energies(frames: int, seed: int) -> Frames:
    """As wild as energies get: twelve orders of magnitude, some zero."""
    rng = generator(seed, "energies")
    found = 10.0 ** rng.uniform(-7, 5, (frames, 3)) * (rng.random((frames, 3)) > 0.1)
    return found.astype(np.float32)


def directly(given: Frames) -> npt.NDArray[np.float64]:
    """Wang et al. 2017, equations 1 and 2, frame after frame in float64."""
    new = (np.sqrt(1 + 4 * 40.0**2) - 1) / (2 * 40.0**2)
    usual, rows = given[0].astype(np.float64), []
    for row in given.astype(np.float64):
        usual = (1 - new) * usual + new * row
        rows.append((row / (1e-6 + usual) ** 0.98 + 2) ** 0.5 - 2**0.5)
    return np.array(rows)


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_equals_its_definition(frames: int, seed: int) -> None:
    given_energies = energies(frames, seed)
    assert np.allclose(Pcen(SHIFT)(given_energies), directly(given_energies), rtol=1e-4, atol=1e-5)


@given(st.integers(0, 200), st.integers(0, 2**32), st.lists(st.integers(0, 200), max_size=9))
def test_pieces_are_the_whole(frames: int, seed: int, cuts: list[int]) -> None:
    given_energies = energies(frames, seed)
    pcen = Pcen(SHIFT)
    pieces = np.concatenate([pcen(p) for p in np.split(given_energies, sorted(cuts))])
    assert np.allclose(pieces, Pcen(SHIFT)(given_energies), rtol=1e-4, atol=1e-5)


@given(st.integers(1, 99), st.integers(0, 2**32))
def test_the_future_is_not_heard(frames: int, seed: int) -> None:
    given_energies = energies(100, seed)
    changed = given_energies.copy()
    changed[frames:] = 0
    assert np.allclose(
        Pcen(SHIFT)(given_energies)[:frames], Pcen(SHIFT)(changed)[:frames], rtol=1e-6
    )


@pytest.mark.parametrize("kind", ["fbank", "gammatone"])
@pytest.mark.parametrize("gain_db", [-20, -6, 12])
def test_gain_matters_little(kind: str, gain_db: int) -> None:
    log = FeatureSpec(kind=kind)
    pcen = FeatureSpec(kind=kind, compression="pcen")
    samples, gain = speech(16000), np.float32(10 ** (gain_db / 20))

    def moved(spec: FeatureSpec) -> float:
        before = extract(samples, spec)
        return float(np.abs(extract(samples * gain, spec) - before).mean() / before.std())

    assert moved(pcen) < 0.15 * moved(log)


def test_steady_noise_falls_away() -> None:
    noise = generator(0, "noise").standard_normal(64000).astype(np.float32)
    quiet, loud = (
        float(extract(noise * np.float32(level), SPEC)[200:].mean()) for level in (0.001, 0.1)
    )
    assert abs(quiet - loud) < 0.1  # 9.2 in logarithms


def test_the_last_bit_is_not_taken_for_sound() -> None:
    rng = generator(0, "last bit")
    samples = (rng.integers(0, 2, 32000) / 32768).astype(np.float32)
    assert extract(samples, SPEC).mean() < 0.5 * extract(samples * 1000, SPEC).mean()
