"""What each member of a massive model is worth, and how alike the mistakes of members are.

Members are worth combining where they are right at different places. How much room there is says
the oracle, which always takes the best answer; how alike two members err say the measures of
Kuncheva and Whitaker (2003), "Measures of diversity in classifier ensembles and their relationship
with the ensemble accuracy": the correlation of errors, Yule's Q, the double fault. Nothing is
fitted anew here: without a member, the weights of the others are renormalised.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from aimass.decoding.combine import Combination, calibrated, pooled, tempered
from aimass.decoding.voting import VoteSpec
from aimass.ensemble.outputs import Outputs, Symbols, answered
from aimass.evaluation.errors import count_errors
from aimass.evaluation.interval import by_unit, error_interval, percentiles, rates, resampled
from aimass.evaluation.scorecard import Scored, json_ready
from aimass.evaluation.units import Metric, units
from aimass.runtime.answers import UNSURE
from aimass.text.tokens import LabelSet

MOST_SHARED = 10  # members up to which every subset is asked: 1,023 of them
_LEVEL = 2e-9  # scores that differ by less are left to the decoder
LEAST = 1e-9  # the probability of a label that no member knows

Counts = npt.NDArray[np.float64]
Wrong = npt.NDArray[np.bool_]
Table = tuple[tuple[float | None, ...], ...]
"""A number for each pair of members; None where it is not defined."""


@dataclass(frozen=True, slots=True)
class Worth:
    """One member's part in a massive model.

    Args:
        error_rate, interval: of the member alone.
        rtf, multiply_adds: of the member alone, for a second of sound.
        weight, temperature: as the combination has them.
        marginal: error rate of the massive model without it minus with it; above 0 it helps.
        marginal_interval: 95 %, over speakers.
        shapley: its share of what the massive model gets right (Shapley 1953; for classifiers
            Rozemberczki and Sarkar 2021, "The Shapley value of classifiers in ensemble games");
            the shares of all add up to 1 minus the error rate. None where it was not computed.
        saves: identities of utterances with fewer errors than without it.
        spoils: identities of utterances with more errors than without it.
        alone: identities of utterances on which it made fewer errors than every other member.
    """

    name: str
    error_rate: float
    interval: tuple[float, float]
    rtf: float | None
    multiply_adds: int | None
    weight: float
    temperature: float
    marginal: float
    marginal_interval: tuple[float, float]
    shapley: float | None = None
    saves: tuple[str, ...] = ()
    spoils: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Weighing:
    """A massive model taken apart, on one set.

    Args:
        error_rate, interval: of the massive model.
        best: the member with the lowest error rate.
        gain: error rate of that member minus that of the massive model, with its 95 % interval
            over speakers, the same drawn for both.
        oracle, oracle_interval: error rate where the best answer of any member is taken each time.
        disagreement: share of utterances to which two members answer differently.
        correlation: of two members' being wrong, the phi coefficient.
        q_statistic: Yule's Q of it: 0 where errors are independent, 1 where they are the same.
        double_fault: share of utterances on which both are wrong.
    """

    metric: Metric
    method: str
    utterances: int
    speakers: int
    error_rate: float
    interval: tuple[float, float]
    best: str
    gain: float
    gain_interval: tuple[float, float]
    oracle: float
    oracle_interval: tuple[float, float]
    members: tuple[Worth, ...]
    disagreement: Table
    correlation: Table
    q_statistic: Table
    double_fault: Table

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: json_ready(value) for name, value in asdict(self).items()}


class Judge:
    """How many errors any weighting of members makes, utterance by utterance.

    What was asked before is remembered. Labels, where all utterances are one array, take about a
    millisecond; words are decoded anew for each weighting.

    Args:
        combination: method and temperatures; the weights are those that are asked for.
        metric: when None, errors of labels for a `LabelSet` and of words else.
        language: of utterances that do not name theirs.
    """

    def __init__(
        self,
        outputs: Outputs,
        combination: Combination,
        symbols: Symbols,
        metric: Metric | None = None,
        language: str | None = None,
    ) -> None:
        self.outputs, self.combination, self.symbols = outputs, combination, symbols
        labels = isinstance(symbols, LabelSet)
        self.metric: Metric = metric or ("classification_error" if labels else "wer")
        self.language = language
        self.speakers = [clip.speaker for clip in outputs.clips]
        self.lengths = np.array(
            [len(self.units(a, a.reference)) for a in outputs.answers[0]], float
        )
        self.alone = np.array([self.counted(own) for own in outputs.answers])
        self._known: dict[tuple[float, ...], Counts] = {}
        self._stack = _label_stack(outputs, combination, symbols, self.metric)
        self._votes = _label_votes(outputs, combination, symbols, self.metric)
        self._differ = self._differing()

    @property
    def quick(self) -> bool:
        """Whether asking is cheap enough to ask for every subset."""
        return self._stack is not None or self._votes is not None

    def errors(self, weights: Sequence[float]) -> Counts:
        """Errors with these weights, ``(utterances,)``; their sum does not matter."""
        errors: Counts = self.judged(weights)[:, 0]
        return errors

    def judged(self, weights: Sequence[float]) -> Counts:
        """Errors, and the negative log-likelihood of the truth (0 if unknown): (utterances, 2)."""
        total = sum(weights)
        key = tuple(weight / total for weight in weights)
        if key not in self._known:
            self._known[key] = self._judged(key)
        return self._known[key]

    def counted(self, answers: Sequence[Scored]) -> Counts:
        """Errors of answers, as `aimass.evaluation.scorecard.score` counts them."""
        sides = [(self.units(a, a.reference), self.units(a, a.hypothesis)) for a in answers]
        return np.array([0 if a == b else count_errors(a, b).total for a, b in sides], float)

    def units(self, answer: Scored, text: str) -> Sequence[str]:
        """What is counted of a text."""
        return _units(text, self.metric, answer.language or self.language)

    def rate(self, errors: Counts) -> float:
        """The pooled error rate."""
        return float(errors.sum() / max(self.lengths.sum(), 1))

    def interval(self, errors: Counts) -> tuple[float, float]:
        """The 95 % interval of the error rate."""
        counts = errors.astype(int).tolist(), self.lengths.astype(int).tolist()
        return error_interval(*counts, self.speakers)

    def difference(self, a: Counts, b: Counts) -> tuple[float, tuple[float, float]]:
        """Error rate of a minus that of b, and its 95 % interval with the same speakers drawn."""
        counts = np.array([a, b, self.lengths]).T
        drawn = resampled(by_unit(counts, self.speakers), "weighing")
        apart = rates(drawn[:, 0], drawn[:, 2]) - rates(drawn[:, 1], drawn[:, 2])
        return self.rate(a) - self.rate(b), percentiles(apart)

    def _judged(self, weights: tuple[float, ...]) -> Counts:
        if self._stack is not None:
            return self._by_stack(weights)
        return self._by_decoding(weights) if self._votes is None else self._by_votes(weights)

    def _differing(self) -> list[int]:
        """The utterances on which members do not all say the same."""
        said = zip(*([a.hypothesis for a in own] for own in self.outputs.answers), strict=True)
        return [place for place, texts in enumerate(said) if len(set(texts)) > 1]

    def _by_stack(self, weights: tuple[float, ...]) -> Counts:
        assert self._stack is not None
        stack, truth = self._stack
        used = [member for member, weight in enumerate(weights) if weight > 0]
        mean = pooled(stack[used], np.array([weights[m] for m in used]), self.combination.method)
        below = mean - mean.max(1, keepdims=True)
        log_probs = below / self.combination.temperature
        log_probs -= np.log(np.exp(log_probs).sum(1, keepdims=True))
        known = truth >= 0
        loss = np.where(known, -log_probs[np.arange(len(truth)), truth], -np.log(LEAST))
        return np.stack([mean.argmax(1) != truth, loss], axis=1).astype(np.float32)

    def _by_votes(self, weights: tuple[float, ...]) -> Counts:
        """Labels from answers, for all utterances at once; where two are level, as decoded."""
        assert self._votes is not None
        said, sure, truth = self._votes
        scores = _scores(said, sure, np.array(weights), self.combination.method)
        best = scores.argmax(1)
        second = np.partition(scores, -2, axis=1)[:, -2] if scores.shape[1] > 1 else -np.inf
        errors = (best != truth).astype(float)
        level = np.flatnonzero(scores.max(1) - second < _LEVEL).tolist()
        if level:
            errors[level] = self._decoded(weights, level)
        return np.stack([errors, np.zeros_like(errors)], axis=1).astype(np.float32)

    def _by_decoding(self, weights: tuple[float, ...]) -> Counts:
        """Where members that only vote agree, there is nothing to decide."""
        rows = self.combination.method in ("arithmetic", "geometric")
        places = list(range(len(self.speakers))) if rows else self._differ
        found = self.alone[0].copy()
        if places:
            found[places] = self._decoded(weights, places)
        return np.stack([found, np.zeros_like(found)], axis=1).astype(np.float32)

    def _decoded(self, weights: tuple[float, ...], places: list[int]) -> Counts:
        asked = replace(self.combination, weights=weights)
        return self.counted(answered(self.outputs.at(places), asked, self.symbols))


@lru_cache(maxsize=1 << 17)
def _units(text: str, metric: Metric, language: str | None) -> Sequence[str]:
    return units(text, metric, language)


def _label_stack(
    outputs: Outputs, combination: Combination, symbols: Symbols, metric: Metric
) -> tuple[Counts, npt.NDArray[np.int64]] | None:
    """Log-probabilities ``(members, utterances, labels)`` and the true labels, -1 for unknown."""
    rows = [own for own in outputs.rows if own is not None]
    by_rows = combination.method in ("arithmetic", "geometric")
    if not (by_rows and isinstance(symbols, LabelSet) and metric == "classification_error"):
        return None
    if len(rows) < len(outputs.names):
        return None
    numbers = {label: number for number, label in enumerate(symbols.symbols)}
    truth = np.array([numbers.get(clip.text, -1) for clip in outputs.clips])
    stack = [
        tempered(np.concatenate(own), temperature)
        for own, temperature in zip(rows, combination.temperatures, strict=True)
    ]
    return np.array(stack, float), truth


def _label_votes(
    outputs: Outputs, combination: Combination, symbols: Symbols, metric: Metric
) -> tuple[npt.NDArray[np.int64], Counts, npt.NDArray[np.int64]] | None:
    """What each member says, its calibrated confidence, ``(members, utterances)``, and the truth.

    None where answers may be empty, which is no label and is left to the decoder.
    """
    answers = outputs.answers
    by_rows = combination.method in ("arithmetic", "geometric")
    if by_rows or not isinstance(symbols, LabelSet) or metric != "classification_error":
        return None
    if not all(a.hypothesis for own in answers for a in own):
        return None
    numbers: dict[str, int] = {}
    said = [[numbers.setdefault(a.hypothesis, len(numbers)) for a in own] for own in answers]
    sure = [
        [calibrated(UNSURE if a.confidence is None else a.confidence, heat) for a in own]
        for own, heat in zip(answers, combination.temperatures, strict=True)
    ]
    truth = [numbers.get(clip.text, -1) for clip in outputs.clips]
    return np.array(said), np.array(sure), np.array(truth)


def _scores(said: npt.NDArray[np.int64], sure: Counts, weights: Counts, method: str) -> Counts:
    """The score of each label at each utterance ``(utterances, labels)``; the highest wins.

    Votes as `aimass.decoding.voting.vote` counts them, least risk as the largest share of
    weight, and the surest as the highest confidence.
    """
    heard = weights > 0
    chosen = said[heard][..., None] == np.arange(said.max() + 1)  # (members, utterances, labels)
    if method == "choose":
        surest: Counts = np.where(chosen, sure[heard][..., None], -1.0).max(0)
        return surest
    own = weights[heard] / weights[heard].sum()
    shares = np.tensordot(own, chosen, axes=1)
    if method == "mbr":
        return shares
    summed = np.einsum("m,mu,mul->ul", own, sure[heard], chosen)
    alpha = VoteSpec().alpha
    mean = np.divide(summed, shares, out=np.full_like(shares, -1.0), where=shares > 0)
    return np.where(shares > 0, alpha * shares + (1 - alpha) * mean, -1.0)


def weigh(judge: Judge) -> Weighing:
    """Take a massive model apart, with the weights of the judge's combination."""
    weights = judge.combination.weights
    together = judge.errors(weights)
    wrong = judge.alone > 0
    best = int(np.lexsort((judge.outputs.names, judge.alone.sum(1)))[0])
    oracle = judge.alone.min(0)
    gain, gain_interval = judge.difference(judge.alone[best], together)
    shares = shapley(judge)
    return Weighing(
        metric=judge.metric,
        method=judge.combination.method,
        utterances=len(judge.speakers),
        speakers=len(set(judge.speakers) - {None}),
        error_rate=judge.rate(together),
        interval=judge.interval(together),
        best=judge.outputs.names[best],
        gain=gain,
        gain_interval=gain_interval,
        oracle=judge.rate(oracle),
        oracle_interval=judge.interval(oracle),
        members=tuple(
            _worth(judge, member, together, shares[member] if shares else None)
            for member in range(len(weights))
        ),
        disagreement=_table(_said(judge), lambda a, b: float((a != b).mean())),
        correlation=_table(wrong, phi),
        q_statistic=_table(wrong, yule),
        double_fault=_table(wrong, lambda a, b: float((a & b).mean())),
    )


