"""Word voting: several systems answer the same speech, and each word is put to the vote.

ROVER (Fiscus 1997, "A post-processing system to yield reduced word error rates"), with weights of
systems as in Evermann and Woodland (2000), "Posterior probability decoding, confidence estimation
and system combination": lists of alternatives vote with their posteriors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from aimass.base.contract import Hypothesis, Word
from aimass.base.errors import RequestError
from aimass.decoding.network import Arc, Key, Slot, aligned, mean_span, spoken

__all__ = ["Ballot", "Key", "VoteSpec", "ballot", "decided", "spoken", "surest", "vote"]

_LEAST = 1e-9  # shares and confidences below it are nothing
_CLEAR = 1e-6  # by which part a majority must exceed the rest, against rounding


@dataclass(frozen=True, slots=True)
class Ballot:
    """One system's answer, or one of its alternatives, and how much it counts.

    Args:
        words: where a system tells no times, ``end`` is not above ``start``; where it tells no
            confidences, they are 1.
        weight: 0 or above; only the proportions between ballots matter.
    """

    words: tuple[Word, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class VoteSpec:
    """How votes are counted: alpha * share of the vote + (1 - alpha) * confidence.

    Args:
        alpha: 1 counts votes alone, 0 confidences alone.
        confidence: that of a word is the weighted mean, or the highest, of those who say it.
        null: the confidence of saying nothing.
    """

    alpha: float = 0.5
    confidence: Literal["mean", "max"] = "mean"
    null: float = 0.5


def ballot(found: Hypothesis, weight: float = 1.0) -> Ballot:
    """The ballot of an engine's answer; without words of its own, its text without times."""
    words: list[Word] = []
    for segment in found.segments:
        told = [Word(text, 0.0, 0.0, segment.confidence) for text in segment.text.split()]
        words += segment.words or told
    return Ballot(tuple(words), weight)


def vote(
    ballots: Sequence[Ballot], spec: VoteSpec | None = None, key: Key | None = None
) -> tuple[Word, ...]:
    """The words that win, each as the weightiest of its voters writes it.

    The order of ballots does not matter, and a ballot counts as much as copies of it that share
    its weight. A word's time is the weighted mean of its voters' times; its confidence is the
    share of the vote times the weighted mean of its voters' confidences, that is, the mean over
    all systems where those that say something else give it none.

    Args:
        key: the form in which words are compared; that of `spoken` when None.

    Raises:
        RequestError: weights below 0 or not finite, or a spec outside [0, 1].
    """
    spec = spec or VoteSpec()
    _check(ballots, spec)
    total = math.fsum(one.weight for one in ballots)
    counted = [one for one in ballots if one.weight > _LEAST * total]
    slots = aligned([(one.words, one.weight / total) for one in counted], key or spoken())
    won = [(winner, slot) for slot in slots if (winner := _winner(slot, spec))]
    return _in_time(_written(won))


def decided(
    ballots: Sequence[Ballot],
    rest: float,
    spec: VoteSpec | None = None,
    key: Key | None = None,
) -> bool:
    """Whether ballots that still may come cannot change what words win.

    True when ballots that agree word for word win against all others, whatever those say: they
    have the majority, so they come first in the alignment, and no word of theirs can lose its
    slot even if all others are certain of another, or say the same and doubt it, which lowers a
    mean. Nor can a word win between theirs. The winners' times, confidences and spelling may
    still change.

    Args:
        rest: the weight of the ballots to come; their confidences lie between 0 and 1.

    Raises:
        RequestError: as `vote`.
    """
    spec, key = spec or VoteSpec(), key or spoken()
    _check([*ballots, Ballot((), rest)], spec)
    total = math.fsum([rest, *(one.weight for one in ballots)])
    agreed: dict[tuple[str, ...], list[tuple[float, list[float]]]] = {}
    for one in ballots:
        if one.weight > _LEAST * total:
            parts = [
                (part, word.confidence)
                for word in one.words
                for part in key(word.text).split() or [word.text]
            ]
            said = agreed.setdefault(tuple(part for part, _ in parts), [])
            said.append((one.weight / total, [sure for _, sure in parts]))
    first = max(agreed.values(), key=lambda own: math.fsum(share for share, _ in own), default=[])
    shares = [share for share, _ in first]
    share = math.fsum(shares)
    # Where the majority says nothing, the others may be certain of one word.
    nothing = spec.alpha * (2 * share - 1) + (1 - spec.alpha) * (spec.null - 1)
    return nothing > _CLEAR and all(
        _least_lead(share, _sure(shares, own, spec), spec) > _CLEAR
        for own in zip(*(sure for _, sure in first), strict=True)
    )


def _sure(shares: Sequence[float], confidences: Sequence[float], spec: VoteSpec) -> float:
    """The confidence in a word of those who say it, as if nobody else's could add to it."""
    if spec.confidence == "max":
        return max(confidences)
    weighted = [share * sure for share, sure in zip(shares, confidences, strict=True)]
    return math.fsum(weighted) / math.fsum(shares)


def _least_lead(share: float, sure: float, spec: VoteSpec) -> float:
    """The least by which a word of a majority leads, whatever the others say in its slot.

    Some of them say it too, with the confidence 0, and the rest are certain of another. That is
    worst where the gain in votes no longer outweighs the loss in the mean confidence.
    """
    alpha, joined = spec.alpha, share
    if spec.confidence == "mean":
        joined = min(1.0, max(share, math.sqrt((1 - alpha) * share * sure / (2 * alpha))))
        sure *= share / joined
    return alpha * (2 * joined - 1) + (1 - alpha) * (sure - 1)


