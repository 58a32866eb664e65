"""Limits hold whatever the header says, and memory stays bounded for hours of sound."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aimass.audio.decode import blocks, load, probe
from aimass.audio.resample import resample
from aimass.audio.types import Limits
from aimass.base.errors import AudioTooLarge
from audio.sounds import by_soundfile, one_of_each, piece, speech, wav_header
from malformed import declare_flac, declare_ogg, silent_flac

_LIMITS = Limits.from_settings()


def test_file_size_comes_first() -> None:
    small = replace(_LIMITS, max_bytes=1_000)
    with pytest.raises(AudioTooLarge, match="MB"):
        probe(b"not even audio" * 100, small)


def test_declared_duration_is_refused_before_decoding() -> None:
    for name, data in one_of_each().items():
        if name != "adts":  # estimates its duration, so only its samples count
            with pytest.raises(AudioTooLarge, match="declares"):
                probe(data, replace(_LIMITS, max_seconds=0.5))


def test_decoded_duration_is_counted_where_headers_are_silent() -> None:
    half = replace(_LIMITS, max_seconds=0.5)
    piped = declare_flac(by_soundfile(speech(), 16_000, "FLAC", "PCM_16"), 0)
    assert probe(piped).duration is None
    for data in (piped, one_of_each()["adts"]):
        with pytest.raises(AudioTooLarge, match="decodes to"):
            load(data, limits=half)


def test_ten_hours_of_silence_in_flac() -> None:
    bomb = silent_flac(10)
    assert len(bomb) < 1_500_000
    with pytest.raises(AudioTooLarge):
        probe(bomb)
    generous = replace(_LIMITS, max_seconds=1e6)
    with pytest.raises(AudioTooLarge, match="bytes for each second"):
        probe(bomb, generous)
    undeclared = declare_flac(bomb, 0)
    seen = 0.0
    with pytest.raises(AudioTooLarge, match="unpack"):
        for block in blocks(undeclared, limits=generous):
            seen += block.duration
    assert seen <= len(bomb) / _LIMITS.min_bytes_per_second + 20


def test_lying_flac_header() -> None:
    flac = by_soundfile(speech(), 16_000, "FLAC", "PCM_16")
    for samples in (2**36 - 1, 16_000 * 30_000):
        with pytest.raises(AudioTooLarge):
            probe(declare_flac(flac, samples))


def test_lying_ogg_granules() -> None:
    with pytest.raises(AudioTooLarge):
        probe(declare_ogg(one_of_each()["opus"], 2**62))
    # Vorbis knows the length of its blocks: the lie adds nothing.
    lying = load(declare_ogg(one_of_each()["vorbis"], 2**62))
    assert lying.duration == pytest.approx(1.0, abs=0.05)


def test_ordinary_recordings_are_no_bombs() -> None:
    long = np.tile(resample(piece(10), 16_000, 8_000), 61)
    mp3 = by_soundfile(long, 8_000, "MP3", "MPEG_LAYER_III", compression_level=0.99)
    assert len(mp3) / 610 < 2_000, "a low bit rate"
    assert probe(mp3).duration == pytest.approx(610, abs=1)


_CHILD = """
import re, sys
from pathlib import Path
import numpy as np
from aimass.audio.decode import blocks
from aimass.audio.resample import Resampler

def peak():  # not ru_maxrss: a child begins with its parent's
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

Resampler(16_000, 8_000).accept(np.zeros(100, np.float32))
before, seconds = peak(), 0.0
if sys.argv[1] == "control":
    np.ones(100 << 20, np.uint8)
else:
    for block in blocks(sys.argv[1], rate=8_000):
        seconds += block.duration
print(seconds, peak() - before)
"""


def _in_a_child(what: str) -> tuple[float, float]:
    """Seconds decoded and megabytes of memory that it took."""
    command = [sys.executable, "-c", _CHILD, what]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, megabytes = result.stdout.split()
    return float(seconds), float(megabytes)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_four_hours_take_little_memory(tmp_path: Path) -> None:
    seen = _in_a_child("control")[1]
    assert 95 < seen < 110, "the measure itself must see 100 MB"
    path = tmp_path / "long.wav"
    size = 4 * 3_600 * 16_000 * 2
    with path.open("wb") as file:  # sparse: only the first second is on the disk
        file.write(wav_header(size=size))
        file.write((piece() * 32_767).astype("<i2").tobytes())
        file.truncate(44 + size)
    seconds, megabytes = _in_a_child(str(path))
    assert seconds == pytest.approx(4 * 3_600, abs=0.1)
    assert megabytes < 50
