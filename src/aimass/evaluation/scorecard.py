"""The scorecard of a model on one test set: how wrong, how sure, how costly."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aimass.base.contract import Word
from aimass.base.errors import DataError
from aimass.base.files import write_json
from aimass.evaluation.calibration import Calibration, calibrate
from aimass.evaluation.cost import Cost
from aimass.evaluation.errors import (
    Confusion,
    Errors,
    Matrix,
    confusions,
    count_errors,
    heard_right,
    matrix,
)
from aimass.evaluation.interval import error_interval
from aimass.evaluation.units import Metric, joint, units

__all__ = ["Cost", "Metric", "Scorecard", "Scored", "read", "score", "write"]

MAX_BYTES = 512 << 20
_WORST = 20
_CONFUSIONS = 30
_LABELS = 256

Compared = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Scored:
    """One utterance to score: what was said and what was recognised.

    Args:
        language: ISO 639-1 code, None where the set has but one or it is unknown.
        confidence: of the whole answer, in [0, 1].
        audio: path of the recording.
        seconds: length of the utterance.
        start: where it begins in the recording, seconds.
        words: the recognised words with their confidences, where the engine gives them.
    """

    utterance_id: str
    speaker: str | None
    reference: str
    hypothesis: str
    language: str | None = None
    confidence: float | None = None
    audio: str | None = None
    seconds: float | None = None
    start: float = 0.0
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class SpeakerScore:
    """One speaker's share of a scorecard; the interval is over the speaker's utterances."""

    speaker: str
    utterances: int
    error_rate: float
    interval: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class LanguageScore:
    """One language's share of a scorecard; the interval is over its speakers."""

    language: str
    utterances: int
    error_rate: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class WorstUtterance:
    """An utterance with many errors, as it was compared."""

    utterance_id: str
    reference: str
    hypothesis: str
    errors: int
    error_rate: float


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """One utterance by numbers: what comparisons of models and pictures are made of."""

    utterance_id: str
    speaker: str | None
    language: str | None
    errors: int
    length: int
    confidence: float | None = None
    seconds: float | None = None
    start: float = 0.0
    audio: str | None = None


@dataclass(frozen=True, slots=True)
class Scorecard:
    """How a model did on one test set.

    ``interval`` is the 95 % interval of ``error_rate``; ``per_speaker`` stands in order of
    names and is empty when speakers are unknown. ``matrix`` is there for labels alone, and
    ``per_utterance`` stands in order of identities.
    """

    metric: Metric
    error_rate: float
    interval: tuple[float, float]
    errors: Errors
    utterances: int
    speakers: int
    per_speaker: tuple[SpeakerScore, ...] = ()
    worst: tuple[WorstUtterance, ...] = ()
    cost: Cost = field(default_factory=Cost)
    confusions: tuple[Confusion, ...] = ()
    matrix: Matrix | None = None
    calibration: Calibration | None = None
    per_language: tuple[LanguageScore, ...] = ()
    per_utterance: tuple[UtteranceScore, ...] = ()

    def worst_speakers(self, count: int = 5) -> tuple[SpeakerScore, ...]:
        """The speakers with the highest error rates, the worst first."""
        rows = sorted(self.per_speaker, key=lambda row: (-row.error_rate, row.speaker))
        return tuple(rows[:count])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self)
        cost = plain.pop("cost")
        first = ("metric", "error_rate", "interval", "errors", "utterances", "speakers")
        plain = (
            {name: plain.pop(name) for name in (*first, "per_speaker")}
            | {"rtf": self.cost.rtf}
            | {name: cost.pop(name) for name in ("peak_memory_mb", "audio_seconds")}
            | {"worst": plain.pop("worst")}
            | cost
            | plain
        )
        return {name: json_ready(value) for name, value in plain.items()}

    def summary(self) -> dict[str, Any]:
        """The figures that a line of a table has, as plain values."""
        names = ("metric", "error_rate", "interval", "utterances", "speakers")
        return {name: json_ready(getattr(self, name)) for name in names}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Scorecard":
        """The scorecard that `to_dict` gave, also by an older version.

        Raises:
            DataError: values that are no scorecard.
        """
        try:
            cost = {name: plain[name] for name in Cost.__dataclass_fields__ if name in plain}
            return _ADAPTER.validate_python(plain | {"cost": cost})
        except (ValidationError, TypeError) as error:
            raise _no_card("this", str(error)) from error


def json_ready(value: Any) -> Any:
    """The same with lists for tuples, as JSON gives it back."""
    if isinstance(value, dict):
        return {key: json_ready(inner) for key, inner in value.items()}
    return [json_ready(inner) for inner in value] if isinstance(value, list | tuple) else value


_ADAPTER = TypeAdapter(Scorecard)


def write(card: Scorecard, path: Path) -> None:
    """Write a scorecard as JSON."""
    write_json(path, card.to_dict())


