"""What a corpus is, wherever it was read: clips, their licence, and what was understood."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from aimass.base.errors import AudioError, DataError

SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test"}
LICENCE_FILES = (
    "LICENSE_NOTE.txt", "LICENSE", "LICENSE.txt", "LICENSE.TXT", "LICENCE", "LICENCE.txt",
)  # fmt: skip
_MORE_SPLITS = SPLITS | {
    "training": "train",
    "val": "dev",
    "development": "dev",
    "testing": "test",
}


def split_named(name: str) -> str | None:
    """The split that a name speaks of: ``test`` for ``test-other``; None where it is none."""
    name = name.strip().lower().replace("_", "-")
    return _MORE_SPLITS.get(name) or _MORE_SPLITS.get(name.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled stretch of a recording.

    Args:
        id: unique within its corpus.
        path: the recording.
        text: what is said, as the label gives it.
        split: ``train``, ``dev``, ``test``, or None where the corpus has no official split.
        start: seconds into the recording.
        duration: seconds, None for all that follows `start`.
        synthetic: spoken by a voice engine; such a clip is never in a dev or test split.
    """

    id: str
    path: Path
    text: str
    speaker: str | None = None
    split: str | None = None
    language: str | None = None
    start: float = 0.0
    duration: float | None = None
    synthetic: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """One of the two halves of a clip that the other half promises.

    Args:
        id: of the clip that is not there for want of it.
        found: the whole finding, such as ``metadata.tsv line 2 names a.flac, which is not there``.
    """

    id: str
    what: Literal["recording", "text"]
    found: str
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """How a source was understood, for a person to confirm.

    Args:
        name: the kind of source.
        columns: ``(what we call it, what the source calls it)`` for each column in use.
        notes: sentences on what was decided, and what was left out and why.
    """

    name: str
    columns: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clips with the licence they carry wherever they go.

    Args:
        layout: how the source was understood.
        missing: what the source names and does not hold; never among the clips.
    """

    clips: tuple[Clip, ...]
    licence: str
    source: Path
    layout: Layout = Layout("clips")
    missing: tuple[Missing, ...] = ()

    def split(self, name: str) -> "Corpus":
        """The clips of one official split; all of them where the corpus has no splits."""
        if all(clip.split is None for clip in self.clips):
            return self
        # What a corpus with splits leaves open is for training, as the publishers of corpora
        # have it; nothing is dropped.
        kept = tuple(clip for clip in self.clips if (clip.split or "train") == name)
        if not kept:
            found = sorted({clip.split or "none" for clip in self.clips})
            raise DataError(
                f"{self.source} has no clip in split '{name}'; its splits are {', '.join(found)}",
                expected=f"rows whose split column says {name}",
                fix="Name another folder, or correct the split column",
            )
        missing = tuple(one for one in self.missing if one.split in (name, None))
        return replace(self, clips=kept, missing=missing)

    def whole(self) -> "Corpus":
        """This corpus, for work that nobody's report of what is missing goes with.

        Raises:
            DataError: something is missing.
        """
        if self.missing:
            count = len(self.missing)
            others = f" ({count - 1} more like it)" if count > 1 else ""
            raise DataError(
                self.missing[0].found + others,
                expected="a recording and its text for every clip",
                fix=f"Restore what is missing; to see all of it type: aimass data show "
                f"{self.source}",
            )
        return self


@contextmanager
def naming(clip: Clip) -> Iterator[None]:
    """Say of an `AudioError` in the block which of many recordings it is about."""
    try:
        yield
    except AudioError as error:
        if str(clip.path) in error.found:
            raise
        found = f"{clip.path}: {error.found}"
        raise type(error)(found, expected=error.expected, fix=error.fix) from error