def without(weights: Sequence[float], member: int) -> tuple[float, ...] | None:
    """The weights when a member is gone; None where it was the only one."""
    rest = tuple(0.0 if other == member else weight for other, weight in enumerate(weights))
    if sum(rest) > 0:
        return rest
    alike = tuple(float(other != member) for other in range(len(weights)))
    return alike if any(alike) else None


def shapley(judge: Judge) -> list[float] | None:
    """Each member's Shapley value, where all subsets can be asked; else None.

    The worth of a subset is the share that it gets right, 1 minus its error rate, and that of
    nobody 0. A subset keeps the weights of the combination; members of weight 0 in it share alike.
    """
    weights = judge.combination.weights
    count = len(weights)
    if not judge.quick or count > MOST_SHARED:
        return None
    worth: dict[frozenset[int], float] = {frozenset(): 0.0}
    for size in range(1, count + 1):
        for some in map(frozenset, combinations(range(count), size)):
            own = [weight if m in some else 0.0 for m, weight in enumerate(weights)]
            own = own if sum(own) > 0 else [float(m in some) for m in range(count)]
            worth[some] = 1 - judge.rate(judge.errors(own))
    return [
        sum(
            (worth[some | {member}] - value) / (count * comb(count - 1, len(some)))
            for some, value in worth.items()
            if member not in some
        )
        for member in range(count)
    ]


