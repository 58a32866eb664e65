"""How well voiceprints tell speakers apart: the equal error rate of trials."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimass.base.errors import DataError
from aimass.evaluation.cost import Cost
from aimass.evaluation.errors import Errors
from aimass.evaluation.interval import percentiles, resampled
from aimass.evaluation.scorecard import Scorecard

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-12  # of shares, which must not part rates that are equal
_AT_ONCE = 2_000_000  # weights of trials held in memory together: 16 MB


@dataclass(frozen=True, slots=True)
class Trial:
    """Two utterances compared: of one speaker (a target) where both speakers are the same.

    Args:
        score: how alike the two voices are; larger is more alike.
        enrolled, heard: the speakers of the two utterances.
    """

    score: float
    enrolled: str
    heard: str

    @property
    def target(self) -> bool:
        """Whether it is the same voice."""
        return self.enrolled == self.heard


@dataclass(frozen=True, slots=True)
class EqualError:
    """Where as many speakers are turned away as impostors are let in.

    Args:
        threshold: scores from here on are accepted.
    """

    rate: float
    threshold: float


def equal_error_rate(targets: Sequence[float], others: Sequence[float]) -> EqualError:
    """The error rate at the threshold where misses and false alarms are equally frequent.

    Between two thresholds that the scores allow, both rates are taken to change in proportion.

    Args:
        targets: scores of pairs of one voice.
        others: scores of pairs of two voices.

    Raises:
        DataError: none of one kind, or a score that is no number.
    """
    scores = np.array([*targets, *others], float)
    if not len(targets) or not len(others) or not np.isfinite(scores).all():
        raise DataError(
            f"{len(targets)} scores of one voice and {len(others)} of two",
            expected="at least one finite score of each kind",
            fix="Give trials of both kinds",
        )
    same = np.arange(len(scores)) < len(targets)
    ladder = _Ladder(scores, same)
    rate, place = ladder.crossing(np.ones((1, len(scores))))
    return EqualError(float(rate[0]), ladder.threshold(int(place[0])))


def score_trials(trials: Sequence[Trial], cost: Cost | None = None) -> Scorecard:
    """The scorecard of an embedding model: equal error rate with its interval over speakers.

    Speakers are drawn, and a trial counts as often as both of its speakers were drawn together
    (the joint bootstrap of Poh and Bengio 2007, "Performance generalization in biometric
    authentication using joint user-specific and sample bootstraps", over users alone). Misses
    at the threshold are counted as deletions, false alarms as insertions.

    Raises:
        DataError: as `equal_error_rate`.
    """
    trials = sorted(trials, key=lambda trial: (trial.score, trial.enrolled, trial.heard))
    found = equal_error_rate(
        [trial.score for trial in trials if trial.target],
        [trial.score for trial in trials if not trial.target],
    )
    missed = sum(trial.target and trial.score < found.threshold for trial in trials)
    wrong = sum(not trial.target and trial.score >= found.threshold for trial in trials)
    speakers = sorted({name for trial in trials for name in (trial.enrolled, trial.heard)})
    return Scorecard(
        metric="eer",
        error_rate=found.rate,
        interval=_interval(trials, speakers, found.rate),
        errors=Errors(0, missed, wrong, len(trials)),
        utterances=len(trials),
        speakers=len(speakers),
        cost=cost or Cost(),
    )


class _Ladder:
    """The thresholds that scores allow, from the one that accepts all to the one above all."""

    def __init__(self, scores: Floats, same: npt.NDArray[np.bool_]) -> None:
        order = np.argsort(scores, kind="stable")
        self._scores, self._same, self._order = scores[order], same[order], order
        self._ends = np.flatnonzero(np.append(np.diff(self._scores) > 0, True))

    def threshold(self, place: int) -> float:
        """The lowest score that is accepted when `place` groups of equal scores are refused."""
        accepted = 0 if place == 0 else self._ends[place - 1] + 1
        return float(self._scores[min(accepted, len(self._scores) - 1)])

    def crossing(self, weights: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
        """The equal error rate for each row of weights, ``(draws, trials)``, and its place.

        The rate is NaN where a draw holds only one kind of trial.
        """
        weights = weights[:, self._order]
        missed = _shares(weights * self._same, self._ends)
        alarms = 1 - _shares(weights * ~self._same, self._ends)
        place = np.maximum(np.argmax(missed >= alarms - _ROUNDING, axis=1), 1)
        rows = np.arange(len(weights))
        gap = (missed - alarms)[rows, place]
        before = (missed - alarms)[rows, place - 1]
        part = -before / (gap - before)
        start = missed[rows, place - 1]
        return start + part * (missed[rows, place] - start), place


def _shares(weights: Floats, ends: npt.NDArray[np.int64]) -> Floats:
    """The share of weight up to each end, ``(draws, ends + 1)``, beginning with none."""
    summed = np.cumsum(weights, axis=1)
    with np.errstate(invalid="ignore"):
        shares = summed[:, ends] / summed[:, -1:]
    return np.concatenate([np.zeros((len(weights), 1)), shares], axis=1)


def _interval(trials: Sequence[Trial], speakers: Sequence[str], rate: float) -> tuple[float, float]:
    place = {name: number for number, name in enumerate(speakers)}
    enrolled = np.array([place[trial.enrolled] for trial in trials])
    heard = np.array([place[trial.heard] for trial in trials])
    ladder = _Ladder(
        np.array([trial.score for trial in trials], float),
        np.array([trial.target for trial in trials]),
    )
    times = resampled(np.eye(len(speakers)), "trials")  # how often each speaker was drawn
    block = max(1, _AT_ONCE // len(trials))
    drawn = []
    for begin in range(0, len(times), block):
        some = times[begin : begin + block]
        both = np.where(enrolled == heard, some[:, enrolled], some[:, enrolled] * some[:, heard])
        drawn.append(ladder.crossing(both)[0])
    kept = np.concatenate(drawn)
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return 0.0, 1.0
    low, high = percentiles(kept)
    return min(low, rate), max(high, rate)
