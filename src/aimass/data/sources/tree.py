"""A folder for each label: ``LABEL/*.wav``, as in Google Speech Commands.

Warden, "Speech Commands: a dataset for limited-vocabulary speech recognition", 2018,
arXiv:1804.03209: ``<speaker>_nohash_<number>.wav``, ``validation_list.txt`` and
``testing_list.txt``, and ``_background_noise_``, which is no label.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from aimass.base.errors import DataError
from aimass.data.sources.files import licence_of, opened_lines, recordings, some, top_splits
from aimass.data.types import Clip, Corpus, Layout, Missing

LISTS = {"validation_list.txt": "dev", "testing_list.txt": "test"}
_SPEAKER = re.compile(r"(.+)_nohash_\d+")


def recognise(folder: Path) -> bool:
    """Whether the recordings stand in at least two folders, all at one depth."""
    names = [path.relative_to(folder) for path in recordings(folder)]
    kept = [name for name in names if not _left_out(name)]
    return len({name.parts[:-1] for name in kept}) > 1 and all(len(n.parts) > 1 for n in kept)


def read(folder: Path) -> Corpus:
    """Read ``LABEL/*.wav``, or ``SPLIT/LABEL/*.wav``.

    Raises:
        DataError: folders below the labels, which may mean anything, or a link that leaves the
            folder.
    """
    found = [(path, path.relative_to(folder)) for path in recordings(folder)]
    kept = [(path, name) for path, name in found if not _left_out(name)]
    splits = top_splits(folder, [path for path, _ in kept])
    _refuse_deep([name for _, name in kept], 3 if splits else 2, folder)
    listed, listed_notes = _lists(folder)
    notes = _notes([name for _, name in found]) + listed_notes
    clips = [_clip(path, name, splits, listed) for path, name in kept]
    if all(clip.speaker is None for clip in clips):
        notes.append("speakers are not known: this layout does not tell them")
    absent = listed.keys() - {clip.id for clip in clips}
    missing = [
        Missing(name, "recording", f"{folder} lists {name}, which is not there", listed[name])
        for name in sorted(absent)
    ]
    layout = Layout("a folder for each label", notes=tuple(notes))
    return Corpus(tuple(clips), licence_of(folder), folder, layout, tuple(missing))


def _clip(path: Path, name: Path, splits: Mapping[str, str], listed: Mapping[str, str]) -> Clip:
    speaker = _SPEAKER.fullmatch(path.stem)
    split = splits.get(name.parts[0])
    return Clip(
        id=name.as_posix(),
        path=path,
        text=name.parts[-2],
        speaker=speaker.group(1) if speaker else None,
        split=listed.get(name.as_posix(), "train") if listed else split,
    )


def _left_out(name: Path) -> bool:
    return any(part.startswith("_") for part in name.parts[:-1])


def _notes(names: Sequence[Path]) -> list[str]:
    """What is left out, by folder."""
    counts = Counter(
        next(part for part in name.parts if part.startswith("_"))
        for name in names
        if _left_out(name)
    )
    return [
        f"{folder} was left out, with {count} recordings: such folders hold no label"
        for folder, count in sorted(counts.items())
    ]


def _lists(folder: Path) -> tuple[dict[str, str], list[str]]:
    """The split of each recording that a list names."""
    listed = {
        line.strip(): split
        for name, split in LISTS.items()
        if (folder / name).is_file()
        for line in opened_lines(folder / name)
        if line.strip()
    }
    notes = ["splits are those of " + " and ".join(LISTS) + "; all else is train"]
    return listed, notes if listed else []


def _refuse_deep(names: Sequence[Path], depth: int, folder: Path) -> None:
    wrong = [name.as_posix() for name in names if len(name.parts) != depth]
    if wrong:
        raise DataError(
            f"{folder} holds {some(wrong, 2)}: a tree from which no label can be told",
            expected="LABEL/x.wav or SPLIT/LABEL/x.wav for all recordings",
            fix="Move the recordings, or write a metadata.tsv with the columns file and text",
        )
