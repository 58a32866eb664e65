"""G.711 is that of the recommendation and of libsndfile, byte for byte."""

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aimass.audio.g711 import LAWS, RATE, Law, decode, encode
from aimass.base.errors import RequestError

from .sounds import piece

ALL = np.arange(-32768, 32768).astype(np.int16)
SUBTYPE = {"mulaw": "ULAW", "alaw": "ALAW"}
SILENCE = {"mulaw": 0xFF, "alaw": 0xD5}
FULL = {"mulaw": 0x80, "alaw": 0xAA}
LOUDEST = {"mulaw": 32124, "alaw": 32256}


def by_soundfile(pcm: np.ndarray, law: Law) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, RATE, format="RAW", subtype=SUBTYPE[law])
    return file.getvalue()


@pytest.mark.parametrize("law", LAWS)
def test_every_value_has_the_byte_of_libsndfile(law: Law) -> None:
    assert encode(ALL.astype(np.float32) / np.float32(32768), law).tobytes() == by_soundfile(
        ALL, law
    )


@pytest.mark.parametrize("law", LAWS)
def test_every_byte_has_the_value_of_libsndfile(law: Law) -> None:
    codes = bytes(range(256))
    known, _ = soundfile.read(
        io.BytesIO(codes),
        dtype="float32",
        format="RAW",
        subtype=SUBTYPE[law],
        samplerate=RATE,
        channels=1,
    )
    assert np.array_equal(decode(codes, law), known)
    assert np.array_equal(decode(np.frombuffer(codes, np.uint8), law), known)


@pytest.mark.parametrize("law", LAWS)
def test_known_codes(law: Law) -> None:
    assert encode(np.zeros(1, np.float32), law)[0] == SILENCE[law]
    assert encode(np.ones(1, np.float32), law)[0] == FULL[law]
    assert encode(-np.ones(1, np.float32), law)[0] == FULL[law] ^ 0x80
    assert decode(bytes([FULL[law]]), law)[0] * 32768 == LOUDEST[law]


@pytest.mark.parametrize("law", LAWS)
def test_decoded_bytes_encode_to_themselves(law: Law) -> None:
    codes = np.arange(256, dtype=np.uint8)
    again = encode(decode(codes, law), law)
    kept = again == codes
    kept[0x7F] |= law == "mulaw"  # negative zero
    assert kept.all()


@pytest.mark.parametrize("law", LAWS)
@given(
    samples=hnp.arrays(
        np.float32, st.integers(0, 50), elements=st.floats(-1, 1, width=32, allow_subnormal=False)
    )
)
def test_the_error_is_a_small_part_of_the_sample(law: Law, samples: np.ndarray) -> None:
    heard = decode(encode(samples, law), law)
    assert heard.dtype == np.float32 and len(heard) == len(samples)
    assert np.all(np.abs(heard - samples) <= np.abs(samples) / 16 + 20 / 32768)


@pytest.mark.parametrize("law", LAWS)
def test_speech_keeps_the_signal_to_noise_of_a_good_line(law: Law) -> None:
    speech = piece(3.0)
    error = decode(encode(speech, law), law) - speech
    assert 30 < 10 * np.log10(np.mean(speech**2) / np.mean(error**2)) < 45


@pytest.mark.parametrize("law", LAWS)
def test_what_is_too_loud_is_clipped(law: Law) -> None:
    assert np.array_equal(
        encode(np.array([-3, 3], np.float32), law), encode(np.array([-1, 1], np.float32), law)
    )


def test_another_law_is_refused() -> None:
    with pytest.raises(RequestError, match="one of mulaw, alaw"):
        encode(np.zeros(1, np.float32), "ulaw")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="one of mulaw, alaw"):
        decode(b"1", "ulaw")  # type: ignore[arg-type]