def read(path: Path) -> Scorecard:
    """Read a scorecard that `write` or ``aimass eval --json`` wrote.

    Raises:
        DataError: no such file, or no scorecard.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        plain = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise _no_card(str(path), str(error)) from error
    if not isinstance(plain, dict):
        raise _no_card(str(path), f"it holds {type(plain).__name__}")
    return Scorecard.from_dict(plain)


def score(
    results: Sequence[Scored],
    metric: Metric,
    language: str | None = None,
    cost: Cost | None = None,
) -> Scorecard:
    """Score recognised utterances against what was said.

    Both sides are normalised first, each utterance by its own language. A classification counts
    as one token, right or wrong, and labels are compared as they are.

    Args:
        language: of utterances that do not name theirs; ISO 639-1 code for number words and
            spelling, None for neither.
        cost: time and memory, to be kept with the errors.

    Raises:
        DataError: the metric ``eer``, which compares voices and not texts.
    """
    if metric == "eer":
        raise DataError(
            "texts to score by 'eer'",
            expected="a metric of texts or labels",
            fix="Score pairs of voiceprints with aimass.evaluation.verification.score_trials",
        )
    results = sorted(results, key=lambda result: result.utterance_id)
    compared = [_comparable(result, metric, language) for result in results]
    counts = [count_errors(reference, hypothesis) for reference, hypothesis in compared]
    pooled = sum(counts, Errors())
    return Scorecard(
        metric=metric,
        error_rate=pooled.rate,
        interval=_interval(results, counts),
        errors=pooled,
        utterances=len(results),
        speakers=len({result.speaker for result in results} - {None}),
        per_speaker=tuple(
            SpeakerScore(name, len(own), sum(own, Errors()).rate, _interval(said, own))
            for name, said, own in _groups(results, counts, lambda result: result.speaker)
        ),
        worst=_worst(results, compared, counts, joint(metric)),
        cost=cost or Cost(),
        confusions=confusions(compared, _CONFUSIONS),
        matrix=_matrix(results) if metric == "classification_error" else None,
        calibration=_calibration(results, compared, counts, metric, language),
        per_language=_per_language(results, counts),
        per_utterance=tuple(map(_numbers, results, counts)),
    )


def _comparable(result: Scored, metric: Metric, language: str | None) -> Compared:
    spoken = result.language or language
    return units(result.reference, metric, spoken), units(result.hypothesis, metric, spoken)


def _interval(results: Sequence[Scored], counts: Sequence[Errors]) -> tuple[float, float]:
    speakers = [result.speaker for result in results]
    return error_interval([c.total for c in counts], [c.length for c in counts], speakers)


def _groups(
    results: Sequence[Scored], counts: Sequence[Errors], key: Callable[[Scored], str | None]
) -> list[tuple[str, list[Scored], list[Errors]]]:
    """Results and their counts by a key, in its order; those without one are left out."""
    rows: dict[str, tuple[list[Scored], list[Errors]]] = {}
    for result, count in zip(results, counts, strict=True):
        name = key(result)
        if name is not None:
            said, own = rows.setdefault(name, ([], []))
            said.append(result)
            own.append(count)
    return [(name, *rows[name]) for name in sorted(rows)]


def _per_language(results: Sequence[Scored], counts: Sequence[Errors]) -> tuple[LanguageScore, ...]:
    return tuple(
        LanguageScore(name, len(own), sum(own, Errors()).rate, _interval(said, own))
        for name, said, own in _groups(results, counts, lambda result: result.language)
    )


def _worst(
    results: Sequence[Scored], compared: Sequence[Compared], counts: Sequence[Errors], between: str
) -> tuple[WorstUtterance, ...]:
    """The utterances with most errors; ties by identity, so that order does not matter."""
    rows = [
        WorstUtterance(
            result.utterance_id,
            between.join(reference),
            between.join(hypothesis),
            count.total,
            count.rate,
        )
        for result, (reference, hypothesis), count in zip(results, compared, counts, strict=True)
        if count.total
    ]
    return tuple(sorted(rows, key=lambda row: (-row.errors, row.utterance_id))[:_WORST])


def _matrix(results: Sequence[Scored]) -> Matrix | None:
    return matrix([(result.reference, result.hypothesis) for result in results], _LABELS)


def _calibration(
    results: Sequence[Scored],
    compared: Sequence[Compared],
    counts: Sequence[Errors],
    metric: Metric,
    language: str | None,
) -> Calibration | None:
    """Of words where the engine tells their confidences, else of whole utterances."""
    stated: list[float] = []
    right: list[bool] = []
    for result, (reference, hypothesis) in zip(results, compared, strict=True):
        own = _word_confidences(result, hypothesis, metric, language)
        if own:
            stated += own
            right += heard_right(reference, hypothesis)
    if stated:
        return calibrate(stated, right, "word")
    known = [(r.confidence, not c.total) for r, c in zip(results, counts, strict=True)]
    pairs = [(confidence, fine) for confidence, fine in known if confidence is not None]
    return calibrate([p[0] for p in pairs], [p[1] for p in pairs], "utterance")


def _word_confidences(
    result: Scored, hypothesis: Sequence[str], metric: Metric, language: str | None
) -> list[float]:
    """A confidence for each compared token; none where normalising joins or parts words."""
    if metric == "classification_error":
        return []
    spoken = result.language or language
    pieces = [(units(word.text, metric, spoken), word.confidence) for word in result.words]
    if [token for own, _ in pieces for token in own] != list(hypothesis):
        return []
    return [confidence for own, confidence in pieces for _ in own]


def _numbers(result: Scored, count: Errors) -> UtteranceScore:
    return UtteranceScore(
        result.utterance_id,
        result.speaker,
        result.language,
        count.total,
        count.length,
        result.confidence,
        result.seconds,
        result.start,
        result.audio,
    )


def _refuse(constant: str) -> Any:
    raise ValueError(f"it holds {constant}, which is no number")


def _no_card(what: str, why: str) -> DataError:
    return DataError(
        f"{what} is no scorecard: {why[:300]}",
        expected="the JSON that aimass eval --json writes",
        fix="Write it again with: aimass eval --data DIR --model NAME --json",
    )
