"""Every container, codec, width, rate and channel count decodes to the speech that went in."""

import io
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.audio.decode import blocks, load, probe
from aimass.audio.resample import resample
from audio.sounds import JFK, Sound, by_ffmpeg, by_soundfile, numbered, one_of_each, piece, speech

_RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000)
_EXACT = {  # largest error that the width of the samples allows
    ("WAV", "PCM_U8"): 2e-2, ("WAV", "PCM_16"): 1e-4, ("WAV", "PCM_24"): 1e-6,
    ("WAV", "PCM_32"): 1e-6, ("WAV", "FLOAT"): 0, ("WAV", "DOUBLE"): 0,
    ("WAV", "ULAW"): 4e-2, ("WAV", "ALAW"): 4e-2, ("WAVEX", "PCM_16"): 1e-4,
    ("RF64", "PCM_16"): 1e-4, ("W64", "PCM_16"): 1e-4, ("AIFF", "PCM_16"): 1e-4,
    ("AIFF", "PCM_24"): 1e-6, ("AU", "PCM_16"): 1e-4, ("AU", "ULAW"): 4e-2,
    ("FLAC", "PCM_16"): 1e-4, ("FLAC", "PCM_24"): 1e-6,
}  # fmt: skip


def _alike(heard: Sound, said: Sound, shift: int) -> float:
    """The best correlation within ``shift`` samples of delay."""
    size = min(len(heard), len(said)) - shift
    return max(
        float(np.corrcoef(heard[delay : delay + size], said[:size])[0, 1])
        for delay in range(shift + 1)
    )


@pytest.mark.parametrize(("container", "codec"), _EXACT)
@pytest.mark.parametrize("rate", _RATES)
def test_sample_widths_decode_to_what_was_written(container: str, codec: str, rate: int) -> None:
    sound = resample(piece(0.5), 16_000, rate)
    for channels in (1, 2, 5):
        written = np.stack([sound * (0.9**i) for i in range(channels)])
        data = by_soundfile(written.T, rate, container, codec)
        audio = load(data, split=True)
        assert (audio.rate, audio.samples.shape) == (rate, written.shape)
        assert audio.samples.dtype == np.float32
        assert np.abs(audio.samples - written).max() <= _EXACT[container, codec]
        mixed = load(data).samples
        assert mixed.shape == (1, len(sound))
        np.testing.assert_allclose(mixed[0], audio.samples.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [*product(["OGG"], ["VORBIS"], _RATES), *product(["MP3"], ["MPEG_LAYER_III"], _RATES),
     *product(["OGG"], ["OPUS"], (8_000, 16_000, 24_000, 48_000))],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_lossy_soundfile_codecs(container: str, codec: str, rate: int, channels: int) -> None:
    sound = resample(piece(), 16_000, rate)
    data = by_soundfile(np.stack([sound] * channels, axis=1), rate, container, codec)
    audio = load(data, rate=16_000, split=True)
    assert audio.samples.shape[0] == channels
    assert audio.duration == pytest.approx(1.0, abs=0.01)
    assert _alike(audio.samples[-1], piece(), 40) > 0.95


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [*product(["ipod", "mp4", "adts", "mov"], ["aac"], _RATES),
     *product(["webm", "matroska", "ogg"], ["libopus"], (8_000, 16_000, 48_000)),
     ("mp4", "alac", 16_000), ("mov", "pcm_s16le", 8_000), ("matroska", "pcm_s24le", 44_100),
     ("matroska", "aac", 16_000)],
)  # fmt: skip
def test_ffmpeg_containers(container: str, codec: str, rate: int) -> None:
    sound = resample(piece(), 16_000, rate)
    audio = load(by_ffmpeg(sound, rate, container, codec), rate=16_000)
    assert audio.samples.shape[0] == 1
    assert audio.duration == pytest.approx(1.0, abs=0.2)  # AAC's delay and last frame at 8 kHz
    delay = 1_100 * 16_000 // rate if container == "adts" else 40  # no room for an edit list
    assert _alike(audio.mono(), piece(), delay) > 0.9


