"""Posteriors of several members as those of one, and when the rest need not be asked any more.

The arithmetic mean is the linear opinion pool of Stone (1961), "The opinion pool": a mixture, as
sure as its members agree. The geometric mean is the logarithmic pool (Genest and Zidek 1986,
"Combining probability distributions", section 3; Heskes 1998, "Selecting weighting factors in
logarithmic opinion pools"): each member can all but rule an output out. How far it can is bounded
by `FLOOR`, so that one member that errs surely cannot outvote all others. Temperatures are those
of Guo et al. (2017), "On calibration of modern neural networks".

All members speak of the same outputs at the same times; every row is combined by itself, so a
stream in pieces gives what the whole gives.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from aimass.decoding.combination import METHODS, SUM_TOLERANCE, Combination, Method, wrong

__all__ = [
    "FLOOR",
    "METHODS",
    "Combination",
    "LogProbs",
    "Method",
    "calibrated",
    "choose",
    "combined",
    "decided",
    "pooled",
    "settled",
    "tempered",
]

LogProbs = npt.NDArray[np.float32]
"""Log-probabilities, shape ``(frames, outputs)``; one row where a label is decided."""

FLOOR = math.log(1e-6)
"""What a member says at least of any output in a geometric mean."""

_MARGIN = 1e-6  # a lead below it may be lost when the means are rounded to float32
_SURE = 1e-6  # a stated certainty is this far from one before it is tempered

_Stack = npt.NDArray[np.float64]  # (members, frames, outputs)


def combined(rows: Sequence[LogProbs], combination: Combination) -> LogProbs:
    """The posteriors of all members as one: each at its temperature, their mean at the whole's.

    Args:
        rows: of every member, each of the same shape ``(frames, outputs)``, in the members' order.

    Returns:
        Normalised log-probabilities of that shape.

    Raises:
        BundleError: a method that works on answers, another number of members, shapes that
            differ, or rows without a probability.
    """
    if combination.method not in ("arithmetic", "geometric"):
        raise wrong(f"posteriors to {combination.method}", "the method arithmetic or geometric")
    if len(rows) != len(combination.weights):
        raise wrong(f"rows of {len(rows)} members", f"those of all {len(combination.weights)}")
    heard = [member for member, weight in enumerate(combination.weights) if weight > 0]
    stack = _stacked([rows[member] for member in heard], heard, combination)
    if not stack.size:
        return np.zeros(stack.shape[1:], np.float32)
    weights = np.array([combination.weights[member] for member in heard])
    mean = pooled(stack, weights, combination.method)
    return _normalised(mean / combination.temperature).astype(np.float32)


def pooled(
    stack: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], method: Method
) -> npt.NDArray[np.float64]:
    """The mean of members' log-probabilities ``(members, frames, outputs)``, not normalised.

    Args:
        weights: ``(members,)``, all above 0.
        method: ``arithmetic``, or else geometric.
    """
    if method == "arithmetic":
        with np.errstate(divide="ignore"):  # what every member rules out stays ruled out
            mean: npt.NDArray[np.float64] = np.log(np.tensordot(weights, np.exp(stack), axes=1))
            return mean
    return np.tensordot(weights, np.maximum(stack, FLOOR), axes=1)


def tempered(log_probs: LogProbs, temperature: float) -> LogProbs:
    """``softmax(log p / T)`` of every row, as log-probabilities.

    Raises:
        BundleError: rows without a probability, such as NaN.
    """
    return _normalised(np.asarray(log_probs, np.float64) / temperature).astype(np.float32)


def calibrated(confidence: float, temperature: float) -> float:
    """A stated confidence at a temperature, for answers that come without posteriors.

    Its logit is divided, which is `tempered` where there are two outputs. A stated 0 or 1 is
    taken for almost that, else no temperature could doubt it.
    """
    if temperature == 1:
        return confidence
    inside = min(max(confidence, _SURE), 1 - _SURE)
    return 1 / (1 + math.exp(-math.log(inside / (1 - inside)) / temperature))


def choose(answers: Sequence[tuple[str, float] | None], combination: Combination) -> int:
    """The member whose answer is taken: the one with the highest calibrated confidence.

    Members of weight 0 are not heard while another answers. Equal confidences are told apart by
    weight and then by the text, so that the order of members does not matter.

    Args:
        answers: ``(text, confidence)`` of every member, None of those that did not answer.

    Raises:
        BundleError: another number of members, or no answer at all.
    """
    if len(answers) != len(combination.weights):
        raise wrong(f"answers of {len(answers)} members", f"those of {len(combination.weights)}")
    ranks = []
    for member, answer in enumerate(answers):
        if answer is not None:
            text, confidence = answer
            weight = combination.weights[member]
            sure = calibrated(confidence, combination.temperatures[member])
            ranks.append((weight > 0, sure, weight, text, -member))
    if not ranks:
        raise wrong("no answer of any member", "at least one")
    return -max(ranks)[-1]


def decided(rows: Mapping[int, LogProbs], combination: Combination) -> bool:
    """Whether members that have not answered can no more change which label wins.

    Arithmetic: an unheard member of weight w moves the lead of a label by at most w. Geometric:
    by at most ``w * -FLOOR``, the farthest that two log-probabilities can lie apart. So the
    label of ``combined([rows of those that answered], combination.only(those))`` is the label of
    all. Its probability is not: it is the mean of those that answered, renormalised, which is
    what they alone know; where they agree it is on average as sure as all would be.

    Args:
        rows: of the members that have answered, by their numbers; the last row of each counts.

    Returns:
        False as well for methods that work on answers.
    """
    weights = [combination.weights[member] for member in rows]
    left = 1 - math.fsum(weights)
    if left <= SUM_TOLERANCE:
        return True
    if not any(weights) or combination.method not in ("arithmetic", "geometric"):
        return False
    heard = [member for member, weight in zip(rows, weights, strict=True) if weight > 0]
    stack = _stacked([rows[member][-1:] for member in heard], heard, combination)
    known = np.array([combination.weights[member] for member in heard])
    mean = pooled(stack, known, combination.method)[0]
    if combination.method == "arithmetic":
        return settled(np.exp(mean), left)
    return settled(mean, left * -FLOOR)


def settled(scores: Sequence[float] | npt.NDArray[np.float64], left: float) -> bool:
    """Whether the best score leads the next by more than `left`, what others may yet move it."""
    ranked = sorted(map(float, scores), reverse=True)
    second = ranked[1] if len(ranked) > 1 else 0.0
    return ranked[0] - second > left + _MARGIN


def _stacked(rows: Sequence[LogProbs], members: Sequence[int], combination: Combination) -> _Stack:
    """The rows of members, each at its temperature."""
    shapes = {np.shape(row) for row in rows}
    if len(shapes) > 1 or len(next(iter(shapes))) != 2:
        raise wrong(
            f"rows of the shapes {', '.join(map(str, sorted(shapes)))}",
            "members with the same outputs and the same frames",
        )
    temperatures = [combination.temperatures[member] for member in members]
    stack = np.stack([np.asarray(row, np.float64) for row in rows])
    return _normalised(stack / np.array(temperatures)[:, None, None])


def _normalised(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-probabilities that are proportional to ``exp(scores)``, over the last axis."""
    if not scores.size:
        return scores
    top = scores.max(axis=-1, keepdims=True)
    if not np.isfinite(top).all():  # NaN, infinity, or nothing that is possible
        raise wrong("rows without a probability", "log-probabilities, one of them above minus inf")
    below = scores - top
    found: npt.NDArray[np.float64] = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
    return found
