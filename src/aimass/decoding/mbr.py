"""The answer among alternatives that is expected to have the fewest wrong words.

Minimum Bayes risk over lists of alternatives: Stolcke, König and Weintraub (1997), "Explicit word
error minimization in n-best list rescoring"; Goel and Byrne (2000), "Minimum Bayes-risk automatic
speech recognition", where the lists of several systems may be joined.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rapidfuzz.distance import Levenshtein

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples
from aimass.base.errors import RequestError
from aimass.decoding.network import Key, spoken

_MOST = 200  # distinct answers that are compared with one another


class Ranking(Protocol):
    """An engine that also gives alternatives."""

    def n_best(self, samples: Samples, options: RecognizeOptions, n: int) -> tuple[Hypothesis, ...]:
        """Up to n answers to one stretch, the best first."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One alternative of one system.

    Args:
        words: in the form in which they are compared.
        log_prob: of the whole answer, by its system.
        weight: of the system, the same in all of its candidates.
        system: whose list it stands in; posteriors add up to 1 within each list.
    """

    words: tuple[str, ...]
    log_prob: float
    weight: float = 1.0
    system: str = ""


def candidates(
    found: Sequence[Hypothesis], weight: float = 1.0, system: str = "", key: Key | None = None
) -> tuple[Candidate, ...]:
    """An engine's list as candidates."""
    key = key or spoken()
    return tuple(
        Candidate(tuple(key(one.text).split()), log_prob(one), weight, system) for one in found
    )


def log_prob(found: Hypothesis) -> float:
    """The log probability of an answer: its segments' mean over their tokens, times those.

    A segment without tokens counts its words.
    """
    return math.fsum(
        max(1, len(segment.tokens) or len(segment.text.split()))
        * math.log(max(1e-9, segment.confidence))
        for segment in found.segments
    )


def posteriors(found: Sequence[Candidate], temperature: float = 1.0) -> tuple[float, ...]:
    """The probability of each candidate: over its system's list, times the system's share.

    Args:
        temperature: of the log probabilities; above 1 for systems that are too sure.

    Raises:
        RequestError: a temperature or weight that is not above 0, or a log probability that is
            no number.
    """
    _check(found, temperature)
    best: dict[str, float] = {}
    for one in found:
        best[one.system] = max(one.log_prob, best.get(one.system, -math.inf))
    raw = [math.exp((one.log_prob - best[one.system]) / temperature) for one in found]
    totals = {
        system: math.fsum(p for p, one in zip(raw, found, strict=True) if one.system == system)
        for system in best
    }
    shares = {one.system: one.weight for one in found}
    whole = math.fsum(shares.values())
    return tuple(
        p / totals[one.system] * shares[one.system] / whole
        for p, one in zip(raw, found, strict=True)
    )


def choose(found: Sequence[Candidate], temperature: float = 1.0) -> int:
    """The candidate with the fewest expected word edits; the first of those with its words.

    What words are chosen does not depend on the order of candidates. Beyond 200 distinct answers
    only the most probable are weighed.

    Raises:
        RequestError: no candidates, or as `posteriors`.
    """
    if not found:
        raise _bad("no candidates", "at least one")
    shares: dict[tuple[str, ...], list[float]] = {}
    for one, share in zip(found, posteriors(found, temperature), strict=True):
        shares.setdefault(one.words, []).append(share)
    likely = [(words, math.fsum(own)) for words, own in shares.items()]
    likely = sorted(likely, key=lambda item: (-round(item[1], 12), item[0]))[:_MOST]
    risks = {
        words: math.fsum(share * Levenshtein.distance(words, other) for other, share in likely)
        for words, _ in likely
    }
    chosen = min(likely, key=lambda item: (round(risks[item[0]], 9), -round(item[1], 9), item[0]))
    return next(number for number, one in enumerate(found) if one.words == chosen[0])


def _check(found: Sequence[Candidate], temperature: float) -> None:
    if not (math.isfinite(temperature) and temperature > 0):
        raise _bad(f"a temperature of {temperature}", "a finite one above 0")
    for one in found:
        if not (math.isfinite(one.weight) and one.weight > 0):
            raise _bad(f"a weight of {one.weight}", "a finite one above 0")
        if not math.isfinite(one.log_prob):
            raise _bad(f"a log probability of {one.log_prob}", "a finite number")


def _bad(given: str, expected: str) -> RequestError:
    return RequestError(given, expected=expected, fix="Correct it", param="candidates")
