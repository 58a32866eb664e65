"""Weights of a mean of posteriors, by the likelihood of what was said.

Both means have one best weighting, found from equal weights on: of the arithmetic one by
expectation and maximisation (Jacobs et al. 1991, "Adaptive mixtures of local experts", with
weights that do not depend on the input), of the geometric one by exponentiated gradients
(Kivinen and Warmuth 1997); its likelihood is concave in the weights (Heskes 1998, "Selecting
weighting factors in logarithmic opinion pools").

A handful of dev speakers says little about weights. `PULL` draws them to equality as if so much
more data had said so, and what is taken in the end is the point nearest to equality, on the way
from there to the fitted weights, that speakers who were left out do not clearly speak against: as
the rule of Breiman et al. (1984), "Classification and regression trees", section 3.4.3, with the
t-test of Student (1908) for one standard error, which among four speakers is soon passed. Members
that know next to nothing are left out first; at their own temperature they do so little harm that
likelihood alone would keep them.
"""

import math

import numpy as np
import numpy.typing as npt

from aimass.decoding.combine import FLOOR, Method, pooled
from aimass.ensemble.calibrate import Rows, temperature

Stack = npt.NDArray[np.float64]  # (members, rows, outputs)
Weights = npt.NDArray[np.float64]  # (members,)

PULL = 0.05
LADDER = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How far from equal to fitted weights."""

TELLS = 0.1
"""Share of the best member's information that a member must give to be heard."""

# One-sided 5 % points of Student's t by degrees of freedom, from 1 on.
_STUDENT = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860)
_STEPS = 200
_ENOUGH = 1e-7  # gain of a step, nats a row, below which nothing more is to be had
_LEAST = -60.0


def likeliest(stack: Stack, targets: Rows, method: Method) -> Weights:
    """The weights at which the mean of members is likeliest to give the targets.

    Args:
        stack: normalised log-probabilities ``(members, rows, outputs)``.
        targets: distributions ``(rows, outputs)``.
        method: ``arithmetic``, or else geometric.
    """
    if method == "arithmetic":
        return _mixed(np.maximum(stack, _LEAST), targets)
    return _graded(np.maximum(stack, FLOOR), targets)


def chosen(stack: Stack, targets: Rows, folds: npt.NDArray[np.int64], method: Method) -> Weights:
    """The weights that hold for speakers who had no part in fitting them.

    Args:
        stack: members at their own temperatures.
        folds: which part of the dev set each row belongs to, ``(rows,)``.
    """
    heard = telling(stack, targets)
    kept, parts = stack[heard], np.unique(folds)
    equal = np.full(len(kept), 1 / len(kept))
    found = equal
    if len(kept) > 1 and len(parts) > 1:
        losses = np.array([_held_out(kept, targets, folds == part, method) for part in parts])
        found = towards(equal, likeliest(kept, targets, method), nearest(losses))
    weights = np.zeros(len(stack))
    weights[heard] = found
    return weights


def telling(stack: Stack, targets: Rows) -> npt.NDArray[np.bool_]:
    """Which members say something of what was said: more than how often each output comes."""
    often = targets.mean(axis=0)
    guess = -float((often * np.log(np.maximum(often, 1e-30))).sum())
    told = np.array([guess - loss(own, targets) for own in stack])
    return told >= TELLS * max(float(told.max()), 0.0) if told.max() > 0 else told == told.max()


def towards(equal: Weights, fitted: Weights, share: float) -> Weights:
    """The weights at a share of the way."""
    return (1 - share) * equal + share * fitted


def nearest(losses: npt.NDArray[np.float64]) -> float:
    """The first rung of `LADDER` that is not clearly worse than the best.

    Args:
        losses: of each part at each rung, ``(parts, rungs)``.
    """
    best = int(losses.mean(axis=0).argmin())
    for rung in range(best):
        worse = losses[:, rung] - losses[:, best]
        if not clear(worse):
            return LADDER[rung]
    return LADDER[best]


def clear(gains: npt.NDArray[np.float64]) -> bool:
    """Whether independent parts gain on average, by Student's t-test at 5 %, one-sided.

    Args:
        gains: one for each part, ``(parts,)``.
    """
    if len(gains) < 2:
        return False
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains))
    limit = _STUDENT[min(len(gains) - 1, len(_STUDENT)) - 1]
    return bool(gains.mean() > limit * error)


def loss(log_probs: Rows, targets: Rows) -> float:
    """Nats a row that the targets cost."""
    return -float((targets * np.maximum(log_probs, _LEAST)).sum() / len(targets))


def normalised(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-probabilities proportional to ``exp(scores)``, over the last axis."""
    below = scores - scores.max(axis=-1, keepdims=True)
    found: npt.NDArray[np.float64] = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
    return found


def _held_out(
    stack: Stack, targets: Rows, out: npt.NDArray[np.bool_], method: Method
) -> list[float]:
    """What the rows left out cost at each rung, the whole's temperature fitted without them too.

    Without that temperature an arithmetic mean would gain by leaning on any one member, only
    because means of sure members that disagree are not sure.
    """
    known, asked = stack[:, ~out], stack[:, out]
    equal = np.full(len(stack), 1 / len(stack))
    fitted = likeliest(known, targets[~out], method)
    found = []
    for share in LADDER:
        weights = towards(equal, fitted, share)
        heat = temperature(pooled(known, weights, method), targets[~out])
        found.append(loss(normalised(pooled(asked, weights, method) / heat), targets[out]))
    return found


def _mixed(stack: Stack, targets: Rows) -> Weights:
    """Expectation and maximisation: a member's weight is its share in what was said."""
    members, rows = len(stack), len(targets)
    weights = np.full(members, 1 / members)
    shares = np.exp(stack)
    for _ in range(_STEPS):
        mean = np.tensordot(weights, shares, axes=1)
        owed = weights * np.tensordot(shares, targets / mean, axes=2) / rows
        fresh = (owed / owed.sum() + PULL / members) / (1 + PULL)
        moved, weights = float(np.abs(fresh - weights).max()), fresh
        if moved < math.sqrt(_ENOUGH):
            break
    return weights


def _graded(stack: Stack, targets: Rows) -> Weights:
    """Exponentiated gradients: steps that grow while they gain and shrink when they do not."""
    members, rows = len(stack), len(targets)
    weights = np.full(members, 1 / members)
    step = 0.5

    def value(at: Weights) -> tuple[float, Rows]:
        mean = normalised(pooled(stack, at, "geometric"))
        return PULL * float(np.log(at).mean()) - loss(mean, targets), mean

    reached, mean = value(weights)
    for _ in range(_STEPS):
        slope = np.tensordot(stack, targets - np.exp(mean), axes=2) / rows
        slope += PULL / members / weights
        tried = weights * np.exp(step * (slope - slope.max()))
        tried /= tried.sum()
        there, its_mean = value(tried)
        gain = there - reached
        if gain >= 0:
            weights, reached, mean, step = tried, there, its_mean, step * 1.5
        else:
            step /= 2
        if abs(gain) < _ENOUGH:
            break
    return weights
