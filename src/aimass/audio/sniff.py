"""Tell a container by its first bytes.

The answer is a whitelist: it alone decides which demuxer may open the bytes, so that a playlist
(HLS, concat) or any other format that can point to further files is never opened, whatever
its name or declared type says.
"""

import re

from aimass.base.errors import NotAudio

HEAD_BYTES = 4096
"""How many of the first bytes are enough for `sniff`."""

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PK\x03\x04", "a zip archive or office document"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xfd7zXZ", "xz data"),
    (b"BZh", "bzip2 data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"\x7fELF", "an ELF program"),
    (b"MZ", "a Windows program"),
    (b"SQLite format 3", "an SQLite database"),
    (b"#!AMR", "AMR audio"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file"),
    (b"caff", "a Core Audio file"),
    (b"MThd", "a MIDI file"),
    (b"FLV\x01", "a Flash video"),
)
_TEXTS: tuple[tuple[str, str], ...] = (
    (r"#EXTM3U", "an HLS or M3U playlist"),
    (r"ffconcat", "an ffconcat playlist"),
    (r"\[playlist\]", "a PLS playlist"),
    (r"(?s)<\?xml.*?<svg|<svg", "an SVG image"),
    (r"(?s)<!doctype html|<html|<\?xml.*?<html", "an HTML page"),
    (r"<", "an XML or HTML document"),
    (r"[{\[]", "JSON"),
    (r"#!", "a script"),
)


def sniff(head: bytes) -> str:
    """Name the container that begins with these bytes.

    Args:
        head: the first bytes of the file, best `HEAD_BYTES` of them.

    Returns:
        One of wav, rf64, w64, aiff, au, flac, mp3, ogg, webm, matroska, mp4, adts.

    Raises:
        NotAudio: they begin none of these; says what they look like.
    """
    return _container(head) or _refuse(head)


def id3_bytes(head: bytes) -> int:
    """The length of the ID3v2 tag that the bytes begin with, 0 without one."""
    if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _container(head: bytes) -> str | None:
    four, kind = head[:4], head[8:12]
    if kind == b"WAVE" and four in (b"RIFF", b"RF64"):
        return "wav" if four == b"RIFF" else "rf64"
    if four == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] == b"ftyp" or (head[4:8] in (b"moov", b"mdat", b"wide") and len(head) > 8):
        return "mp4"
    if four == b"\x1aE\xdf\xa3":
        return "webm" if b"webm" in head[:64] else "matroska"
    if head[:16] == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00":
        return "w64"
    by_magic = {b".snd": "au", b"fLaC": "flac", b"OggS": "ogg"}.get(four)
    if by_magic or four[:3] != b"ID3":
        return by_magic or _frames(head)
    after = head[id3_bytes(head) :]  # tags stand before mp3, and sometimes before AAC and FLAC
    return "flac" if after[:4] == b"fLaC" else (_frames(after) or "mp3")


def _frames(head: bytes) -> str | None:
    """Containers without a magic word, told by a possible first frame header."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:  # twelve sync bits and layer 0
        return "adts" if head[2] >> 2 & 0xF < 13 else None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    return "mp3" if version != 1 and layer != 0 and 0 < bitrate < 15 and rate != 3 else None


def _refuse(head: bytes) -> str:
    raise NotAudio(
        f"found {_likeness(head)}",
        expected="audio: WAV, FLAC, MP3, Ogg, WebM, MP4/M4A, AAC, AIFF or AU",
        fix="Send the recording itself, or convert it with: ffmpeg -i INPUT output.wav",
    )


def _likeness(head: bytes) -> str:
    for magic, words in _OTHERS:
        if head.startswith(magic):
            return words
    if head[:4] == b"RIFF":
        return "a RIFF file that is not WAVE, such as AVI or WebP"
    try:
        text = head.removeprefix(b"\xef\xbb\xbf").decode("ascii", errors="strict").lstrip()
    except UnicodeDecodeError:
        text = ""
    if text and all(char.isprintable() or char in "\r\n\t" for char in text[:200]):
        for pattern, words in _TEXTS:
            if re.match(pattern, text, re.IGNORECASE):
                return words
        return "plain text"
    return f"unknown bytes that begin with {head[:8].hex(' ') or 'nothing'}"