def surest(ballots: Sequence[Ballot]) -> int:
    """Which ballot has the highest confidence: the geometric mean of its words' times its weight.

    An answer without words counts as if it had one of confidence 1/2. Calibrate the confidences
    first (`aimass.decoding.combine.calibrated`), for systems do not mean the same by theirs.

    Raises:
        RequestError: no ballots, or weights below 0.
    """
    _check(ballots, VoteSpec())
    if not ballots:
        raise _bad("no ballots", "at least one")
    return max(range(len(ballots)), key=lambda index: _sureness(ballots[index]))


def _sureness(one: Ballot) -> tuple[float, float, tuple[str, ...]]:
    logs = [math.log(max(_LEAST, word.confidence)) for word in one.words] or [math.log(0.5)]
    mean = math.fsum(logs) / len(logs)
    return math.exp(mean) * one.weight, one.weight, tuple(word.text for word in one.words)


def _winner(slot: Slot, spec: VoteSpec) -> str:
    """The key with the highest score, empty where saying nothing wins."""
    silent = 1 - math.fsum(slot.keys.values())
    scores = {key: _score(slot, key, spec) for key in slot.keys}
    if silent > _LEAST:
        scores[""] = spec.alpha * silent + (1 - spec.alpha) * spec.null
    shares = slot.keys | {"": silent}
    ranks = {key: min(a.rank for a in slot.arcs if a.key == key) for key in slot.keys}
    return min(
        scores,
        key=lambda key: (-round(scores[key], 9), -round(shares[key], 9), ranks.get(key, -1), key),
    )


def _score(slot: Slot, key: str, spec: VoteSpec) -> float:
    arcs = [arc for arc in slot.arcs if arc.key == key]
    best = max(arc.word.confidence for arc in arcs)
    sure = best if spec.confidence == "max" else _mean_confidence(arcs)
    return spec.alpha * slot.keys[key] + (1 - spec.alpha) * sure


def _mean_confidence(arcs: Sequence[Arc]) -> float:
    total = math.fsum(arc.weight for arc in arcs)
    return math.fsum(arc.weight * arc.word.confidence for arc in arcs) / total


def _written(won: Sequence[tuple[str, Slot]]) -> list[Word]:
    """The winners as words; parts of one word become that word again where all of them won."""
    words, place = list[Word](), 0
    while place < len(won):
        key, slot = won[place]
        voters = sorted((arc for arc in slot.arcs if arc.key == key), key=lambda arc: arc.rank)
        whole = next((arc for arc in voters if _complete(arc, won[place:])), None)
        pieces = whole.pieces if whole else 1
        text = whole.word.text if whole else key
        words.append(_word(text, won[place : place + pieces]))
        place += pieces
    return words


def _complete(arc: Arc, won: Sequence[tuple[str, Slot]]) -> bool:
    """Whether a word begins with this arc and all of its parts won, one after the other."""
    return (
        arc.piece == 0
        and all(
            any(
                (other.rank, other.index, other.piece, other.key)
                == (arc.rank, arc.index, piece, key)
                for other in slot.arcs
            )
            for piece, (key, slot) in enumerate(won[: arc.pieces])
        )
        and len(won) >= arc.pieces
    )


def _word(text: str, won: Sequence[tuple[str, Slot]]) -> Word:
    """A word of one or several slots; without times where nobody tells any."""
    voters = [[arc for arc in slot.arcs if arc.key == key] for key, slot in won]
    spans = [
        span
        for own, (_, slot) in zip(voters, won, strict=True)
        if (span := mean_span(own) or slot.span)
    ]
    start, end = (min(s for s, _ in spans), max(e for _, e in spans)) if spans else (0.0, 0.0)
    sure = [math.fsum(arc.weight for arc in own) * _mean_confidence(own) for own in voters]
    return Word(text, start, end, min(1.0, math.fsum(sure) / len(sure)))


def _in_time(words: Sequence[Word]) -> tuple[Word, ...]:
    """Words in order of time; one without times lies between its neighbours, if they have any."""
    following, later = list[float | None](), None
    for word in reversed(words):
        following.append(later)
        later = word.start if word.end > word.start else later
    placed, begun, ended = list[Word](), 0.0, 0.0
    for word, after in zip(words, reversed(following), strict=True):
        timed = word.end > word.start
        begun = max(begun, word.start if timed else ended)
        ended = max(begun, word.end if timed else after or ended)
        placed.append(replace(word, start=begun, end=ended))
    return tuple(placed)


def _check(ballots: Sequence[Ballot], spec: VoteSpec) -> None:
    for one in ballots:
        if not (math.isfinite(one.weight) and one.weight >= 0):
            raise _bad(f"a ballot of weight {one.weight}", "a finite weight, 0 or above")
    if not (0 <= spec.alpha <= 1 and 0 <= spec.null <= 1):
        raise _bad(f"alpha {spec.alpha} and null {spec.null}", "both between 0 and 1")


def _bad(found: str, expected: str) -> RequestError:
    return RequestError(found, expected=expected, fix="Correct it", param="vote")
