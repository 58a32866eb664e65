"""Every step does what it was drawn to do, and says so in its entry."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.audio import g711
from aimass.augment.channel import Codec, Telephone
from aimass.augment.codec import FORMS, through
from aimass.augment.level import Clip, Gain, Shift
from aimass.augment.noise import Babble, Noise
from aimass.augment.policy import NO_SOUNDS, Policy, apply, draw
from aimass.augment.sounds import Sounds, shelf
from aimass.augment.step import Step
from aimass.augment.timing import Speed, Tempo, Warp
from aimass.base.contract import Samples
from aimass.base.randomness import generator

from .sounds import RATE, as_samples, band_db, decibels, sounds, speech, tone, utterances

QUIET = speech()[8_000:32_000] * np.float32(0.05)  # far from full scale, where gain would stop


def once(
    step: Step, samples: Samples, seed: int = 0, own: Sounds = NO_SOUNDS, rate: int = RATE
) -> tuple[Samples, dict[str, Any]]:
    record = draw(Policy("one", (step,)), generator(seed), len(samples) / rate, own)
    return apply([samples], [record], rate, own)[0], record[0]


def onset(samples: Samples) -> int:
    return int((np.abs(samples) > 0.25 * np.abs(samples).max()).argmax())


def lag(heard: Samples, known: Samples) -> int:
    size = 1 << (len(heard) + len(known)).bit_length()
    across = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(known, size).conj())
    best = int(across.argmax())
    return best - size if best > size // 2 else best


@given(seed=st.integers(0, 2**32), own=st.sampled_from([NO_SOUNDS, sounds()]))
def test_noise_is_as_loud_as_drawn(seed: int, own: Sounds) -> None:
    heard, entry = once(Noise(snr_db=(-5, 40)), QUIET, seed, own)
    assert -5 <= entry["snr_db"] <= 40
    if np.abs(heard).max() < 0.99:  # else the sum was turned down
        assert decibels(QUIET) - decibels(heard - QUIET) == pytest.approx(entry["snr_db"], abs=0.05)


@given(seed=st.integers(0, 2**32))
def test_babble_is_as_loud_as_drawn(seed: int) -> None:
    heard, entry = once(Babble(snr_db=(-5, 30)), QUIET, seed, sounds())
    assert 1 <= len(entry["talkers"]) <= 6
    if np.abs(heard).max() < 0.99:
        assert decibels(QUIET) - decibels(heard - QUIET) == pytest.approx(entry["snr_db"], abs=0.05)


def test_noise_is_recorded_as_often_as_asked() -> None:
    entries = [once(Noise(recorded=0.7), QUIET[:400], n, sounds())[1] for n in range(300)]
    recorded = [e["recording"] for e in entries if "recording" in e]
    assert len(recorded) / 300 == pytest.approx(0.7, abs=0.09)
    assert set(recorded) == {"hum.wav", "street/hiss.wav"}


def test_simulated_noise_has_many_colours() -> None:
    tilts = []
    for seed in range(40):
        heard, _ = once(Noise(snr_db=(10, 10)), QUIET, seed)
        noise = heard - QUIET
        tilts.append(band_db(noise, 100, 500) - band_db(noise, 7500, 7900))
    assert min(tilts) < 3 and max(tilts) > 25


def test_simulated_noise_is_heard_and_not_felt() -> None:
    heard, _ = once(Noise(snr_db=(10, 10), slope=(2, 2)), QUIET)
    noise = heard - QUIET
    assert band_db(noise, 60, 8000) > band_db(noise, 0, 20) + 3


def test_silent_noise_adds_nothing() -> None:
    silent = Sounds(noises=shelf({"mute.wav": QUIET * 0}))
    heard, _ = once(Noise(recorded=1), QUIET, 0, silent)
    assert np.array_equal(heard, QUIET)


@given(seed=st.integers(0, 2**32))
def test_gain_is_what_was_drawn(seed: int) -> None:
    heard, entry = once(Gain(db=(-30, 6)), QUIET, seed)
    assert decibels(heard) - decibels(QUIET) == pytest.approx(entry["db"], abs=0.01)


def test_gain_stops_at_full_scale_without_clipping() -> None:
    heard, _ = once(Gain(db=(40, 40)), speech())
    assert np.abs(heard).max() == pytest.approx(1, abs=1e-5)
    assert np.allclose(heard / np.abs(heard).max(), speech() / np.abs(speech()).max(), atol=1e-6)


def test_clipping_cuts_the_peaks_and_leaves_the_rest() -> None:
    heard, entry = once(Clip(db=(6, 6)), speech())
    limit = np.abs(speech()).max() / 10 ** (entry["db"] / 20)
    assert np.abs(heard).max() == pytest.approx(limit, rel=1e-5)
    below = np.abs(speech()) < limit
    assert 0.9 < below.mean() < 1
    assert np.array_equal(heard[below], speech()[below])


@given(seed=st.integers(0, 2**32))
def test_a_shift_loses_nothing(seed: int) -> None:
    heard, entry = once(Shift(padding=0.2), QUIET, seed)
    start = round(entry["before"] * RATE)
    assert abs(len(heard) - len(QUIET) - 0.2 * RATE) <= 1
    assert np.array_equal(heard[start : start + len(QUIET)], QUIET)
    assert not heard[:start].any() and not heard[start + len(QUIET) :].any()


@pytest.mark.parametrize("factor", [0.8, 0.9, 1.0, 1.15, 1.3])
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050])
def test_speed_moves_length_and_pitch(factor: float, rate: int) -> None:
    heard, _ = once(Speed(factor=(factor, factor)), tone(500, 2, rate), rate=rate)
    assert len(heard) == pytest.approx(2 * rate / factor, abs=2)
    assert np.abs(np.fft.rfft(heard)).argmax() * rate / len(heard) == pytest.approx(
        500 * factor, abs=2
    )


@pytest.mark.parametrize("factor", [0.7, 0.85, 1.0, 1.15, 1.4])
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050])
def test_tempo_moves_length_alone(factor: float, rate: int) -> None:
    heard, _ = once(Tempo(factor=(factor, factor)), tone(500, 2, rate), rate=rate)
    assert len(heard) == round(2 * rate / factor)
    assert np.abs(np.fft.rfft(heard)).argmax() * rate / len(heard) == pytest.approx(500, abs=2)
    assert decibels(heard) == pytest.approx(decibels(tone(500)), abs=0.5)


@pytest.mark.parametrize("factor", [0.87, 1.0, 1.15])
def test_a_warp_moves_pitch_alone(factor: float) -> None:
    heard, _ = once(Warp(factor=(factor, factor)), tone(500, 2))
    assert len(heard) == 2 * RATE
    assert np.abs(np.fft.rfft(heard)).argmax() / 2 == pytest.approx(500 * factor, abs=2)


@pytest.mark.parametrize("step", [Tempo(factor=(0.8, 0.8)), Tempo(factor=(1.25, 1.25))])
def test_tempo_keeps_words_in_their_place(step: Tempo) -> None:
    sound = np.zeros(2 * RATE, np.float32)
    sound[RATE : RATE + 8000] = tone(300, 0.5)
    heard, entry = once(step, sound)
    assert onset(heard) == pytest.approx(RATE / entry["factor"], abs=0.025 * RATE)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100])
@pytest.mark.parametrize("law", ["mulaw", "alaw", "none"])
def test_a_telephone_line_is_narrow(rate: int, law: str) -> None:
    noise = as_samples(0.1 * generator(1).standard_normal(2 * rate))
    heard, entry = once(Telephone(laws=(law,)), noise, rate=rate)
    assert entry == {"step": "telephone", "law": law} and len(heard) == len(noise)

    def loss(low: float, high: float) -> float:
        return band_db(noise, low, high, rate) - band_db(heard, low, high, rate)

    assert abs(loss(500, 3200)) < 0.5
    assert loss(0, 150) > 12
    assert loss(3600, 3990) > 20
    if rate > 8000:
        assert loss(4100, rate / 2) > 30


def test_a_telephone_line_keeps_the_time() -> None:
    heard, _ = once(Telephone(), QUIET)
    assert abs(lag(heard, QUIET)) <= 1


@pytest.mark.parametrize("law", g711.LAWS)
def test_a_telephone_line_speaks_g711(law: g711.Law) -> None:
    values = set(g711.decode(bytes(range(256)), law).tolist())
    heard, _ = once(Telephone(laws=(law,)), speech()[:8000], rate=g711.RATE)
    assert set(heard.tolist()) <= values


@pytest.mark.parametrize("name", FORMS)
def test_a_codec_keeps_length_and_time(name: str) -> None:
    for bits in {FORMS[name].bit_rates[0], FORMS[name].bit_rates[-1]}:
        sound = speech()[8_000:32_000]
        heard = through(sound, RATE, name, bits)
        assert len(heard) == len(sound)
        assert abs(lag(heard, sound)) <= 0.001 * RATE
        # Parametric codecs keep the sound, not the waveform: neither a copy nor another sound.
        likeness = float(np.corrcoef(heard, sound)[0, 1])
        assert 0.3 < likeness < 0.99999


def test_opus_hears_less_at_a_low_rate() -> None:
    sound = speech()[8_000:40_000]
    errors = [decibels(through(sound, RATE, "opus", bits) - sound) for bits in (6_000, 24_000)]
    assert decibels(sound) - 20 < errors[1] < errors[0] - 0.5
    low = through(sound, RATE, "opus", 6_000)
    assert band_db(sound, 6000, 8000) - band_db(low, 6000, 8000) > 20


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_a_codec_is_drawn_within_its_rates(seed: int) -> None:
    step = Codec(codecs=("opus", "amr"), bits=(5_000, 12_000))
    record = draw(Policy("one", (step,)), generator(seed), 1.0)
    assert record[0]["bits"] in FORMS[record[0]["codec"]].bit_rates
    assert 5_000 <= record[0]["bits"] <= 12_000


def test_steps_at_other_rates() -> None:
    for rate in (8000, 48_000):
        for name in FORMS:
            heard = through(utterances()[3], rate, name, FORMS[name].bit_rates[0])
            assert len(heard) == len(utterances()[3])
