"""Uploads that must be refused: each raises an `AudioError` when it is loaded, and nothing else.

They are wrong by construction (a damaged header, a missing end, a type that is no audio), never
picked by trying what fails.
"""

import io
import random
import struct
from collections.abc import Iterator

import numpy as np
import soundfile

from audio.sounds import (
    by_ffmpeg,
    by_soundfile,
    float_wav,
    ogg_checksum,
    one_of_each,
    piece,
    wav_header,
)

_CUT = ("wav", "float", "aiff", "au", "w64", "flac", "vorbis", "opus", "mp3", "m4a", "mov", "webm")


def malformed_inputs(count: int = 200, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Up to ``count`` named malformed files, the same for the same seed."""
    rng = random.Random(seed)
    made = [*_types(rng), *_headers(), *_contents(), *_bombs(), *_damaged(rng)]
    while len(made) < count:
        made.append(_cut(rng, len(made)))
    rng.shuffle(made)
    yield from made[:count]


def _types(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    body = bytes(rng.randrange(256) for _ in range(500))
    magics = {
        "pdf": b"%PDF-1.7\n", "png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
        "gif": b"GIF89a", "zip": b"PK\x03\x04", "gzip": b"\x1f\x8b\x08", "elf": b"\x7fELF\x02\x01",
        "exe": b"MZ\x90\0", "avi": b"RIFF\xf4\x01\0\0AVI LIST", "midi": b"MThd\0\0\0\x06",
        "amr": b"#!AMR\n", "random": b"\0\x01", "asf": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        "sqlite": b"SQLite format 3\0", "webp": b"RIFF\xf4\x01\0\0WEBPVP8 ", "flv": b"FLV\x01\x05",
    }  # fmt: skip
    for name, magic in magics.items():
        yield f"type-{name}", magic + body
    texts = {
        "text": "hello, this is not audio\n",
        "json": '{"file": "audio.wav"}',
        "html": "<!DOCTYPE html><html><body>502</body></html>",
        "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "xml": '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a/>',
        "hls": "#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "hls-http": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:1/a.ts\n",
        "concat": "ffconcat version 1.0\nfile 'file:///etc/passwd'\n",
        "pls": "[playlist]\nFile1=file:///etc/passwd\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        "dash": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>file:///etc/</BaseURL></MPD>',
        "script": "#!/bin/sh\ncat /etc/passwd\n",
    }
    for name, text in texts.items():
        yield f"text-{name}", text.encode()
    yield "empty", b""
    yield "zeros", bytes(2_000)
    yield "one-byte", b"R"


def _headers() -> Iterator[tuple[str, bytes]]:
    body = (piece() * 32767).astype("<i2").tobytes()
    for rate in (0, 1, 100, 7_999, 48_001, 96_000, 192_000, 2**31, 2**32 - 1):
        yield f"wav-rate-{rate}", wav_header(rate=rate, size=len(body)) + body
    for channels in (0, 17, 255, 1_024, 65_535):
        yield f"wav-channels-{channels}", wav_header(channels=channels, size=len(body)) + body
    for tag in (0, 0x1234, 0xFFFE):
        yield f"wav-codec-{tag:x}", wav_header(tag=tag, size=len(body)) + body
    yield "wav-bits-0", wav_header(bits=0, size=len(body)) + body
    yield "wav-no-samples", wav_header()
    yield "wav-no-data-chunk", wav_header()[:36]
    yield "wav-no-format", b"RIFF\x24\0\0\0WAVEdata" + struct.pack("<I", len(body)) + body
    yield "wav-only-magic", b"RIFF\xff\xff\xff\xffWAVE"
    yield "wav-endless-chunks", b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 120_000
    yield "flac-only-magic", b"fLaC"
    yield "ogg-only-magic", b"OggS"
    yield "webm-only-magic", b"\x1aE\xdf\xa3"
    yield "mp3-only-tag", b"ID3\x04\0\0\0\0\0\x10" + bytes(16)
    yield "mp3-endless-tag", b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(64)
    yield "mp3-only-header", b"\xff\xfb\x90\x64"
    yield "mp4-only-type", b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42"
    yield "mp4-endless-box", b"\0\0\0\x01ftyp" + b"\xff" * 8 + bytes(64)


def _contents() -> Iterator[tuple[str, bytes]]:
    for value in (np.nan, np.inf, -np.inf, 3e38):
        for bits in (32, 64):
            for at in (0, 7_777, -1):
                sound = piece().copy()
                sound[at] = value
                yield f"float-{bits}-{value}-at{at}", float_wav(sound, bits)
    silence = np.zeros(16_000, np.float32)
    kinds = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}
    for container, codec in {**kinds, "AIFF": "PCM_24", "W64": "PCM_32"}.items():
        yield f"silent-{container}-{codec}", by_soundfile(silence, 16_000, container, codec)
    step = np.resize(np.array([1, 0, -1], np.int16), 16_000)
    yield "silent-but-one-step", wav_header(size=32_000) + step.astype("<i2").tobytes()
    yield "no-sound-in-mp4", by_ffmpeg(piece(), 16_000, "mp4", "aac", video=True, sound_too=False)
    for container in ("FLAC", "AIFF", "AU"):
        nothing = by_soundfile(np.zeros(0, np.float32), 16_000, container, "PCM_16")
        yield f"no-samples-{container}", nothing


def declare_flac(data: bytes, samples: int) -> bytes:
    """The same FLAC with another number of samples in its header (36 bits at byte 21)."""
    field = int.from_bytes(data[18:26]) >> 36 << 36 | samples
    return data[:18] + field.to_bytes(8) + data[26:]


def declare_ogg(data: bytes, granule: int) -> bytes:
    """The same Ogg whose last page ends at another sample, with its checksum right."""
    last = data.rfind(b"OggS")
    page = bytearray(data[last:])
    page[6:14], page[22:26] = struct.pack("<q", granule), bytes(4)
    page[22:26] = struct.pack("<I", ogg_checksum(bytes(page)))
    return data[:last] + bytes(page)


def silent_flac(hours: float) -> bytes:
    """Hours of silence at 8 kHz in very few bytes."""
    out, zeros = io.BytesIO(), np.zeros(8_000 * 360, np.int16)
    with soundfile.SoundFile(out, "w", 8_000, 1, format="FLAC", subtype="PCM_16") as file:
        for _ in range(round(hours * 10)):
            file.write(zeros)
    return out.getvalue()


def _bombs() -> Iterator[tuple[str, bytes]]:
    yield "bomb-flac-silence", silent_flac(0.5)
    for samples in (16_000 * 3_600, 16_000 * 36_000, 2**36 - 1):
        yield f"bomb-flac-declares-{samples}", declare_flac(one_of_each()["flac"], samples)
    for granule in (48_000 * 36_000, 2**62):
        yield f"bomb-opus-granule-{granule}", declare_ogg(one_of_each()["opus"], granule)
    yield "bomb-wav-declares-2GB", wav_header(size=2**31 - 2**20) + bytes(1_000)


def _damaged(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    for name, data in one_of_each().items():
        yield f"no-magic-{name}", bytes(12) + data[12:]
    each = one_of_each()
    for name in ("m4a", "mp4", "mov"):  # not "free": FFmpeg finds an index there, too
        yield f"no-index-{name}", each[name].replace(b"moov", b"skip")
    flac = each["flac"]
    third = len(flac) // 3
    yield "hole-flac", flac[:third] + bytes(third) + flac[2 * third :]
    for name in ("m4a", "adts"):
        data = each[name]
        start = len(data) // 3
        noise = bytes(rng.randrange(256) for _ in range(start))
        yield f"noise-{name}", data[:start] + noise + data[2 * start :]


def _cut(rng: random.Random, number: int) -> tuple[str, bytes]:
    name = _CUT[number % len(_CUT)]
    data = one_of_each()[name]
    # Not so near the start that nothing of the container is left, nor so near the end that
    # the missing part is a rounding error.
    end = rng.randrange(64, len(data) * 7 // 10)
    if name in ("vorbis", "opus"):  # it may end between two pages: cut well within one
        page = data.rfind(b"OggS", 0, end)
        end = min(max(end, page + 27), data.find(b"OggS", page + 4) % len(data) - 40)
    return f"cut-{name}-at-{end}-{number}", data[:end]
