"""Sound through a lossy codec and back, in memory, with the codec's delay taken out."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import numpy as np

from aimass.audio.resample import resample
from aimass.augment.spectrum import size_for
from aimass.base.contract import Samples
from aimass.base.errors import MissingExtra
from aimass.base.randomness import generator

_SLACK = 0.15  # seconds of silence after the sound: longer than the delay of any of these


@dataclass(frozen=True, slots=True)
class Form:
    """A codec of FFmpeg as it is used on lines and in recordings.

    Args:
        encoder, decoder: FFmpeg's names.
        rate: samples per second that are coded.
        bit_rates: bits per second to choose from.
        options: of the encoder.
    """

    encoder: str
    decoder: str
    rate: int
    bit_rates: tuple[int, ...]
    options: tuple[tuple[str, str], ...] = ()


FORMS = {
    # Complexity 0 of 10, as small devices use it, takes a third of the time.
    "opus": Form(
        "libopus",
        "libopus",
        16_000,
        (6_000, 8_000, 12_000, 16_000, 24_000),
        (("compression_level", "0"), ("application", "voip")),
    ),
    "amr": Form(
        "libopencore_amrnb",
        "libopencore_amrnb",
        8_000,
        (4_750, 5_150, 5_900, 6_700, 7_400, 7_950, 10_200, 12_200),
    ),
    "mp3": Form("libmp3lame", "mp3float", 16_000, (16_000, 24_000, 32_000)),
    "g722": Form("g722", "g722", 16_000, (64_000,)),
}
"""Every codec by its name in records."""


def through(samples: Samples, rate: int, name: str, bit_rate: int) -> Samples:
    """The sound as it comes out of the codec, as long and as timed as it went in.

    Raises:
        MissingExtra: a build of FFmpeg without this codec.
    """
    form = FORMS[name]
    narrow = resample(samples, rate, form.rate)
    heard, heard_rate = _coded(np.pad(narrow, (0, round(_SLACK * form.rate))), form, bit_rate)
    heard = resample(heard[_delay(name, bit_rate) :], heard_rate, rate)
    return fitted(heard, len(samples))


def fitted(samples: Samples, length: int) -> Samples:
    """Cut or followed by silence, to an exact length."""
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


@cache
def _delay(name: str, bit_rate: int) -> int:
    """Samples by which the codec is late, at the rate it decodes to.

    Measured on a burst of noise, because containers, encoders and their versions disagree in
    what they tell.
    """
    form = FORMS[name]
    probe = np.zeros(form.rate, np.float32)
    start, length = form.rate // 4, form.rate // 2
    burst = generator(0, "codec").standard_normal(length).astype(np.float32)
    probe[start : start + length] = 0.1 * np.convolve(burst, np.ones(8) / 8, "same")
    heard, rate = _coded(probe, form, bit_rate)
    known = fitted(resample(probe, form.rate, rate), len(heard))
    size = size_for(2 * len(heard))
    across = np.fft.irfft(np.fft.rfft(heard, size) * np.fft.rfft(known, size).conj(), size)
    return int(across[: round(_SLACK * rate)].argmax())


def _coded(samples: Samples, form: Form, bit_rate: int) -> tuple[Samples, int]:
    """What the decoder gives for what the encoder gave, and its rate."""
    encoder = _encoder(form, bit_rate)
    decoder: Any = av.CodecContext.create(form.decoder, "r")
    decoder.sample_rate, decoder.layout = form.rate, "mono"
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    parts, rate = [], form.rate
    for packet in (*_packets(samples, form, encoder), None):
        for frame in decoder.decode(packet):
            parts.append(_floats(frame))
            rate = frame.sample_rate
    return np.concatenate(parts), rate


def _encoder(form: Form, bit_rate: int) -> Any:
    try:
        encoder: Any = av.CodecContext.create(form.encoder, "w")
    except ValueError as error:  # what PyAV's UnknownCodecError is
        raise MissingExtra(
            f"this FFmpeg has no encoder '{form.encoder}'",
            expected="the one inside the wheels of PyAV",
            fix="Install the wheel: pip install --only-binary av av; or leave the codec out",
        ) from error
    encoder.sample_rate, encoder.layout, encoder.bit_rate = form.rate, "mono", bit_rate
    encoder.format = "s16p" if form.encoder == "libmp3lame" else "s16"
    encoder.time_base, encoder.options = Fraction(1, form.rate), dict(form.options)
    encoder.open()
    return encoder


def _packets(samples: Samples, form: Form, encoder: Any) -> Iterator[Any]:
    pcm = np.rint(samples * np.float32(32767)).clip(-32768, 32767).astype(np.int16)
    size = encoder.frame_size or 320
    for start in range(0, len(pcm), size):
        piece = pcm[start : start + size]
        piece = np.pad(piece, (0, size - len(piece)))
        frame: Any = av.AudioFrame.from_ndarray(
            piece[None], format=encoder.format.name, layout="mono"
        )
        frame.sample_rate, frame.pts = form.rate, start
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def _floats(frame: Any) -> Samples:
    values = frame.to_ndarray().reshape(-1)
    scale = 32768 if values.dtype == np.int16 else 1
    return np.asarray(values / np.float32(scale), np.float32)
