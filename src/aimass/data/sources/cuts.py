"""Lhotse manifests: cuts, or recordings with their supervisions; read without Lhotse itself.

Żelasko et al., "Lhotse: a speech data representation library for the modern deep learning
ecosystem", 2021, arXiv:2110.12561.
"""

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aimass.base.errors import DataError
from aimass.data.sources.files import UNSTATED, is_file, language_of, licence_of, some
from aimass.data.types import SPLITS, Clip, Corpus, Layout, Missing, split_named

ENDINGS = (".jsonl", ".jsonl.gz")
DOUBTFUL = ".doubtful"  # before the ending: clips that alignment keeps apart
_LONGEST_LINE = 1 << 24  # characters; a cut may carry many supervisions and alignments
_BROKEN = (AttributeError, KeyError, IndexError, TypeError, ValueError)


def recognise(folder: Path) -> bool:
    """Whether a folder holds cuts, or recordings and supervisions."""
    return bool(_cuts(folder) or _pairs(folder))


def read_folder(folder: Path) -> Corpus:
    """Read a folder's manifests as one corpus; ``*_recordings_train.jsonl.gz`` and its like are
    the splits, and what alignment doubts is left out.

    Raises:
        DataError: as `read`, or manifests of which only some are named after splits.
    """
    cuts, pairs = _cuts(folder), _pairs(folder)
    paths = cuts or list(pairs)
    splits = {path: _split_in(path) for path in paths}
    if any(splits.values()) and not all(splits.values()):
        raise DataError(
            f"{folder} holds the manifests {some(path.name for path in paths)}",
            expected="names that end in train, dev and test, for all of them or for none",
            fix=f"Name one of them: aimass data show {paths[0]}",
        )
    corpora = [
        read(path, splits[path]) if cuts else _read_pair(path, pairs[path], splits[path])
        for path in paths
    ]
    licences = dict.fromkeys(c.licence for c in corpora if c.licence != UNSTATED)
    clips = tuple(clip for corpus in corpora for clip in corpus.clips)
    missing = tuple(one for corpus in corpora for one in corpus.missing)
    others = set(_manifests(folder)) - {*paths, *pairs, *pairs.values()}
    layout = Layout(corpora[0].layout.name, notes=tuple(_notes(others)))
    return Corpus(clips, "\n".join(licences) or UNSTATED, folder, layout, missing)


def read(path: Path, split: str | None = None) -> Corpus:
    """Read a manifest of cuts; one of recordings or supervisions is read with its other half.

    Args:
        split: of all cuts that do not name one themselves.

    Raises:
        DataError: a line that is no cut with one recording and one text, or no JSON.
    """
    for recordings, supervisions in _pairs(path.parent).items():
        if path in (recordings, supervisions):
            return _read_pair(recordings, supervisions, split)
    clips: list[Clip] = []
    missing: list[Missing] = []
    licence = ""
    for line, cut in _json_lines(path):
        try:
            clip = _clip(cut, path, split)
            licence = str((cut.get("custom") or {}).get("licence", licence))
        except _BROKEN as error:
            raise DataError(
                f"{path} line {line} is no cut with a recording and a text: {error!r}",
                expected="Lhotse MonoCuts with one supervision and recordings in files",
                fix="Write the manifest with lhotse CutSet.to_jsonl",
            ) from error
        _sort(clip, f"{path} line {line}", clips, missing)
    layout = Layout("Lhotse cuts")
    return Corpus(tuple(clips), licence or licence_of(path.parent), path, layout, tuple(missing))


def _clip(cut: dict[str, Any], path: Path, split: str | None) -> Clip:
    (supervision,) = cut["supervisions"]
    custom = cut.get("custom") or {}
    if not supervision["text"].strip():
        raise ValueError("an empty text")
    return _spoken(
        supervision,
        _file(cut["recording"], path),
        (cut["start"], cut["duration"]),
        name=str(cut["id"]),
        split=SPLITS[custom["split"]] if custom.get("split") else split,
        synthetic=custom.get("synthetic", False),
    )


def _spoken(
    supervision: dict[str, Any],
    audio: Path,
    times: tuple[Any, Any],
    *,
    name: str,
    split: str | None,
    synthetic: object,
) -> Clip:
    start, duration = map(float, times)
    speaker = supervision.get("speaker")
    if not (0 <= start < math.inf and 0 < duration < math.inf):
        raise ValueError(f"start {start}, duration {duration}")
    if not isinstance(synthetic, bool):
        raise ValueError(f"synthetic {synthetic!r}")
    return Clip(
        id=name,
        path=audio,
        text=supervision["text"].strip(),
        speaker=None if speaker in (None, "") else str(speaker),
        split=split,
        language=language_of(supervision.get("language")),
        start=start,
        duration=duration,
        synthetic=synthetic,
    )


def _file(recording: dict[str, Any], manifest: Path) -> Path:
    """The one file of a recording that is heard as it is stored."""
    source = recording["sources"][0]
    if source["type"] != "file":
        raise KeyError("a source of type file")
    if recording.get("transforms"):
        raise ValueError("a recording that is to be changed when it is read")
    audio = Path(source["source"])
    return audio if audio.is_absolute() else manifest.parent / audio


