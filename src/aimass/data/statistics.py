"""What a corpus holds in numbers: by split, by language, by speaker and by label."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aimass.data.checks import Finding, Measurements
from aimass.data.corpus import Clip, Corpus
from aimass.data.scripts import spoken_length
from aimass.text.normalise import normalise

MAX_LABELS = 300  # different texts, beyond which they are no labels


@dataclass(frozen=True, slots=True)
class Row:
    """The clips of one split, speaker, language or label.

    Args:
        hours: of sound, and `active_hours` of it without the pauses.
        seconds: median of one clip.
        level_db: median level of the loudest parts, dBFS.
        pace: median letters in an active second.
        found: clips with a finding.
    """

    name: str
    clips: int
    hours: float
    active_hours: float
    seconds: float
    level_db: float
    pace: float
    found: int


def statistics(
    corpus: Corpus, measurements: Measurements, findings: Sequence[Finding]
) -> dict[str, list[Row]]:
    """Rows by ``split``, ``language``, ``speaker`` and, where texts are few, ``label``.

    The largest come first; clips of which a kind is not known are in no row of it.
    """
    kinds: dict[str, Callable[[Clip], str | None]] = {
        "split": lambda clip: clip.split,
        "language": lambda clip: clip.language,
        "speaker": lambda clip: clip.speaker,
        "label": lambda clip: clip.text,
    }
    if len({clip.text for clip in corpus.clips}) > MAX_LABELS:
        del kinds["label"]
    found = {finding.clip for finding in findings}
    tables = {}
    for kind, of in kinds.items():
        groups: dict[str, list[Clip]] = defaultdict(list)
        for clip in corpus.clips:
            name = of(clip)
            if name is not None:
                groups[name].append(clip)
        rows = [_row(name, clips, measurements, found) for name, clips in groups.items()]
        tables[kind] = sorted(rows, key=lambda row: (-row.clips, row.name))
    return tables


def paces(clips: Iterable[Clip], measurements: Measurements) -> list[float]:
    """Letters in an active second, of the clips where there are any."""
    known: dict[tuple[str, str | None], float] = {}
    found = []
    for clip in clips:
        key = clip.text, clip.language
        if key not in known:
            known[key] = spoken_length(normalise(*key))
        active = measurements[clip.id].active
        if active > 0 and known[key]:
            found.append(known[key] / active)
    return found


def _row(name: str, clips: Sequence[Clip], measurements: Measurements, found: set[str]) -> Row:
    sounds = [measurements[clip.id] for clip in clips]
    heard = [sound for sound in sounds if not sound.fault]
    return Row(
        name,
        len(clips),
        round(sum(sound.seconds for sound in sounds) / 3600, 5),
        round(sum(sound.active for sound in sounds) / 3600, 5),
        round(_median(sound.seconds for sound in heard), 3),
        round(_median(sound.loud_db for sound in heard), 1),
        round(_median(paces(clips, measurements)), 2),
        sum(clip.id in found for clip in clips),
    )


def _median(values: Iterable[float]) -> float:
    listed = list(values)
    return float(np.median(listed)) if listed else 0.0
