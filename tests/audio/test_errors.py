"""Planted faults: each gives exactly the error that names it."""

import io
import os
from pathlib import Path

import numpy as np
import pytest

from aimass.audio.decode import blocks, load, probe
from aimass.base.errors import (
    AudioError,
    AudioNotFound,
    CorruptAudio,
    EmptyAudio,
    InvalidSamples,
    NotAudio,
    SilentAudio,
    TruncatedAudio,
    UnsupportedChannels,
    UnsupportedRate,
)
from audio.sounds import by_soundfile, one_of_each, piece, speech, wav_header

_LONG = {
    "flac": ("FLAC", "PCM_16"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "wav": ("WAV", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
}


def test_missing_paths_and_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("nowhere.wav", str(tmp_path), tmp_path / "pipe", "zero\0byte.wav", "n" * 9_000):
        with pytest.raises(AudioNotFound) as caught:
            load(path)
        assert caught.value.status == 404


def test_file_object_that_cannot_seek() -> None:
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read, "rb") as pipe, pytest.raises(AudioNotFound, match="cannot seek"):
        load(pipe)


def test_the_message_says_what_the_bytes_look_like() -> None:
    for data, words in (
        (b"%PDF-1.4", "PDF"),
        (b'{"a": 1}', "JSON"),
        (b"#EXTM3U\n", "playlist"),
        (b"ffconcat version 1.0", "ffconcat"),
        (b"<svg/>", "SVG"),
        (b"<html>", "HTML"),
        (b"hello", "plain text"),
        (b"\0\1\2", "00 01 02"),
    ):
        with pytest.raises(NotAudio, match=words):
            load(data)


@pytest.mark.parametrize("at", [0, 100_000, 175_999])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_is_found_in_any_block(at: int, value: float) -> None:
    sound = speech().copy()
    sound[at] = value
    for codec in ("FLOAT", "DOUBLE"):
        with pytest.raises(InvalidSamples, match="NaN or infinite"):
            load(by_soundfile(sound, 16_000, "WAV", codec))


def test_samples_scaled_like_integers() -> None:
    with pytest.raises(InvalidSamples, match="samples up to"):
        load(by_soundfile(piece() * 32_768, 16_000, "WAV", "FLOAT"))


@pytest.mark.parametrize("rate", [1, 7_999, 48_001, 96_000])
def test_rates_outside_the_range_are_named(rate: int) -> None:
    with pytest.raises(UnsupportedRate, match=f"{rate} Hz"):
        probe(wav_header(rate=rate, size=200) + bytes(200))


def test_channels() -> None:
    for channels in (0, 17):
        with pytest.raises(UnsupportedChannels, match=f"{channels} channels"):
            load(wav_header(channels=channels, size=400) + bytes(400))
    sixteen = by_soundfile(np.stack([piece()] * 16, axis=1), 16_000, "WAV", "PCM_16")
    assert load(sixteen, split=True).channels == 16


@pytest.mark.parametrize("name", _LONG)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_cut_files_are_truncated(name: str, share: float) -> None:
    data = by_soundfile(speech(), 16_000, *_LONG[name])
    with pytest.raises(TruncatedAudio):
        load(data[: int(len(data) * share) + 1])


@pytest.mark.parametrize("name", ["m4a", "mp4", "mov", "webm", "w64", "rf64", "au"])
def test_cut_containers_are_truncated(name: str) -> None:
    data = one_of_each()[name]
    with pytest.raises(TruncatedAudio):
        load(data[: len(data) // 2])


def test_a_few_missing_bytes_are_forgiven_but_no_more() -> None:
    data = one_of_each()["wav"]
    assert load(data[:-8]).duration == pytest.approx(1.0, abs=0.001)
    with pytest.raises(TruncatedAudio, match="40 bytes before"):
        load(data[:-40])


def test_damage_within_a_whole_file_is_corrupt() -> None:
    flac = by_soundfile(speech(), 16_000, "FLAC", "PCM_16")
    third = len(flac) // 3
    with pytest.raises(CorruptAudio):
        load(flac[:third] + bytes(5_000) + flac[third + 5_000 :])
    opus = by_soundfile(speech(), 16_000, "OGG", "OPUS")
    with pytest.raises(CorruptAudio, match=r"of the 11\.00 s it declares"):
        load(opus[: len(opus) // 3] + bytes(300) + opus[len(opus) // 3 + 300 :])


def test_silence_is_told_at_the_end_and_one_loud_sample_is_sound() -> None:
    step = np.float32(1 / 32768)
    quiet = np.resize(np.array([step, 0, -step], np.float32), 16_000 * 3)
    silent = by_soundfile(quiet, 16_000, "WAV", "PCM_16")
    reading = blocks(silent, block_seconds=1.0)
    assert [next(reading).duration for _ in range(3)] == [1.0] * 3
    with pytest.raises(SilentAudio):
        next(reading)
    quiet[20_000] = 2 * step
    assert load(by_soundfile(quiet, 16_000, "WAV", "PCM_16")).duration == 3.0


def test_opposite_channels_are_not_silence() -> None:
    pair = np.stack([piece(), -piece()], axis=1)
    assert not load(by_soundfile(pair, 16_000, "WAV", "PCM_16")).samples.any()


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF", "AU"])
def test_no_samples(container: str) -> None:
    nothing = by_soundfile(np.zeros(0, np.float32), 16_000, container, "PCM_16")
    with pytest.raises(EmptyAudio):
        load(nothing)
    with pytest.raises(EmptyAudio):
        load(b"")


def test_file_object_that_fails_gives_an_audio_error() -> None:
    class Failing(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return b"" if self.reads > 4 else super().read(size)

        def readinto(self, buffer: object, /) -> int:
            return 0

    with pytest.raises(AudioError):
        load(Failing(one_of_each()["m4a"]))
