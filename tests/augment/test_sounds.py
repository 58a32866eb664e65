"""Folders of noises and rooms are read within bounds, with their names and licences."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from aimass.augment.policy import POLICIES, apply, draw
from aimass.augment.sounds import Sounds
from aimass.base.errors import CorruptAudio, DataError, NotAudio
from aimass.base.randomness import generator

from .sounds import speech


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two noises and a two-channel room, each below its own licence."""
    noises, rooms = tmp_path / "noises", tmp_path / "rooms"
    (noises / "street").mkdir(parents=True)
    rooms.mkdir()
    soundfile.write(noises / "a.wav", speech()[:48_000], 16_000)
    soundfile.write(noises / "street/b.flac", speech()[:16_000], 8_000)
    (noises / "street/LICENSE.txt").write_text("CC0\n")
    (noises / "LICENSE_NOTE.txt").write_text("CC BY 4.0\n")
    (noises / "notes.txt").write_text("no sound")
    hall = 0.01 * np.stack([speech()[:40_000], speech()[5_000:45_000]], axis=1)
    hall[100, 0], hall[300, 1] = 0.9, -0.9
    soundfile.write(rooms / "hall.wav", hall, 16_000)
    return tmp_path


def test_names_licences_and_rates(folder: Path) -> None:
    own = Sounds.read(folder / "noises", folder / "rooms", 16_000)
    assert list(own.noises) == ["a.wav", "street/b.flac"]
    assert [one.licence for one in own.noises.values()] == ["CC BY 4.0", "CC0"]
    assert own.licences == ("CC BY 4.0", "CC0", "not stated")
    assert [len(one.samples) for one in own.noises.values()] == [48_000, 32_000]
    assert own.noises["a.wav"].samples.dtype == np.float32


def test_every_channel_is_a_room(folder: Path) -> None:
    own = Sounds.read(None, folder / "rooms", 16_000)
    assert list(own.rooms) == ["hall.wav#1", "hall.wav#2"]
    peaks = [int(np.abs(one.samples).argmax()) for one in own.rooms.values()]
    assert peaks == [100, 300]
    assert all(len(one.samples) == 32_000 for one in own.rooms.values())  # two seconds at most
    assert not own.noises


def test_the_minutes_are_bounded_and_shared(folder: Path) -> None:
    own = Sounds.read(folder / "noises", None, 16_000, most_minutes=2.4 / 60)
    assert [len(one.samples) for one in own.noises.values()] == [19_200, 19_200]
    short = Sounds.read(folder / "noises", None, 16_000, most_minutes=4.5 / 60)
    assert sum(len(one.samples) for one in short.noises.values()) <= 4.5 * 16_000


def test_what_was_read_is_heard(folder: Path) -> None:
    own = Sounds.read(folder / "noises", folder / "rooms", 16_000)
    used = set()
    for number in range(60):
        record = draw(POLICIES["far"], generator(number), 1.0, own)
        used |= {entry.get("recording") for entry in record}
        assert len(apply([speech()[:16_000]], [record], 16_000, own)[0])
    assert used == {None, *own.noises, *own.rooms}


def test_nothing_given_is_nothing_read() -> None:
    own = Sounds.read(None, None, 16_000)
    assert not own.noises and not own.rooms and not own.talkers


def test_a_folder_without_sound_is_refused(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="holds no noise recording"):
            Sounds.read(wrong, None, 16_000)
        with pytest.raises(DataError, match="holds no room recording"):
            Sounds.read(None, wrong, 16_000)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "noises/away.wav").symlink_to(tmp_path / "rooms/hall.wav")
    with pytest.raises(DataError, match="outside the folder"):
        Sounds.read(folder / "noises", None, 16_000)


def test_of_many_rooms_some_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (folder / f"rooms/{number}.wav").write_bytes((folder / "rooms/hall.wav").read_bytes())
    monkeypatch.setattr("aimass.augment.sounds.MOST_ROOMS", 3)
    own = Sounds.read(None, folder / "rooms", 16_000)
    assert [name for name in own.rooms if name.endswith("#1")] == ["0.wav#1", "2.wav#1", "4.wav#1"]


def test_a_damaged_recording_is_named(folder: Path) -> None:
    (folder / "noises/c.wav").write_bytes(b"RIFF no sound at all")
    with pytest.raises((NotAudio, CorruptAudio), match=r"c\.wav"):
        Sounds.read(folder / "noises", None, 16_000)
