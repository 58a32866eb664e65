"""How sure an error rate is: bootstrap intervals over speakers or utterances."""

import math
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from aimass.base.randomness import generator

Counts = npt.NDArray[np.float64]
"""What is summed before rates are taken, shape ``(units, columns)``."""

FEW = 5
"""Speakers from which on a bootstrap over them alone is believed."""

_LEVEL = 0.95
_DRAWS = 2000
_SEED = 20040517
_AT_ONCE = 2_000_000  # drawn indices held in memory together: 16 MB


def error_interval(
    errors: Sequence[int],
    lengths: Sequence[int],
    speakers: Sequence[Hashable | None],
) -> tuple[float, float]:
    """A 95 % interval of the pooled rate ``sum(errors) / sum(lengths)``.

    Whole speakers are drawn where at least two are known, because utterances of one speaker err
    together; otherwise utterances are drawn. Percentile bootstrap: Efron (1979), "Bootstrap
    methods"; for error rates with pooled words and blocks of dependent utterances Bisani and
    Ney (2004), "Bootstrap estimates for confidence intervals in ASR performance evaluation".

    A few speakers who err alike by chance look like certainty: few clusters make a bootstrap over
    them too narrow (Cameron, Gelbach and Miller 2008, "Bootstrap-based improvements for inference
    with clustered errors"). With fewer than `FEW` the interval also holds that over utterances.

    Resampling cannot see an error that never happened. Without one, the upper end is the exact
    binomial bound over the reference tokens (Clopper and Pearson 1934), one-sided because the
    rate cannot lie below 0: about 3 / n, the "rule of three"; where no token is right, the lower
    end mirrors it. It takes tokens as independent, so read it as the least that remains uncertain.

    Args:
        errors: edits of each utterance.
        lengths: reference tokens of each utterance.
        speakers: who spoke each utterance; None where unknown makes utterances the unit.

    Returns:
        ``(low, high)``; low is 0 and high at least 1 when there is no reference token at all.
    """
    wrong, total = sum(errors), sum(lengths)
    if total == 0:
        return 0.0, max(1.0, float(wrong))
    if wrong == 0:
        return 0.0, zero_errors_bound(total)
    if np.array_equal(errors, lengths):
        return 1 - zero_errors_bound(total), 1.0
    # With few units the percentiles may miss the rate itself, which must not lie outside.
    ends = [(wrong / total, wrong / total)]
    for counts in levels(np.array([errors, lengths], float).T, speakers):
        drawn = resampled(counts[np.lexsort(counts.T)])  # sorted, so that order does not matter
        ends.append(percentiles(rates(drawn[:, 0], drawn[:, 1])))
    return union(ends)


def zero_errors_bound(trials: int) -> float:
    """The largest rate that still gives no error in `trials` with probability 5 %."""
    return 1 - math.pow(1 - _LEVEL, 1 / trials)


def levels(counts: Counts, speakers: Sequence[Hashable | None]) -> list[Counts]:
    """The rows to draw from: those of `by_unit`, and of utterances too where speakers are few."""
    summed = by_unit(counts, speakers)
    return [summed] if summed is counts or len(summed) >= FEW else [summed, counts]


def union(intervals: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The narrowest interval that holds all of them."""
    lows, highs = zip(*intervals, strict=True)
    return min(lows), max(highs)


def by_unit(counts: Counts, speakers: Sequence[Hashable | None]) -> Counts:
    """The rows of each speaker summed, in order of first appearance.

    Rows stay as they are where a speaker is unknown or there is but one: utterances are the unit.
    """
    names = dict.fromkeys(speakers)
    if None in names or len(names) < 2:
        return counts
    order = {speaker: i for i, speaker in enumerate(names)}
    summed = np.zeros((len(order), counts.shape[1]))
    np.add.at(summed, [order[speaker] for speaker in speakers], counts)
    return summed


def resampled(counts: Counts, name: str = "interval") -> Counts:
    """Column sums of resamples of the rows, ``(draws, columns)``; drawn in blocks of memory.

    Args:
        name: of the random stream; the same name and number of rows give the same draws.
    """
    random = generator(_SEED, name)
    units = len(counts)
    block = max(1, _AT_ONCE // units)
    sums = []
    for begin in range(0, _DRAWS, block):
        drawn = random.integers(units, size=(min(block, _DRAWS - begin), units))
        sums.append(np.stack([column[drawn].sum(1) for column in counts.T], axis=1))
    return np.concatenate(sums)


def drawn_rates(counts: Counts, name: str) -> npt.NDArray[np.float64]:
    """Rates that the data leave possible, ``(draws,)``, of the columns errors and tokens.

    Resamples; without any error, rates whose upper end is that of `zero_errors_bound`, and with
    errors alone their mirror.
    """
    wrong, total = counts.sum(0)
    if wrong == 0:
        return generator(_SEED, name).beta(1, max(total, 1), _DRAWS)
    if np.array_equal(counts[:, 0], counts[:, 1]):
        return generator(_SEED, name).beta(total, 1, _DRAWS)
    sums = resampled(counts, name)
    return rates(sums[:, 0], sums[:, 1])


def rates(
    wrong: npt.NDArray[np.float64], total: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Pooled rates; against nothing said, each edit counts as 1."""
    pooled: npt.NDArray[np.float64] = wrong / np.maximum(total, 1)
    return pooled


def percentiles(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The ends between which 95 % of the values lie."""
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
