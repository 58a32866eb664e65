"""The scorecard of a model on one test set: how wrong, how sure, how costly."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aimass.evaluation.errors import Errors, count_errors
from aimass.evaluation.interval import error_interval
from aimass.text.normalise import normalise, tokens

Metric = Literal["wer", "cer", "classification_error"]

_WORST = 10


@dataclass(frozen=True, slots=True)
class Scored:
    """One utterance to score: what was said and what was recognised."""

    utterance_id: str
    speaker: str | None
    reference: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What recognition took, where it was measured.

    Args:
        audio_seconds: sound recognised.
        compute_seconds: wall time spent on it.
        peak_memory_mb: largest resident size of the process, megabytes.
    """

    audio_seconds: float | None = None
    compute_seconds: float | None = None
    peak_memory_mb: float | None = None

    @property
    def rtf(self) -> float | None:
        """Real-time factor: seconds of work for one second of sound."""
        if not self.audio_seconds or self.compute_seconds is None:
            return None
        return self.compute_seconds / self.audio_seconds


@dataclass(frozen=True, slots=True)
class SpeakerScore:
    """One speaker's share of a scorecard."""

    speaker: str
    utterances: int
    error_rate: float


@dataclass(frozen=True, slots=True)
class WorstUtterance:
    """An utterance with many errors, as it was compared."""

    utterance_id: str
    reference: str
    hypothesis: str
    errors: int
    error_rate: float


@dataclass(frozen=True, slots=True)
class Scorecard:
    """How a model did on one test set.

    ``interval`` is the 95 % interval of ``error_rate``; ``per_speaker`` stands in order of
    names and is empty when speakers are unknown.
    """

    metric: Metric
    error_rate: float
    interval: tuple[float, float]
    errors: Errors
    utterances: int
    speakers: int
    per_speaker: tuple[SpeakerScore, ...] = ()
    worst: tuple[WorstUtterance, ...] = ()
    cost: Cost = Cost()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "metric": self.metric,
            "error_rate": self.error_rate,
            "interval": list(self.interval),
            "errors": asdict(self.errors),
            "utterances": self.utterances,
            "speakers": self.speakers,
            "per_speaker": [asdict(row) for row in self.per_speaker],
            "rtf": self.cost.rtf,
            "peak_memory_mb": self.cost.peak_memory_mb,
            "audio_seconds": self.cost.audio_seconds,
            "worst": [asdict(row) for row in self.worst],
        }


def score(
    results: Sequence[Scored],
    metric: Metric,
    language: str | None = None,
    cost: Cost = Cost(),
) -> Scorecard:
    """Score recognised utterances against what was said.

    Both sides are normalised first. A classification counts as one token, right or wrong, and
    labels are compared as they are.

    Args:
        language: ISO 639-1 code for number words and spelling, None for neither.
        cost: time and memory, to be kept with the errors.
    """
    compared = [_comparable(result, metric, language) for result in results]
    counts = [count_errors(reference, hypothesis) for reference, hypothesis in compared]
    pooled = sum(counts, Errors())
    speakers = [result.speaker for result in results]
    joint = "" if metric == "cer" else " "
    return Scorecard(
        metric=metric,
        error_rate=pooled.rate,
        interval=error_interval([c.total for c in counts], [c.length for c in counts], speakers),
        errors=pooled,
        utterances=len(results),
        speakers=len({speaker for speaker in speakers if speaker is not None}),
        per_speaker=_per_speaker(speakers, counts),
        worst=_worst(results, [(joint.join(r), joint.join(h)) for r, h in compared], counts),
        cost=cost,
    )


def _comparable(
    result: Scored, metric: Metric, language: str | None
) -> tuple[Sequence[str], Sequence[str]]:
    if metric == "classification_error":
        return [result.reference], [result.hypothesis]
    unit: Literal["word", "char"] = "char" if metric == "cer" else "word"
    return (
        tokens(normalise(result.reference, language), unit),
        tokens(normalise(result.hypothesis, language), unit),
    )


def _per_speaker(
    speakers: Sequence[str | None], counts: Sequence[Errors]
) -> tuple[SpeakerScore, ...]:
    rows: dict[str, list[Errors]] = {}
    for speaker, count in zip(speakers, counts, strict=True):
        if speaker is not None:
            rows.setdefault(speaker, []).append(count)
    return tuple(
        SpeakerScore(speaker, len(own), sum(own, Errors()).rate)
        for speaker, own in sorted(rows.items())
    )


def _worst(
    results: Sequence[Scored], compared: Sequence[tuple[str, str]], counts: Sequence[Errors]
) -> tuple[WorstUtterance, ...]:
    """The utterances with most errors; ties by identity, so that order does not matter."""
    rows = [
        WorstUtterance(result.utterance_id, reference, hypothesis, count.total, count.rate)
        for result, (reference, hypothesis), count in zip(results, compared, counts, strict=True)
        if count.total
    ]
    return tuple(sorted(rows, key=lambda row: (-row.errors, row.utterance_id))[:_WORST])
