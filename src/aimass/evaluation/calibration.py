"""Whether a confidence means what it says: reliability, calibration error, discrimination."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Level = Literal["word", "utterance"]

BINS = 15


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers whose confidence lies in ``[low, high)``; the last bin holds 1 as well.

    Args:
        confidence: their mean confidence.
        accuracy: the share of them that is right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How confidences relate to what was right.

    Args:
        level: what was right or wrong, a word or a whole utterance.
        count: how many there were.
        bins: those that hold something.
        ece: expected calibration error over `BINS` bins of equal width.
        brier: mean squared distance of the confidence from 1 (right) or 0 (wrong).
        auroc: the chance that a right answer is more confident than a wrong one; None where all
            are right or all are wrong.
    """

    level: Level
    count: int
    bins: tuple[Bin, ...]
    ece: float
    brier: float
    auroc: float | None


def calibrate(
    confidences: Sequence[float], right: Sequence[bool], level: Level
) -> Calibration | None:
    """Compare confidences with what was right; None without any.

    Expected calibration error as Guo et al. (2017), "On calibration of modern neural networks",
    with their 15 bins of equal width; Brier (1950), "Verification of forecasts expressed in
    terms of probability"; the area under the ROC curve as the statistic of Mann and Whitney
    (1947), ties counted half.

    Args:
        confidences: probabilities; what lies outside [0, 1] is taken for the nearer end.
    """
    if not confidences:
        return None
    stated = np.clip(np.asarray(confidences, float), 0, 1)
    true = np.asarray(right, float)
    bins = _bins(stated, true)
    return Calibration(
        level=level,
        count=len(stated),
        bins=bins,
        ece=sum(b.count * abs(b.confidence - b.accuracy) for b in bins) / len(stated),
        brier=float(np.mean(np.sort((stated - true) ** 2))),
        auroc=_auroc(stated[true == 1], stated[true == 0]),
    )


def _bins(stated: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> tuple[Bin, ...]:
    place = np.minimum((stated * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(place):
        # Sorted, so that rounding does not depend on the order of the answers.
        inside = np.sort(stated[place == number])
        accuracy = float(true[place == number].mean())
        low, high = number / BINS, (number + 1) / BINS
        rows.append(Bin(float(low), float(high), len(inside), float(inside.mean()), accuracy))
    return tuple(rows)


def _auroc(right: npt.NDArray[np.float64], wrong: npt.NDArray[np.float64]) -> float | None:
    if not len(right) or not len(wrong):
        return None
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, "left") + np.searchsorted(ordered, right, "right")
    return float(below.sum() / 2 / (len(right) * len(wrong)))
