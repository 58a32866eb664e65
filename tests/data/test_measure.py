"""Recordings are decoded once, measured in any pieces alike, and never again while they last."""

import os
import shutil
import sqlite3
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from aimass.audio.decode import load
from aimass.data.corpus import Clip
from aimass.data.measure import CACHE, FLOOR_DB, MISSING, SILENT, Measurement, _Meter, measure

from .folders import SAMPLES, spoken

JFK = SAMPLES / "jfk.wav"
SPEECH = load(JFK).samples


def clip(path: Path, **more: float) -> Clip:
    return replace(Clip(str(path), path, "a"), **more)  # type: ignore[arg-type]


def one(path: Path, **more: float) -> Measurement:
    return measure([clip(path, **more)]).of[str(path)]


def written(path: Path, samples: np.ndarray, rate: int = 16000, **how: str) -> Path:
    soundfile.write(path, samples, rate, **how)
    return path


def digits(folder: Path, count: int, first: int = 0) -> list[Clip]:
    folder.mkdir(exist_ok=True)
    words = ["one", "two", "three", "four"]
    return [
        clip(Path(shutil.copy(spoken(words[n % 4], n), folder / f"{n}.flac")))
        for n in range(first, first + count)
    ]


def test_speech() -> None:
    found = one(JFK)
    assert (found.rate, found.channels, found.fault) == (16000, 1, "")
    assert found.seconds == pytest.approx(11.0)
    assert 6 < found.active < 10.5
    assert found.level_db < found.loud_db < found.peak_db < 0
    assert found.clipped < 0.001


@pytest.mark.parametrize("level", [1.0, 0.5, 0.01])
def test_levels_are_those_of_a_sine(tmp_path: Path, level: float) -> None:
    sine = level * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000)
    found = one(written(tmp_path / "a.wav", sine, subtype="FLOAT"))
    assert found.peak_db == pytest.approx(20 * np.log10(level), abs=0.02)
    assert found.level_db == pytest.approx(20 * np.log10(level) - 3.01, abs=0.02)


@given(
    st.lists(st.integers(1, 40_000), min_size=1, max_size=12), st.floats(0, 2), st.floats(0.5, 3)
)
def test_how_sound_is_cut_into_blocks_is_no_matter(
    sizes: list[int], start: float, duration: float
) -> None:
    whole, pieces = _Meter((start, duration)), _Meter((start, duration))
    whole.accept(SPEECH, 16000, 0)
    edges = [0, *np.cumsum(sizes).tolist(), SPEECH.shape[1]]
    for first, last in pairwise(edges):
        if first < last:
            pieces.accept(SPEECH[:, first:last], 16000, first)
    assert pieces.result("", None) == whole.result("", None)


def test_a_stretch_is_the_file_that_holds_it_alone(tmp_path: Path) -> None:
    alone = written(tmp_path / "a.wav", SPEECH[0, 16000:48000])
    cut, own = one(JFK, start=1.0, duration=2.0), one(alone)
    assert replace(cut, file="") == replace(own, file="")
    last = measure([clip(JFK, start=9.0), clip(alone)]).of[str(JFK)]
    assert last.seconds == pytest.approx(2.0)


def test_a_copy_in_another_container_is_the_same_sound(tmp_path: Path) -> None:
    flac = written(tmp_path / "a.flac", SPEECH[0])
    stereo = written(tmp_path / "b.wav", np.stack([SPEECH[0], SPEECH[0]], 1))
    slower = written(tmp_path / "c.wav", SPEECH[0], rate=8000)
    sounds = [one(path).sound for path in (JFK, flac, stereo, slower)]
    assert sounds[0] == sounds[1] == sounds[2] != sounds[3]
    assert len({one(path).file for path in (JFK, flac, stereo)}) == 3


