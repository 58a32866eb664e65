"""Containers are told by their bytes, and nothing may lead FFmpeg to other files."""

import io
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.audio.claims import Claims
from aimass.audio.decode import load
from aimass.audio.readers import FFmpegReader
from aimass.audio.sniff import id3_bytes, sniff
from aimass.audio.source import Opened
from aimass.base.errors import AudioError, NotAudio
from audio.sounds import by_ffmpeg, one_of_each, piece

_NAMES = {
    "float": "wav",
    "vorbis": "ogg",
    "opus": "ogg",
    "m4a": "mp4",
    "mov": "mp4",
}


def test_every_container_is_known() -> None:
    for name, data in one_of_each().items():
        assert sniff(data[:4096]) == _NAMES.get(name, name)
    assert sniff(by_ffmpeg(piece(), 16_000, "matroska", "aac")[:4096]) == "matroska"


def test_frames_after_tags() -> None:
    tag = b"ID3\x04\0\0\0\0\0\x20" + bytes(32)
    assert id3_bytes(tag) == 42
    for name in ("mp3", "adts", "flac"):
        assert sniff(tag + one_of_each()[name][:64]) == name
    assert sniff(b"ID3\x04\0\0\0\x7f\x7f\x7f" + bytes(64)) == "mp3"


@given(st.binary(max_size=64))
def test_any_head_is_named_or_refused(head: bytes) -> None:
    try:
        assert sniff(head) in {*one_of_each(), "matroska", "ogg", "mp4"}
    except NotAudio as error:
        assert error.found


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_ffmpeg_opens_no_other_file_even_past_the_whitelist(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other.aac"
    other.write_bytes(one_of_each()["adts"])
    playlist = tmp_path / "list"
    if kind == "hls":
        lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:1,", other.as_uri()]
        playlist.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    else:
        playlist.write_text(f"ffconcat version 1.0\nfile '{other}'\n")
    options = {} if kind == "hls" else {"safe": "0"}
    with av.open(playlist, "r", format=kind, options=options) as control:
        heard = sum(frame.samples for frame in control.decode(control.streams.audio[0]))
    assert heard > 10_000, "FFmpeg left alone does read the other file"

    with pytest.raises(NotAudio):
        load(playlist)
    data = playlist.read_bytes()
    with pytest.raises(AudioError):
        FFmpegReader(Opened(io.BytesIO(data), len(data), "list"), kind, Claims())
