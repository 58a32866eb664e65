"""Which clips train, tune and judge a model."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aimass.base.errors import DataError
from aimass.data.corpus import Clip

DEV_SHARE = 0.1
ROUNDING = 1e-3  # seconds that neighbouring cuts of one recording may share
MIN_SPEAKERS = 10  # below this, holding out a speaker costs more training data than it tells


@dataclass(frozen=True, slots=True)
class Splits:
    """Three disjoint sets of clips."""

    train: tuple[Clip, ...]
    dev: tuple[Clip, ...]
    test: tuple[Clip, ...]


def hold_out(
    clips: Sequence[Clip], share: float = DEV_SHARE, salt: str = ""
) -> tuple[list[Clip], list[Clip]]:
    """Split clips into ``(kept, held out)``, by speaker where there are enough speakers.

    The choice depends on each speaker's (or clip's) own name alone, so it is stable when
    data is added.

    Args:
        salt: another choice; what is held out of the clips that an earlier call kept needs one.
    """
    speakers = {clip.speaker for clip in clips}
    by_speaker = None not in speakers and len(speakers) >= MIN_SPEAKERS

    def held(clip: Clip) -> bool:
        key = clip.speaker if by_speaker and clip.speaker else clip.id
        drawn = int.from_bytes(hashlib.sha256((salt + key).encode()).digest()[:4], "big")
        return drawn < share * 2**32

    kept = [clip for clip in clips if not held(clip)]
    out = [clip for clip in clips if held(clip)]
    if not kept or not out:  # a handful of clips: take every n-th
        step = max(2, round(1 / share))
        out = list(clips[::step])
        kept = [clip for index, clip in enumerate(clips) if index % step]
    if not kept:
        raise DataError(
            f"only {len(clips)} training clip",
            expected="at least two, so that one can be held out",
            fix="Add recordings",
        )
    return kept, out


def refuse_leaks(splits: Splits, recording: Callable[[Path], str] = str) -> None:
    """Raise `DataError` when the same stretch of a recording is in two of the sets.

    Args:
        recording: what tells recordings apart: their resolved path, or the digest of their
            content, which also finds copies.
    """
    named = {"train": splits.train, "dev": splits.dev, "test": splits.test}
    stretches: dict[str, list[tuple[float, float, str, Clip]]] = {}
    for name, clips in named.items():
        for clip in clips:
            end = math.inf if clip.duration is None else clip.start + clip.duration
            own = stretches.setdefault(recording(clip.path.resolve()), [])
            own.append((clip.start, end, name, clip))
    for own in stretches.values():
        _refuse_overlap(sorted(own, key=lambda stretch: stretch[:3]))


def _refuse_overlap(stretches: Sequence[tuple[float, float, str, Clip]]) -> None:
    """Refuse stretches of one recording, in order of their start, that two sets share."""
    latest: dict[str, tuple[float, Clip]] = {}
    for start, end, name, clip in stretches:
        for other, (ended, before) in latest.items():
            if other != name and start < ended - ROUNDING:
                same = "" if before.path == clip.path else f", there as {before.path}"
                raise DataError(
                    f"{clip.path} is in both {name} and {other}{same}",
                    expected="training, dev and test data without common recordings",
                    fix="Give other folders, or a split column in metadata.tsv",
                )
        if name not in latest or end > latest[name][0]:
            latest[name] = (end, clip)
