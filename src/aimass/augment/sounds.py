"""Recordings that augmentation mixes in: noises, rooms' impulse responses, other speakers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from aimass.audio.decode import blocks
from aimass.base.contract import Samples
from aimass.base.errors import AudioError, DataError
from aimass.data.sources.files import UNSTATED, licence_of, recordings

ROOM_SECONDS = 2.0
MOST_ROOMS = 1000  # files; of a larger collection, as many evenly out of all


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A sound with its origin.

    Args:
        name: path below its folder, which records keep; ``#2`` is the second channel.
        samples: at the rate of the models, shape ``(samples,)``.
        licence: what the licence file beside or above it says.
    """

    name: str
    samples: Samples
    licence: str = UNSTATED


Shelf = Mapping[str, Recording]
"""Recordings by name, in the order of their names."""


def _empty() -> Shelf:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Sounds:
    """What steps may mix in; every shelf may be empty.

    Args:
        noises: background recordings.
        rooms: impulse responses, one channel each.
        talkers: utterances for babble, such as those of the training set.
    """

    noises: Shelf = field(default_factory=_empty)
    rooms: Shelf = field(default_factory=_empty)
    talkers: Shelf = field(default_factory=_empty)

    @classmethod
    def read(
        cls,
        noises: Path | None,
        rooms: Path | None,
        rate: int,
        *,
        most_minutes: float = 60.0,
    ) -> "Sounds":
        """Load both folders with all below them; of every noise as much as fits into the bound.

        Raises:
            DataError: a folder that is not there or holds no sound.
            AudioError: a file that does not decode.
        """
        return cls(
            noises=_shelf(_noises(noises, rate, most_minutes * 60)) if noises else _empty(),
            rooms=_shelf(_rooms(rooms, rate)) if rooms else _empty(),
        )

    @property
    def licences(self) -> tuple[str, ...]:
        """Of all noises and rooms, each once."""
        own = (*self.noises.values(), *self.rooms.values())
        return tuple(dict.fromkeys(one.licence for one in own))

    def noise(self, name: str) -> Recording:
        """The noise of a record. Raises: DataError when it is not there."""
        return _found(self.noises, name, "noise")

    def room(self, name: str) -> Recording:
        """The room of a record. Raises: DataError when it is not there."""
        return _found(self.rooms, name, "room")

    def talker(self, name: str) -> Recording:
        """The utterance of a record. Raises: DataError when it is not there."""
        return _found(self.talkers, name, "talker")


def shelf(named: Mapping[str, Samples], licence: str = UNSTATED) -> Shelf:
    """Samples that are already loaded as a shelf."""
    return _shelf(Recording(name, samples, licence) for name, samples in named.items())


def _shelf(recordings: "Iterator[Recording]") -> Shelf:
    own = {one.name: one for one in recordings}
    return MappingProxyType(dict(sorted(own.items())))


def _found(own: Shelf, name: str, what: str) -> Recording:
    if name not in own:
        raise DataError(
            f"a record asks for the {what} '{name}', which is not among the {len(own)} loaded",
            expected=f"the {what} recordings with which the record was drawn",
            fix=f"Give the same {what} folder, or draw anew",
        )
    return own[name]


def _noises(folder: Path, rate: int, seconds: float) -> Iterator[Recording]:
    """An equal part of the allowed length from every file; short files leave room to the rest."""
    files = _files(folder, "noise")
    for number, path in enumerate(files):
        allowed = seconds / (len(files) - number)
        samples = _loaded(path, rate, allowed)[0]
        seconds -= len(samples) / rate
        yield Recording(_name(path, folder), samples, _licence(path, folder))


def _rooms(folder: Path, rate: int) -> Iterator[Recording]:
    files = _files(folder, "room")
    for path in files[:: -(-len(files) // MOST_ROOMS)]:
        licence = _licence(path, folder)
        for number, samples in enumerate(_loaded(path, rate, ROOM_SECONDS, split=True), start=1):
            if np.any(samples):
                yield Recording(f"{_name(path, folder)}#{number}", samples, licence)


def _loaded(path: Path, rate: int, seconds: float, *, split: bool = False) -> Samples:
    """The first `seconds` of a file, ``(channels, samples)``; nothing beyond them is decoded."""
    try:
        return next(blocks(path, rate=rate, split=split, block_seconds=seconds)).samples
    except AudioError as error:
        found = error.found if path.name in error.found else f"{path.name}: {error.found}"
        raise type(error)(found, expected=error.expected, fix=error.fix) from error


def _files(folder: Path, what: str) -> list[Path]:
    files = recordings(folder)
    if not files:
        raise DataError(
            f"{folder} holds no {what} recording",
            expected="a folder with sound files",
            fix="Correct the path, or leave it out: noise and rooms are then simulated",
        )
    return files


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _licence(path: Path, folder: Path) -> str:
    """Of the nearest folder that states one, from the recording's own up to the one given."""
    for parent in path.parents:
        stated = licence_of(parent)
        if stated != UNSTATED or parent == folder:
            return stated
    return UNSTATED
