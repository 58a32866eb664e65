"""Kaldi data directories: ``wav.scp``, ``text``, ``segments``, ``utt2spk`` and their kin.

Povey et al., "The Kaldi speech recognition toolkit", ASRU 2011; the files as in its data
preparation guide. Nothing that stands in them is ever run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from aimass.base.errors import DataError
from aimass.data.sources.files import is_file, language_of, licence_of, pairs, seconds
from aimass.data.types import Clip, Corpus, Layout, Missing, split_named

SCP = "wav.scp"


@dataclass(frozen=True, slots=True)
class _Piece:
    """One utterance: a recording, or the stretch of one that ``segments`` gives."""

    recording: str
    start: float = 0.0
    duration: float | None = None


def recognise(folder: Path) -> bool:
    """Whether a folder is a data directory, or holds some."""
    return (folder / SCP).is_file() or bool(_below(folder))


def read(folder: Path) -> Corpus:
    """Read a data directory, or those below it, whose names are then the splits.

    Raises:
        DataError: a recording behind a command or in an archive, a file that does not parse, or
            directories whose names are no splits.
    """
    if (folder / SCP).is_file():
        return _read(folder, None)
    parts = []
    for below in _below(folder):
        split = split_named(below.name)
        if split is None:
            raise DataError(
                f"{folder} holds the data directory {below.name}",
                expected="directories named after splits, such as train, dev_clean and test",
                fix=f"Name one of them: aimass data show {below}",
            )
        parts.append(_read(below, split))
    return replace(
        parts[0],
        clips=tuple(clip for part in parts for clip in part.clips),
        missing=tuple(one for part in parts for one in part.missing),
        licence=licence_of(folder),
        source=folder,
    )


def _below(folder: Path) -> list[Path]:
    return sorted(scp.parent for scp in folder.glob(f"*/{SCP}"))


def _read(folder: Path, split: str | None) -> Corpus:
    if not (folder / "text").is_file():
        raise DataError(
            f"{folder} holds {SCP} and no text",
            expected="a file called text: an utterance and its words on each line",
            fix="Restore the file",
        )
    sounds = {name: _sound(folder, name, value) for name, value in pairs(folder / SCP).items()}
    pieces = _segments(folder) or {name: _Piece(name) for name in sounds}
    texts = pairs(folder / "text")
    speakers, languages = _speakers(folder), _optional(folder / "utt2lang")
    clips: list[Clip] = []
    missing: list[Missing] = []
    for name in dict.fromkeys([*texts, *pieces]):
        piece, text = pieces.get(name), texts.get(name, "")
        path = sounds.get(piece.recording) if piece else None
        if piece is None or path is None or not is_file(path):
            found = f"{folder / 'text'} names {name}, whose recording is not there"
            missing.append(Missing(name, "recording", found, split))
        elif not text:
            found = f"{folder / 'text'} has no words for {name}"
            missing.append(Missing(name, "text", found, split))
        else:
            speaker, language = speakers.get(name), language_of(languages.get(name))
            times = (piece.start, piece.duration)
            clips.append(Clip(name, path, text, speaker, split, language, *times))
    layout = Layout("Kaldi data directory")
    return Corpus(tuple(clips), licence_of(folder), folder, layout, tuple(missing))


def _sound(folder: Path, name: str, value: str) -> Path:
    """The file of a recording; a relative path may start above the directory, as in recipes."""
    if value.endswith("|") or value.startswith("|"):
        raise DataError(
            f"{folder / SCP} gets {name} from a command: {value[:100]}",
            expected="the path of a recording; nothing that stands in data is ever run",
            fix=f"Run the command once by hand, keep its sound as {name}.wav, and write that "
            "path instead",
        )
    if value.rpartition(":")[2].isdigit() and ".ark:" in value:
        raise DataError(
            f"{folder / SCP} has {name} inside an archive: {value[:100]}",
            expected="the path of a recording",
            fix="Write the recordings as files, with Kaldi's: wav-copy scp:wav.scp",
        )
    if "\0" in value:
        raise DataError(
            f"{folder / SCP} has a NUL character in the path of {name}",
            expected="the path of a recording",
            fix="Correct the path",
        )
    starts = (folder, *list(folder.parents)[:2])
    found = (start / value for start in starts)
    return next((path for path in found if is_file(path)), folder / value)


def _segments(folder: Path) -> dict[str, _Piece]:
    path = folder / "segments"
    found = {}
    for name, rest in _optional(path).items():
        where = f"{path}, utterance {name},"
        fields = rest.split()
        if len(fields) != 3:
            raise DataError(
                f"{where} has {len(fields)} fields after its name",
                expected="a recording, a start and an end",
                fix="Correct the line",
            )
        start = seconds(fields[1], where)
        # Kaldi writes -1 for the end of the recording.
        end = math.inf if fields[2].startswith("-1") else seconds(fields[2], where)
        if end <= start:
            raise DataError(
                f"{where} ends at {end:g} s and begins at {start:g} s",
                expected="an end after the start",
                fix="Correct the times",
            )
        found[name] = _Piece(fields[0], start, None if end == math.inf else end - start)
    return found


def _speakers(folder: Path) -> Mapping[str, str]:
    speakers = _optional(folder / "utt2spk")
    if speakers:
        return speakers
    by_speaker = _optional(folder / "spk2utt")
    return {name: speaker for speaker, names in by_speaker.items() for name in names.split()}


def _optional(path: Path) -> dict[str, str]:
    return pairs(path) if path.is_file() else {}