def _read_pair(recordings: Path, supervisions: Path, split: str | None) -> Corpus:
    sounds = _sounds(recordings)
    clips: list[Clip] = []
    missing: list[Missing] = []
    channels: dict[str, str] = {}
    for line, segment in _json_lines(supervisions):
        where = f"{supervisions} line {line}"
        try:
            name, recording = str(segment["id"]), str(segment["recording_id"])
            channel = json.dumps(segment.get("channel", 0))
            if not (segment.get("text") or "").strip():
                missing.append(Missing(name, "text", f"{where} has no text for {name}", split))
                continue
            if recording not in sounds:
                found = f"{where} speaks of the recording {recording}, which is not there"
                missing.append(Missing(name, "recording", found, split))
                continue
            times = (segment["start"], segment["duration"])
            custom = segment.get("custom") or {}
            made, audio = custom.get("synthetic", False), sounds[recording]
            clip = _spoken(segment, audio, times, name=name, split=split, synthetic=made)
        except _BROKEN as error:
            raise DataError(
                f"{where} is no supervision: {error!r}",
                expected="Lhotse SupervisionSegments",
                fix="Write the manifest with lhotse SupervisionSet.to_file",
            ) from error
        if channels.setdefault(recording, channel) != channel:
            raise _several_channels(where, recording)
        _sort(clip, where, clips, missing)
    layout = Layout("Lhotse recordings and supervisions")
    licence = licence_of(recordings.parent)
    return Corpus(tuple(clips), licence, recordings.parent, layout, tuple(missing))


def _several_channels(where: str, recording: str) -> DataError:
    return DataError(
        f"{where} speaks of another channel of {recording} than a line above",
        expected="one channel for each recording: channels are mixed when they are read",
        fix="Write each channel to a file of its own: ffmpeg -i INPUT -map_channel 0.0.N OUTPUT",
    )


def _sounds(path: Path) -> Mapping[str, Path]:
    """The file of each recording."""
    found = {}
    for line, recording in _json_lines(path):
        try:
            found[str(recording["id"])] = _file(recording, path)
        except _BROKEN as error:
            raise DataError(
                f"{path} line {line} is no recording in a file: {error!r}",
                expected="Lhotse Recordings whose sources are files, without transforms",
                fix="Write the sound to files with lhotse, and the manifest again",
            ) from error
    return found


def _sort(clip: Clip, where: str, clips: list[Clip], missing: list[Missing]) -> None:
    """Put a clip where it belongs: with those whose recording is there, or with the others."""
    if is_file(clip.path):
        clips.append(clip)
    else:
        found = f"{where} names {clip.path}, which is not there"
        missing.append(Missing(clip.id, "recording", found, clip.split))


def _manifests(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith(ENDINGS) and not path.name.startswith(".")
    )


def _cuts(folder: Path) -> list[Path]:
    """Manifests of cuts, by their name or by what they hold, but for those that are doubtful."""
    return [
        path
        for path in _manifests(folder)
        if not _is_doubtful(path) and ("cuts" in _words(path) or _begins_with_a_cut(path))
    ]


def _is_doubtful(path: Path) -> bool:
    return path.name.endswith(tuple(DOUBTFUL + ending for ending in ENDINGS))


def _begins_with_a_cut(path: Path) -> bool:
    try:
        _, first = next(_json_lines(path), (0, None))
    except DataError:  # whatever it is, it does not say that it holds cuts
        return False
    return isinstance(first, dict) and {"recording", "supervisions"} <= first.keys()


def _notes(left_out: Iterable[Path]) -> Iterator[str]:
    """What is to be told of manifests that are not read."""
    doubtful = sorted(path.name for path in left_out if _is_doubtful(path))
    others = sorted(path.name for path in left_out if not _is_doubtful(path))
    if doubtful:
        yield f"left out, as text and sound do not agree: {some(doubtful)}"
    if others:
        yield f"not read, as they do not begin with a cut: {some(others)}"


def _pairs(folder: Path) -> dict[Path, Path]:
    """Manifests of recordings, each with that of its supervisions."""
    found = {}
    for path in _manifests(folder):
        if "recordings" not in _words(path):
            continue
        other = path.with_name(path.name.replace("recordings", "supervisions"))
        if other.is_file():
            found[path] = other
    return found


def _words(path: Path) -> list[str]:
    """The words of a manifest's name."""
    return path.name.partition(".jsonl")[0].replace("-", "_").split("_")


def _split_in(path: Path) -> str | None:
    """The split that the words of a manifest's name speak of."""
    names = (split_named(word) for word in _words(path))
    return next((name for name in names if name), None)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a manifest, each with its line."""
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if line.strip():
                    yield number, json.loads(line)
    except (ValueError, OSError, EOFError, zlib.error, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read near line {number}: {error}",
            expected="one JSON object a line, in UTF-8, compressed where the name ends in .gz",
            fix="Write the manifest again",
        ) from error
