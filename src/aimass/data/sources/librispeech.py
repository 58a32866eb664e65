"""LibriSpeech's layout: ``SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt`` beside the recordings.

Panayotov et al., "LibriSpeech: an ASR corpus based on public domain audio books", ICASSP 2015.
"""

from pathlib import Path

from aimass.base.errors import DataError
from aimass.data.sources.files import UNSTATED, inside, licence_of, pairs, recordings
from aimass.data.types import Clip, Corpus, Layout, Missing, split_named

_TRANSCRIPTS = "*.trans.txt"


def recognise(folder: Path) -> bool:
    """Whether transcripts stand where the layout has them, below a subset's folder or not."""
    return any(any(folder.glob(f"{depth}{_TRANSCRIPTS}")) for depth in ("", "*/", "*/*/", "*/*/*/"))


def read(folder: Path) -> Corpus:
    """Read all subsets below a folder; ``train-clean-100`` and its like are the splits.

    Raises:
        DataError: a transcript that does not parse, or a link that leaves the folder.
    """
    sounds = {path.with_suffix(""): path for path in recordings(folder)}
    clips: list[Clip] = []
    missing: list[Missing] = []
    for table in sorted(folder.rglob(_TRANSCRIPTS)):
        inside(folder, str(table.relative_to(folder)), str(folder))
        split = _split(table.relative_to(folder))
        for name, text in pairs(table).items():
            path = sounds.pop(table.parent / name, None)
            if path is None:
                found = f"{table} names {name}, whose recording is not there"
                missing.append(Missing(name, "recording", found, split))
            elif not text:
                found = f"{table} names {name} without a text"
                missing.append(Missing(name, "text", found, split))
            else:
                clips.append(Clip(name, path, text, _speaker(name, table), split))
    for path in sounds.values():
        found = f"{path} is in no transcript, so its text is not there"
        split = _split(path.relative_to(folder))
        missing.append(Missing(path.stem, "text", found, split))
    licence = licence_of(folder)
    if licence == UNSTATED:  # a subset's folder, below the one that holds the licence
        licence = licence_of(folder.parent)
    return Corpus(tuple(clips), licence, folder, Layout("LibriSpeech"), tuple(missing))


def _split(path: Path) -> str | None:
    return split_named(path.parts[0]) if len(path.parts) > 1 else None


def _speaker(name: str, table: Path) -> str:
    speaker, dash, _ = name.partition("-")
    if not (speaker and dash):
        raise DataError(
            f"{table} names {name[:200]!r}",
            expected="SPEAKER-CHAPTER-NUMBER before each text",
            fix="Correct the transcript",
        )
    return speaker
