"""Temperatures that make confidences mean what they say, found on dev data.

Guo et al. (2017), "On calibration of modern neural networks": one number per model, of least
negative log-likelihood. In ``1 / T`` that is convex, so the slope tells on which side it lies.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aimass.base.errors import DataError
from aimass.decoding.combine import calibrated

Rows = npt.NDArray[np.float64]  # (rows, outputs)

HOTTEST, COLDEST = 20.0, 0.05
_LEAST = -60.0  # log-probabilities below it, which may be infinite, are lifted to it
_HALVINGS = 40


def smoothed(targets: Rows) -> Rows:
    """Targets with one more row's worth of doubt spread over all outputs.

    Without it a member that is always right on a small dev set would be called certain; as Platt
    (1999), "Probabilistic outputs for support vector machines", section 2.2.
    """
    doubt = 1 / (len(targets) + 1)
    found: Rows = (1 - doubt) * targets + doubt / targets.shape[1]
    return found


def temperature(log_probs: Rows, targets: Rows) -> float:
    """The temperature at which rows are likeliest to give the targets.

    Args:
        log_probs: ``(rows, outputs)``.
        targets: what should have been said, each row a distribution.

    Returns:
        From `COLDEST` to `HOTTEST`.

    Raises:
        DataError: no rows, or another shape of targets.
    """
    if log_probs.shape != targets.shape or not log_probs.size:
        raise DataError(
            f"log-probabilities {log_probs.shape} and targets {targets.shape}",
            expected="as many rows of targets, at least one",
            fix="Fit on a dev set that holds utterances",
        )
    scores = np.maximum(log_probs, _LEAST)
    wanted = smoothed(targets)
    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _too_sure(scores, wanted, math.exp(-middle)):
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def confidence_temperature(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """The temperature for stated confidences, of which each was right or wrong; 1 without any."""
    if not confidences:
        return 1.0
    stated = np.clip(np.asarray(confidences, float), 1e-6, 1 - 1e-6)
    rows = np.log(np.stack([stated, 1 - stated], axis=1))
    true = np.asarray(right, float)
    return temperature(rows, np.stack([true, 1 - true], axis=1))


def all_calibrated(confidences: Sequence[float], at: float) -> list[float]:
    """`calibrated` for each of many."""
    return [calibrated(confidence, at) for confidence in confidences]


def _too_sure(scores: Rows, wanted: Rows, coldness: float) -> bool:
    """Whether at ``1 / T`` the likelihood falls with more coldness."""
    logits = scores * coldness
    below = np.exp(logits - logits.max(axis=1, keepdims=True))
    given = below / below.sum(axis=1, keepdims=True)
    return float(((wanted - given) * scores).sum()) < 0