def test_only_the_sound_of_a_video_is_decoded() -> None:
    for container in ("mp4", "matroska"):
        audio = load(by_ffmpeg(piece(), 16_000, container, "aac", video=True))
        assert audio.duration == pytest.approx(1.0, abs=0.1)


def test_path_bytes_and_file_object_are_the_same(tmp_path: Path) -> None:
    for name, data in one_of_each().items():
        path = tmp_path / f"{name}.misnamed"
        path.write_bytes(data)
        whole = load(data).samples
        with path.open("rb") as file, tempfile.SpooledTemporaryFile() as spooled:
            spooled.write(data)
            file.seek(9)  # read from its start wherever it stands
            for source in (path, str(path), file, io.BytesIO(data), spooled):
                np.testing.assert_array_equal(load(source).samples, whole)  # type: ignore[arg-type]
            assert not file.closed


def test_probe_agrees_with_load() -> None:
    for name, data in one_of_each().items():
        info, audio = probe(data), load(data)
        assert (info.rate, info.channels, info.bytes) == (audio.rate, 1, len(data)), name
        assert info.duration == pytest.approx(audio.duration, abs=0.2)
    jfk = probe(JFK)
    assert (jfk.container, jfk.codec, jfk.duration) == ("wav", "pcm_16", 11.0)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(one_of_each())),
    seconds=st.floats(0.001, 3.0),
    rate=st.sampled_from([None, 8_000, 16_000, 44_100]),
)
def test_blocks_put_together_are_the_whole(name: str, seconds: float, rate: int | None) -> None:
    data = one_of_each()[name]
    parts = list(blocks(data, rate=rate, block_seconds=seconds))
    whole = load(data, rate=rate)
    joined = np.concatenate([part.samples for part in parts], axis=1)
    np.testing.assert_array_equal(joined, whole.samples)
    size = max(1, round(seconds * whole.rate))
    assert all(part.samples.shape[1] == size for part in parts[:-1])


def test_long_stereo_streams_as_a_whole() -> None:
    data = by_soundfile(np.stack([speech(), speech()[::-1]], axis=1), 16_000, "FLAC", "PCM_16")
    for rate in (None, 8_000, 22_050):
        whole = load(data, rate=rate, split=True).samples
        parts = [b.samples for b in blocks(data, rate=rate, split=True, block_seconds=0.37)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
        assert whole.shape[1] == pytest.approx(11 * (rate or 16_000), abs=2)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
@pytest.mark.parametrize("outer", [0, 0xFFFFFFFF, None])
def test_wav_from_a_pipe_is_read_to_its_end(size: int, outer: int | None) -> None:
    data = bytearray(one_of_each()["wav"])
    at = data.index(b"data") + 4
    data[at : at + 4] = size.to_bytes(4, "little")
    if outer is not None:
        data[4:8] = outer.to_bytes(4, "little")
    if size == 0 and outer is None:
        data[4:8] = (36).to_bytes(4, "little")
    np.testing.assert_array_equal(load(bytes(data)).samples, load(one_of_each()["wav"]).samples)


def test_chained_ogg_is_read_to_its_end() -> None:
    once = by_soundfile(piece(), 16_000, "OGG", "VORBIS")
    again = numbered(once, serial=8)
    assert load(once + again).duration == pytest.approx(2.0, abs=0.05)


def test_tags_before_mp3_are_skipped() -> None:
    tag = b"ID3\x04\0\0\0\0\x40\0" + bytes(8_192)
    audio = load(tag + one_of_each()["mp3"])
    assert audio.duration == pytest.approx(1.0, abs=0.01)


def test_shapes_of_audio() -> None:
    audio = load(
        by_soundfile(np.stack([piece(), -piece()], axis=1), 16_000, "WAV", "FLOAT"), split=True
    )
    assert (audio.channels, audio.duration) == (2, 1.0)
    assert audio.mono().shape == (16_000,)
    assert not audio.mono().any()