def test_overdriven_sound_at_any_level(tmp_path: Path) -> None:
    for number, (drive, level) in enumerate([(1, 1.0), (10, 1.0), (10, 0.6)]):
        samples = level * np.clip(SPEECH[0] * drive, -1, 1)
        found = one(written(tmp_path / f"{number}.wav", samples))
        assert (found.clipped > 0.003) == (drive > 1)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, MISSING),
        (b"", "empty_audio"),
        (b"no sound at all, only words", "not_audio"),
        (JFK.read_bytes()[:60_000], "truncated_audio"),
    ],
)
def test_faults(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    found = one(path)
    assert found.fault == fault and found.detail


@pytest.mark.parametrize("seconds", [0.5, 25.0])
def test_digital_silence(tmp_path: Path, seconds: float) -> None:
    path = written(tmp_path / "a.wav", np.zeros(round(16000 * seconds)))
    found = one(path)
    assert (found.fault, found.peak_db, found.loud_db, found.active) == (
        SILENT,
        FLOOR_DB,
        FLOOR_DB,
        0,
    )


def test_a_silent_stretch_of_a_recording_with_sound(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", np.concatenate([np.zeros(32000), SPEECH[0]]))
    found = one(path, start=0.5, duration=1.0)
    assert (found.fault, found.seconds, found.loud_db) == ("", 1.0, FLOOR_DB)


@pytest.mark.parametrize("start", [10.5, 20.0])
def test_a_stretch_beyond_the_end(start: float) -> None:
    assert one(JFK, start=start, duration=2.0).fault == "truncated_audio"


def test_only_new_recordings_are_decoded(tmp_path: Path) -> None:
    clips, cache = digits(tmp_path / "data", 12), tmp_path / "cache"
    first = measure(clips, cache)
    assert first.decoded == 12
    again = measure(clips, cache)
    assert (again.decoded, again.of) == (0, first.of)
    more = [*clips, *digits(tmp_path / "data", 3, first=12)]
    grown = measure(more, cache)
    assert grown.decoded == 3
    assert grown.of == measure(more).of


def test_moved_and_touched_recordings_are_known_by_content(tmp_path: Path) -> None:
    clips, cache = digits(tmp_path / "data", 4), tmp_path / "cache"
    first = measure(clips, cache)
    moved = Path(shutil.move(tmp_path / "data", tmp_path / "elsewhere"))
    os.utime(moved / "0.flac", (1, 1))
    clips = [replace(c, path=moved / c.path.name) for c in clips]
    again = measure(clips, cache)
    assert (again.decoded, again.of) == (0, first.of)


def test_a_changed_recording_is_measured_anew(tmp_path: Path) -> None:
    clips, cache = digits(tmp_path / "data", 4), tmp_path / "cache"
    first = measure(clips, cache)
    shutil.copy(JFK, clips[1].path)
    again = measure(clips, cache)
    assert again.decoded == 1
    changed = [c.id for c in clips if again.of[c.id] != first.of[c.id]]
    assert changed == [clips[1].id]


def test_copies_are_decoded_once(tmp_path: Path) -> None:
    paths = [Path(shutil.copy(JFK, tmp_path / f"{n}.wav")) for n in range(4)]
    assert measure([clip(path) for path in paths]).decoded == 1


def test_a_new_stretch_of_a_known_recording_is_measured(tmp_path: Path) -> None:
    measure([clip(JFK, start=1.0, duration=1.0)], tmp_path)
    both = [clip(JFK, start=1.0, duration=1.0), replace(clip(JFK, start=3.0), id="b")]
    assert measure(both, tmp_path).decoded == 1
    assert measure(both, tmp_path).decoded == 0


def test_a_damaged_memory_is_an_empty_one(tmp_path: Path) -> None:
    measure([clip(JFK)], tmp_path)
    (tmp_path / CACHE).write_bytes(b"no data base" * 100)
    assert measure([clip(JFK)], tmp_path).decoded == 1
    assert measure([clip(JFK)], tmp_path).decoded == 0
    sqlite3.connect(tmp_path / CACHE).close()


def test_progress_counts_clips() -> None:
    told: list[tuple[str, int, int | None]] = []
    measure([clip(JFK)], progress=lambda *said: told.append(said))
    assert told == [("measure", 1, 1)]


def test_where_speech_begins_and_ends(tmp_path: Path) -> None:
    rate, random = 16000, np.random.default_rng(0)
    sound = random.normal(0, 1e-4, 3 * rate)
    sound[rate // 2 : 2 * rate] += random.normal(0, 0.1, 2 * rate - rate // 2)
    path = written(tmp_path / "a.wav", sound)
    whole, part = one(path), one(path, start=1.0, duration=1.5)
    assert (whole.begin, whole.end) == pytest.approx((0.5, 2.0), abs=0.02)
    assert (part.begin, part.end) == pytest.approx((0.0, 1.0), abs=0.02)