def phi(a: Wrong, b: Wrong) -> float | None:
    """Pearson's correlation of two binary outcomes; None where one of them never varies."""
    if a.all() or b.all() or not a.any() or not b.any():
        return None
    spread = np.sqrt(a.mean() * (1 - a.mean()) * b.mean() * (1 - b.mean()))
    return float(((a & b).mean() - a.mean() * b.mean()) / spread)


def yule(a: Wrong, b: Wrong) -> float | None:
    """Yule's Q of two binary outcomes (1900); None where both products are 0."""
    same = float((a & b).sum() * (~a & ~b).sum())
    other = float((a & ~b).sum() * (~a & b).sum())
    return (same - other) / (same + other) if same + other else None


def _worth(judge: Judge, member: int, together: Counts, share: float | None) -> Worth:
    rest = without(judge.combination.weights, member)
    # Without its only member a model says nothing, and misses every token.
    fewer = judge.lengths if rest is None else judge.errors(rest)
    marginal, interval = judge.difference(fewer, together)
    own = judge.alone[member]
    others = np.delete(judge.alone, member, axis=0)
    best_other = others.min(0) if len(others) else np.full_like(own, np.inf)
    cost = judge.outputs.costs[member]

    def named(places: npt.NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(judge.outputs.clips[place].id for place in np.flatnonzero(places))

    return Worth(
        name=judge.outputs.names[member],
        error_rate=judge.rate(own),
        interval=judge.interval(own),
        rtf=cost.rtf,
        multiply_adds=cost.multiply_adds,
        weight=judge.combination.weights[member],
        temperature=judge.combination.temperatures[member],
        marginal=marginal,
        marginal_interval=interval,
        shapley=share,
        saves=named(together < fewer),
        spoils=named(together > fewer),
        alone=named(own < best_other),
    )


def _said(judge: Judge) -> npt.NDArray[np.int64]:
    """A number for each answer, the same for answers that count the same."""
    numbers: dict[tuple[str, ...], int] = {}
    return np.array(
        [
            [
                numbers.setdefault(tuple(judge.units(answer, answer.hypothesis)), len(numbers))
                for answer in own
            ]
            for own in judge.outputs.answers
        ]
    )


def _table(rows: npt.NDArray[Any], measure: Callable[[Any, Any], float | None]) -> Table:
    return tuple(tuple(measure(a, b) for b in rows) for a in rows)
