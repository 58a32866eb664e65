"""An aligned recording to clips: cut at pauses, or between words where nobody pauses.

Every word of the text is in exactly one clip. A clip in which text and sound do not agree is
marked as doubtful, and speech that the text does not have is told; nothing is dropped silently.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aimass.audio.types import AudioInfo
from aimass.base.errors import RequestError
from aimass.data.types import Clip
from aimass.runtime.align import Alignment, Placed

_MARGIN = 0.25  # seconds of pause that a clip keeps at either end


@dataclass(frozen=True, slots=True)
class CutPlan:
    """Where to cut.

    Args:
        longest: seconds of a clip; above it, it is cut where it must be.
        shortest: seconds that a clip has before a pause ends it.
        pause: seconds without speech that end a clip.
        doubtful: confidence below which a clip is marked.
    """

    longest: float = 20.0
    shortest: float = 2.0
    pause: float = 0.3
    doubtful: float = 0.3


@dataclass(frozen=True, slots=True)
class Cut:
    """A clip.

    Args:
        start, duration: seconds.
        text: as written.
        confidence: that of its worst word, or of its worst gap between words.
        doubts: its words that are probably not said there; ``+`` stands for words that are said
            and not written.
    """

    start: float
    duration: float
    text: str
    confidence: float
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cuts:
    """The clips of a recording, and the speech in it that no text goes with."""

    sure: tuple[Cut, ...]
    doubtful: tuple[Cut, ...]
    unwritten: tuple[tuple[float, float], ...]


def cut(found: Alignment, plan: CutPlan | None = None) -> Cuts:
    """Cut an aligned recording.

    Raises:
        RequestError: a plan that no recording can follow.
    """
    plan = plan or CutPlan()
    _check(plan)
    clips, unwritten = [], []
    first = 0
    while first < len(found.placed):
        end = _end(found, first, plan)
        clips.append(_clip(found, first, end, plan))
        first = end
    for number in range(len(found.placed) + 1):
        if _gap(found, number) < plan.doubtful:
            unwritten += _apart(found, number)
    return Cuts(
        tuple(clip for clip in clips if clip.confidence >= plan.doubtful),
        tuple(clip for clip in clips if clip.confidence < plan.doubtful),
        tuple(unwritten),
    )


def _check(plan: CutPlan) -> None:
    if not (0 <= plan.shortest < plan.longest <= 3600 and plan.pause > 0):
        raise RequestError(
            f"clips of {plan.shortest} to {plan.longest} s, cut at pauses of {plan.pause} s",
            expected="a shortest below the longest, at most an hour, and a pause above 0",
            fix="Correct it",
            param="longest",
        )


def _end(found: Alignment, first: int, plan: CutPlan) -> int:
    """The word before which the clip that begins with `first` ends."""
    placed, fitting = found.placed, []
    for number in range(first + 1, len(placed)):
        length = placed[number - 1].end - placed[first].start
        if length > plan.longest:
            break
        pause = placed[number].start - placed[number - 1].end
        if pause >= plan.pause and length >= plan.shortest:
            return number
        fitting.append((length >= plan.longest / 2, pause, number))
    if placed[-1].end - placed[first].start <= plan.longest:
        return len(placed)
    return max(fitting, default=(False, 0.0, first + 1))[2]


def _clip(found: Alignment, first: int, end: int, plan: CutPlan) -> Cut:
    own = found.placed[first:end]
    before = found.placed[first - 1].end if first else 0.0
    after = found.placed[end].start if end < len(found.placed) else found.duration
    start = max((before + own[0].start) / 2, own[0].start - _MARGIN)
    stop = min((own[-1].end + after) / 2, own[-1].end + _MARGIN)
    # Words beside the text at either end count, unless they lie in a stretch of their own.
    gaps = [1.0 if _apart(found, number) else _gap(found, number) for number in (first, end)]
    gaps[1:1] = [_gap(found, number) for number in range(first + 1, end)]
    doubts: list[str] = []
    for one, gap in zip(own, gaps, strict=False):
        doubts += ["+"] if gap < plan.doubtful else []
        doubts += [_written(found, [one])] if one.confidence < plan.doubtful else []
    doubts += ["+"] if gaps[-1] < plan.doubtful else []
    sure = min(*gaps, *(one.confidence for one in own))
    return Cut(round(start, 3), round(stop - start, 3), _written(found, own), sure, tuple(doubts))


def _gap(found: Alignment, number: int) -> float:
    """How well it goes without words before a unit; after the last with its count."""
    return found.placed[number].gap if number < len(found.placed) else found.gap


def _apart(found: Alignment, number: int) -> list[tuple[float, float]]:
    """Stretches of speech between two units that hold neither."""
    low = found.placed[number - 1].end if number else 0.0
    high = found.placed[number].start if number < len(found.placed) else found.duration
    return [(a, b) for a, b in found.speech if a >= low and b <= high and b > a]


def _written(found: Alignment, own: Sequence[Placed]) -> str:
    return " ".join(found.text[own[0].unit.begin : own[-1].unit.stop].split())


def lines(cuts: Sequence[Cut], whole: Clip, info: AudioInfo, licence: str = "") -> Iterator[str]:
    """The lines of a Lhotse cut manifest, with confidence and doubts in ``custom``.

    Args:
        whole: the recording that was cut; its id names the clips, and its speaker, language,
            split and origin are theirs.
        info: what is known of the recording; its duration must be.
        licence: goes with the clips.
    """
    source = {
        "type": "file",
        "channels": list(range(info.channels)),
        "source": str(whole.path.resolve()),
    }
    seconds = info.duration or 0.0
    recording = {
        "id": whole.id,
        "sources": [source],
        "sampling_rate": info.rate,
        "num_samples": round(seconds * info.rate),
        "duration": seconds,
    }
    shared = {"split": whole.split, "licence": licence, "synthetic": whole.synthetic}
    for one in cuts:  # named by place: whoever corrects a doubtful one puts it beside the others
        name = f"{whole.id}-{round(one.start * 1000):08d}"
        line = _line(one, name, whole) | {"recording": recording}
        line["custom"] |= shared
        yield json.dumps(line, ensure_ascii=False) + "\n"


def _line(one: Cut, name: str, whole: Clip) -> dict[str, Any]:
    said = {
        "id": name,
        "recording_id": whole.id,
        "start": 0.0,
        "duration": one.duration,
        "channel": 0,
        "text": one.text,
        "speaker": whole.speaker,
        "language": whole.language,
    }
    return {
        "id": name,
        "start": one.start,
        "duration": one.duration,
        "channel": 0,
        "supervisions": [said],
        "custom": {"confidence": round(one.confidence, 4), "doubts": list(one.doubts)},
        "type": "MonoCut",
    }
