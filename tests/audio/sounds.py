"""Real speech in every container we read, made on the fly from samples/jfk.wav."""

import io
import struct
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import soundfile

Sound = npt.NDArray[np.float32]
JFK = Path(__file__).parents[2] / "samples/jfk.wav"


@cache
def speech() -> Sound:
    """Eleven seconds at 16 kHz, shape ``(176000,)``."""
    samples: Sound = soundfile.read(JFK, dtype="float32")[0]
    return samples


def piece(seconds: float = 1.0) -> Sound:
    """Speech that begins half a second into the recording."""
    return speech()[8_000 : 8_000 + int(seconds * 16_000)]


def by_soundfile(sound: Sound, rate: int, container: str, codec: str, **options: Any) -> bytes:
    """Encode ``(n,)`` or ``(n, channels)``."""
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=container, subtype=codec, **options)
    return numbered(file.getvalue()) if container == "OGG" else file.getvalue()


def numbered(ogg: bytes, serial: int = 7) -> bytes:
    """The same Ogg with a serial number that is not drawn anew each time."""
    pages = []
    for part in ogg.split(b"OggS")[1:]:
        page = bytearray(b"OggS" + part)
        page[14:18], page[22:26] = struct.pack("<I", serial), bytes(4)
        page[22:26] = struct.pack("<I", ogg_checksum(bytes(page)))
        pages.append(bytes(page))
    return b"".join(pages)


def ogg_checksum(page: bytes) -> int:
    """The checksum of a page whose own checksum field is zero."""
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _CHECKS[value >> 24 ^ byte]
    return value


def _check(value: int) -> int:
    for _ in range(8):
        value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


_CHECKS = [_check(byte << 24) for byte in range(256)]


def wav_header(
    *, rate: int = 16_000, channels: int = 1, bits: int = 16, tag: int = 1, size: int = 0
) -> bytes:
    """44 bytes of RIFF header with whatever is asked for."""
    step = max(1, channels * bits // 8) & 0xFFFF
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * step & 0xFFFFFFFF, step, bits)
    parts = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", len(parts) + size) + parts


def float_wav(sound: Sound, bits: int = 32) -> bytes:
    """Mono at 16 kHz; soundfile would stamp the time of day into it."""
    body = sound.astype(f"<f{bits // 8}").tobytes()
    return wav_header(bits=bits, tag=3, size=len(body)) + body


def by_ffmpeg(
    sound: Sound,
    rate: int,
    container: str,
    codec: str,
    *,
    video: bool = False,
    sound_too: bool = True,
) -> bytes:
    """Encode mono ``(n,)`` at ``rate``, which the codec must know, beside a picture or alone."""
    file = io.BytesIO()
    out: Any = av.open(file, "w", format=container, options={"fflags": "+bitexact"})
    if video:
        picture = out.add_stream("mpeg4", rate=5)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
    if sound_too:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
    if video:
        for _ in range(3):
            blank = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            out.mux(picture.encode(blank))
        out.mux(picture.encode(None))
    if sound_too:
        values = (np.clip(sound, -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate, 0  # without times no container notes the delay
        form = av.AudioResampler(stream.codec_context.format.name, "mono", rate)
        for ready in [*form.resample(frame), *form.resample(None)]:
            out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    out.close()
    return file.getvalue()


@cache
def one_of_each() -> dict[str, bytes]:
    """One second of speech in every container."""
    sound, wide = piece(), np.repeat(piece(), 3)
    return {
        "wav": by_soundfile(sound, 16_000, "WAV", "PCM_16"),
        "float": float_wav(sound),
        "rf64": by_soundfile(sound, 16_000, "RF64", "PCM_16"),
        "w64": by_soundfile(sound, 16_000, "W64", "PCM_16"),
        "aiff": by_soundfile(sound, 16_000, "AIFF", "PCM_16"),
        "au": by_soundfile(sound, 16_000, "AU", "PCM_16"),
        "flac": by_soundfile(sound, 16_000, "FLAC", "PCM_16"),
        "vorbis": by_soundfile(sound, 16_000, "OGG", "VORBIS"),
        "opus": by_soundfile(sound, 16_000, "OGG", "OPUS"),
        "mp3": by_soundfile(sound, 16_000, "MP3", "MPEG_LAYER_III"),
        "m4a": by_ffmpeg(sound, 16_000, "ipod", "aac"),
        "mp4": by_ffmpeg(sound, 16_000, "mp4", "aac", video=True),
        "mov": by_ffmpeg(sound, 16_000, "mov", "pcm_s16le"),
        "adts": by_ffmpeg(sound, 16_000, "adts", "aac"),
        "webm": by_ffmpeg(wide, 48_000, "webm", "libopus"),
    }
