"""What members said of the same utterances, in memory and on disk."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from aimass.base.contract import Word
from aimass.base.errors import DataError
from aimass.base.files import new_folder, write_json
from aimass.data.corpus import Clip
from aimass.decoding.combine import LogProbs
from aimass.evaluation.cost import Cost
from aimass.evaluation.scorecard import Scored

FORMAT = 1
INDEX = "outputs.json"
MAX_ROWS_BYTES = 8 << 30
MAX_INDEX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What members gave for the same utterances.

    Args:
        names: the members.
        clips: the utterances, each of an identity of its own.
        rows: ``[member][utterance]`` log-probabilities ``(frames, outputs)``; of a classifier one
            row, the last; None for an engine without posteriors.
        answers: ``[member][utterance]``.
        costs: of each member alone, without reading the sound.
        frame_seconds: time between two rows of each member; empty where nobody measured.

    Raises:
        DataError: parts that do not belong together.
    """

    names: tuple[str, ...]
    clips: tuple[Clip, ...]
    rows: tuple[tuple[LogProbs, ...] | None, ...]
    answers: tuple[tuple[Scored, ...], ...]
    costs: tuple[Cost, ...]
    frame_seconds: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        members, clips = len(self.names), len(self.clips)
        lengths = {len(own) for own in (*self.answers, *self.rows) if own is not None}
        parts = {len(self.rows), len(self.answers), len(self.costs)} | (
            {len(self.frame_seconds)} if self.frame_seconds else set()
        )
        if parts != {members} or lengths - {clips} or len(set(self.names)) != members:
            raise DataError(
                f"outputs of {members} members on {clips} utterances do not fit together",
                expected="members of different names, each with an answer to every utterance",
                fix="Collect the outputs again",
            )

    def only(self, members: Sequence[int]) -> "Outputs":
        """Some of the members, in the order given."""
        return Outputs(
            tuple(self.names[m] for m in members),
            self.clips,
            tuple(self.rows[m] for m in members),
            tuple(self.answers[m] for m in members),
            tuple(self.costs[m] for m in members),
            tuple(self.frame_seconds[m] for m in members) if self.frame_seconds else (),
        )

    def at(self, utterances: Sequence[int]) -> "Outputs":
        """Some of the utterances, in the order given."""
        return replace(
            self,
            clips=tuple(self.clips[u] for u in utterances),
            rows=tuple(own and tuple(own[u] for u in utterances) for own in self.rows),
            answers=tuple(tuple(own[u] for u in utterances) for own in self.answers),
        )

    def save(self, folder: Path) -> None:
        """Write a folder that `read` reads back, whole or not at all."""
        with new_folder(folder) as fresh:
            for number, own in enumerate(self.rows):
                if own is not None:
                    lengths = np.array([len(rows) for rows in own], np.int64)
                    whole = np.concatenate(own) if own else np.empty((0, 0), np.float32)
                    np.savez(fresh / f"rows-{number}.npz", rows=whole, lengths=lengths)
            write_json(fresh / INDEX, self._index())

    def _index(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "names": self.names,
            "clips": [asdict(clip) | {"path": str(clip.path)} for clip in self.clips],
            "rows": [own is not None for own in self.rows],
            "answers": [
                [[a.hypothesis, a.confidence, a.seconds, *map(_plain, a.words)] for a in own]
                for own in self.answers
            ],
            "costs": [asdict(cost) for cost in self.costs],
            "frame_seconds": self.frame_seconds,
        }

    @classmethod
    def read(cls, folder: Path) -> "Outputs":
        """What `save` wrote.

        Raises:
            DataError: a folder without outputs, or files that were changed.
        """
        try:
            if (folder / INDEX).stat().st_size > MAX_INDEX_BYTES:
                raise ValueError(f"{INDEX} has more than {MAX_INDEX_BYTES} bytes")
            plain = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            if plain["format"] != FORMAT:
                raise ValueError(f"it is of format {plain['format']}")
            clips = _CLIPS.validate_python(plain["clips"])
            return cls(
                _NAMES.validate_python(plain["names"]),
                clips,
                tuple(
                    _read_rows(folder / f"rows-{number}.npz") if has else None
                    for number, has in enumerate(plain["rows"])
                ),
                tuple(
                    tuple(_answer(clip, *row) for clip, row in zip(clips, own, strict=True))
                    for own in plain["answers"]
                ),
                _COSTS.validate_python(plain["costs"]),
                _SECONDS.validate_python(plain["frame_seconds"]),
            )
        # A damaged archive makes zlib, zipfile and numpy raise many kinds.
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
            raise DataError(
                f"{folder} holds no outputs of members: {str(error)[:300]}",
                expected=f"{INDEX} and rows-N.npz, as this version writes them",
                fix="Collect the outputs again",
            ) from error


_NAMES = TypeAdapter(tuple[str, ...])
_CLIPS = TypeAdapter(tuple[Clip, ...])
_COSTS = TypeAdapter(tuple[Cost, ...])
_SECONDS = TypeAdapter(tuple[float | None, ...])


def _plain(word: Word) -> list[Any]:
    return [word.text, word.start, word.end, word.confidence]


def scored(
    clip: Clip,
    text: str,
    confidence: float | None,
    seconds: float | None,
    words: tuple[Word, ...] = (),
) -> Scored:
    """An answer to a clip, ready to be scored."""
    return Scored(
        clip.id,
        clip.speaker,
        clip.text,
        text,
        language=clip.language,
        confidence=confidence,
        audio=str(clip.path),
        seconds=seconds,
        start=clip.start,
        words=words,
    )


def _answer(clip: Clip, text: str, confidence: float | None, seconds: float, *words: Any) -> Scored:
    """The answer that `_index` wrote as ``[text, confidence, seconds, *words]``."""
    kept = tuple(Word(str(word), *map(float, numbers)) for word, *numbers in words)
    return scored(clip, str(text), None if confidence is None else float(confidence), seconds, kept)


def _read_rows(path: Path) -> tuple[LogProbs, ...]:
    with zipfile.ZipFile(path) as archive:
        size = sum(info.file_size for info in archive.infolist())
    if size > MAX_ROWS_BYTES:
        raise ValueError(f"{path.name} unfolds into {size} bytes")
    with np.load(path, allow_pickle=False) as arrays:
        rows, lengths = arrays["rows"], arrays["lengths"]
    if (
        (rows.dtype, rows.ndim) != (np.float32, 2)
        or lengths.sum() != len(rows)
        or lengths.min() < 0
    ):
        raise ValueError(f"{path.name} holds {rows.dtype} of shape {rows.shape}")
    return tuple(np.split(rows, np.cumsum(lengths)[:-1]))
