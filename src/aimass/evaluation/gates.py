"""What a scenario asks of a model before it is published, and when it must be trained again.

::

    gates:
      error_rate: 0.03          # at most this
      upper: 0.05               # the upper end of its 95 % interval
      worst_speaker: 0.1        # the error rate of the speaker it serves worst
      rtf: 0.1                  # seconds of work for a second of sound
      calibration: 0.1          # expected calibration error
      better_than: production   # the model of this alias, on the same test data, if there is one
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from aimass.base.errors import DataError
from aimass.evaluation.compare import Comparison, compare, contrast
from aimass.evaluation.scorecard import Scorecard


class Gates(BaseModel):
    """The section ``gates`` of a scenario; what is not set is not asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error_rate: float | None = Field(None, ge=0, le=1)
    upper: float | None = Field(None, ge=0, le=1)
    worst_speaker: float | None = Field(None, ge=0, le=1)
    rtf: float | None = Field(None, gt=0)
    calibration: float | None = Field(None, ge=0, le=1)
    better_than: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all gates are passed; the reasons say of each that is not what was found."""

    passed: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retraining:
    """Whether a model should be trained again, and why."""

    needed: bool
    reasons: tuple[str, ...] = ()


def judge(card: Scorecard, gates: Gates, baseline: Scorecard | None = None) -> Verdict:
    """Hold a scorecard against gates; what was not measured does not pass.

    Args:
        baseline: the scorecard of the model that ``better_than`` names, on the same utterances;
            None where there is no such model yet, which a first model need not beat.

    Raises:
        DataError: a baseline of other utterances.
    """
    found = [
        _above(f"the {card.metric}", card.error_rate, gates.error_rate),
        _above(f"the upper end of the {card.metric}'s interval", card.interval[1], gates.upper),
        _worst_speaker(card, gates),
        _above("the real-time factor", card.cost.rtf, gates.rtf, share=False),
        _above("the expected calibration error", _ece(card), gates.calibration),
        _not_better(card, gates, baseline),
    ]
    reasons = tuple(reason for reason in found if reason)
    return Verdict(not reasons, reasons)


def needs_retraining(now: Scorecard, published: Scorecard, gates: Gates) -> Retraining:
    """Whether a model serves worse than it should, from a scorecard of recent recordings.

    Chance alone is no reason: the error must lie above its gate with the whole interval, or
    have risen since the model was published by more than either set leaves uncertain. Speed is
    not looked at, which training does not mend.

    Args:
        now: on recordings of today.
        published: from when the model was published; the same utterances are compared in pairs.
    """
    name = f"the {now.metric}"
    reasons = []
    if gates.error_rate is not None and now.interval[0] > gates.error_rate:
        reasons.append(
            f"{name} is {now.error_rate:.2%}, surely above {gates.error_rate:.2%}: its interval "
            f"begins at {now.interval[0]:.2%}"
        )
    low, high = _risen(now, published)
    if low > 0:
        reasons.append(
            f"{name} has risen from {published.error_rate:.2%} to {now.error_rate:.2%}, "
            f"by {low:.2%} to {high:.2%}"
        )
    reasons += [f"{said} is badly served: {text}" for said, text in _badly_served(now, gates)]
    found = _above("the expected calibration error", _ece(now), gates.calibration)
    if found and now.calibration is not None:
        reasons.append(found)
    return Retraining(bool(reasons), tuple(reasons))


def select(cards: Mapping[str, Scorecard]) -> str:
    """The name of the best of several models measured on the same dev set.

    That is the one with the lowest error; among those that are not significantly worse than it,
    the cheapest by multiply-adds, or by real-time factor where arithmetic was not counted. Of
    voiceprints it is the lowest error alone.

    Raises:
        DataError: no cards, or cards of different utterances.
    """
    if not cards:
        raise DataError(
            "no scorecards to choose from",
            expected="at least one model measured on dev",
            fix="Train a member first",
        )
    best = min(cards, key=lambda name: (cards[name].error_rate, name))
    if cards[best].metric == "eer":  # trials of voices come in no pairs of utterances
        return best
    as_good = [
        name
        for name, card in cards.items()
        if name == best or not compare(card, cards[best]).significant
    ]
    prices = {name: _price(cards[name], [cards[other] for other in as_good]) for name in as_good}
    return min(as_good, key=lambda name: (prices[name], cards[name].error_rate, name))


def _above(
    what: str, value: float | None, limit: float | None, *, share: bool = True
) -> str | None:
    """Why a value does not pass its limit, None where it does or nothing is asked."""
    if limit is None:
        return None
    form = ".2%" if share else ".3g"
    if value is None:
        return f"{what} was not measured, and at most {limit:{form}} is asked"
    if value <= limit:
        return None
    return f"{what} is {value:{form}}, above {limit:{form}}"


def _worst_speaker(card: Scorecard, gates: Gates) -> str | None:
    if gates.worst_speaker is None or not card.per_speaker:
        return _above("the error rate of the worst speaker", None, gates.worst_speaker)
    worst = card.worst_speakers(1)[0]
    return _above(f"the {card.metric} of {worst.speaker}", worst.error_rate, gates.worst_speaker)


def _badly_served(card: Scorecard, gates: Gates) -> list[tuple[str, str]]:
    """Speakers whose whole interval lies above the gate, with their error."""
    if gates.worst_speaker is None:
        return []
    return [
        (row.speaker, f"{card.metric} {row.error_rate:.2%}, above {gates.worst_speaker:.2%}")
        for row in card.worst_speakers(3)
        if row.interval[0] > gates.worst_speaker
    ]


def _not_better(card: Scorecard, gates: Gates, baseline: Scorecard | None) -> str | None:
    if gates.better_than is None or baseline is None:
        return None
    if card.metric == "eer":  # trials of voices come in no pairs of utterances
        if card.interval[1] < baseline.interval[0]:
            return None
        return (
            f"it is not surely better than {gates.better_than}: eer {card.error_rate:.2%} "
            f"against {baseline.error_rate:.2%}"
        )
    found = compare(card, baseline)
    if found.difference < 0 and found.significant:
        return None
    return (
        f"it is not surely better than {gates.better_than}: {card.metric} {card.error_rate:.2%} "
        f"against {baseline.error_rate:.2%}, {_words(found)}"
    )


def _words(found: Comparison) -> str:
    low, high = found.interval
    return (
        f"difference {found.difference:+.2%} ({low:+.2%} to {high:+.2%}), p = {found.p_value:.2g}"
    )


def _risen(now: Scorecard, before: Scorecard) -> tuple[float, float]:
    if now.metric == "eer":  # trials of voices come in no pairs of utterances
        return now.interval[0] - before.interval[1], now.interval[1] - before.interval[0]
    ours, theirs = (
        {(row.utterance_id, row.length) for row in card.per_utterance} for card in (now, before)
    )
    return compare(now, before).interval if ours == theirs else contrast(now, before)


def _ece(card: Scorecard) -> float | None:
    return None if card.calibration is None else card.calibration.ece


def _price(card: Scorecard, all_cards: list[Scorecard]) -> float:
    """What a model costs, in the measure that is known of all; 0 where none is."""
    adds = [other.cost.multiply_adds for other in all_cards]
    if None not in adds:
        return float(card.cost.multiply_adds or 0)
    factors = [other.cost.rtf for other in all_cards]
    return 0.0 if None in factors else float(card.cost.rtf or 0)
