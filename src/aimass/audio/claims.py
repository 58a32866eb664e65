"""What containers claim about their own bytes, read before any decoder sees them.

Decoders pad, shorten or conceal files that were cut, each in its own way. The claims are few
fields at known places and say it exactly.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from aimass.audio.sniff import id3_bytes
from aimass.audio.source import Opened
from aimass.base.errors import CorruptAudio, TruncatedAudio

_MOST_CHUNKS = 100_000
_FROM_A_PIPE = 0x7FFFF000
"""Writers that cannot seek back leave a size of this or above (sox), all ones (ffmpeg) or 0."""
_PAGE_BYTES = 65_307  # the longest Ogg page


@dataclass(frozen=True, slots=True)
class Claims:
    """What a header says.

    Args:
        end: the byte where the container ends; None when it does not say.
        tolerance: how many bytes may be missing at the end.
        rate: samples per second, None when left to the decoder.
        channels: None when left to the decoder.
        counted: whether the duration that the container declares is counted, not estimated.
        needs_ffmpeg: whether libsndfile would not read all of it.
    """

    end: int | None = None
    tolerance: int = 16
    rate: int | None = None
    channels: int | None = None
    counted: bool = True
    needs_ffmpeg: bool = False


def read_claims(source: Opened, container: str) -> Claims:
    """Read what the container says of itself.

    Raises:
        TruncatedAudio: it ends well before it says, or within its header.
        CorruptAudio: its chunks make no sense.
    """
    read = _READERS.get(container)
    try:
        claims = read(source) if read else Claims()
    except (struct.error, IndexError) as error:
        raise _truncated(source, "within its header") from error
    if claims.end is not None and claims.end - source.size > claims.tolerance:
        missing = claims.end - source.size
        raise _truncated(source, f"{missing} bytes before the end that its header declares")
    return claims


def _truncated(source: Opened, where: str) -> TruncatedAudio:
    return TruncatedAudio(
        f"{source.name} ends {where}",
        expected="a complete file",
        fix="Send it again: the upload or the recording was interrupted",
    )


def _wav(source: Opened) -> Claims:
    declared = struct.unpack("<I", source.at(4, 4))[0]
    position, rate, channels, long_data = 12, None, None, None
    for _ in range(_MOST_CHUNKS):
        head = source.at(position, 8)
        if len(head) < 8:
            raise _truncated(source, "before its data chunk")
        kind, size = head[:4], struct.unpack("<I", head[4:])[0]
        if kind == b"ds64":
            long_data = struct.unpack("<Q", source.at(position + 16, 8))[0]
        elif kind == b"fmt ":
            channels, rate = struct.unpack("<HI", source.at(position + 10, 6))
        elif kind == b"data":
            break
        position += 8 + size + size % 2
    else:
        raise CorruptAudio(
            f"{source.name} has over {_MOST_CHUNKS} chunks before its data",
            expected="a WAV header",
            fix="Convert it with: ffmpeg -i INPUT output.wav",
        )
    if size == 0xFFFFFFFF and long_data is not None:
        size = long_data
    closed = size != 0 or declared + 8 == source.size
    end = position + 8 + size if closed and not _unknown(size, long_data) else None
    # libsndfile believes a data size of 0; FFmpeg reads on to the end.
    return Claims(end, rate=rate, channels=channels, needs_ffmpeg=not closed)


def _unknown(size: int, long_data: int | None) -> bool:
    return size >= (1 << 62 if long_data is not None else _FROM_A_PIPE)


def _aiff(source: Opened) -> Claims:
    size = struct.unpack(">I", source.at(4, 4))[0]
    return Claims(None if size == 0 or size >= _FROM_A_PIPE else 8 + size)


def _au(source: Opened) -> Claims:
    start, size, _, rate, channels = struct.unpack(">5I", source.at(4, 20))
    return Claims(None if size >= _FROM_A_PIPE else start + size, rate=rate, channels=channels)


def _w64(source: Opened) -> Claims:
    size = struct.unpack("<Q", source.at(16, 8))[0]
    return Claims(size if 0 < size < 1 << 62 else None)


def _mp4(source: Opened) -> Claims:
    position = 0
    for _ in range(_MOST_CHUNKS):
        if position + 8 > source.size:
            return Claims(position)
        head = source.at(position, 16)
        size = int.from_bytes(head[:4])
        if size == 1:
            size = struct.unpack(">Q", head[8:16])[0]
        if size < 8:  # 0: the last box goes on to the end; others are left to the demuxer
            break
        position += size
    return Claims()


def _matroska(source: Opened) -> Claims:
    head = source.at(0, 4096)
    size, position = _vint(head, 4)
    start = position + size
    if start + 12 > len(head) or head[start : start + 4] != b"\x18\x53\x80\x67":
        return Claims()
    size, position = _vint(head, start + 4)
    live = size == (1 << 7 * (position - start - 4)) - 1  # all ones: written to a pipe
    return Claims(None if live else position + size)


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """An EBML number and the position after it."""
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length]) & (1 << 7 * length) - 1
    return value, at + length


def _ogg(source: Opened) -> Claims:
    serial = source.at(14, 4)
    start = max(0, source.size - 2 * _PAGE_BYTES)
    tail = source.at(start, 2 * _PAGE_BYTES)
    last = tail.rfind(b"OggS")
    if last < 0:
        return Claims()
    segments = tail[last + 26]
    sizes = tail[last + 27 : last + 27 + segments]
    if len(sizes) < segments:
        raise _truncated(source, "within an Ogg page")
    # libsndfile reads the first of several chained or multiplexed streams only.
    several = tail[last + 14 : last + 18] != serial
    return Claims(start + last + 27 + segments + sum(sizes), needs_ffmpeg=several)


def _mp3(source: Opened) -> Claims:
    start = id3_bytes(source.at(0, 10))
    head = source.at(start, 64)
    if len(head) < 4 or head[0] != 0xFF:
        return Claims(counted=False)
    first, mono = head[1] >> 3 & 3 == 3, head[3] >> 6 == 3
    tag = 4 + ((17 if mono else 32) if first else (9 if mono else 17))
    if head[tag : tag + 4] not in (b"Xing", b"Info"):
        return Claims(counted=False)  # durations without a tag are estimates
    flags = struct.unpack(">I", head[tag + 4 : tag + 8])[0]
    if flags & 3 != 3:
        return Claims(counted=bool(flags & 1))
    size = struct.unpack(">I", head[tag + 12 : tag + 16])[0]
    # Encoders differ in whether they count this first frame and their tags.
    return Claims(start + size, tolerance=2048 + size // 100)


_READERS: dict[str, Callable[[Opened], Claims]] = {
    "wav": _wav,
    "rf64": _wav,
    "w64": _w64,
    "aiff": _aiff,
    "au": _au,
    "mp4": _mp4,
    "webm": _matroska,
    "matroska": _matroska,
    "ogg": _ogg,
    "mp3": _mp3,
}
