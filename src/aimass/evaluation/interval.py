"""How sure an error rate is: bootstrap intervals over speakers or utterances."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

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

    Resampling cannot see an error that never happened. Without one, the upper end is the exact
    binomial bound over the reference tokens (Clopper and Pearson 1934), one-sided because the
    rate cannot lie below 0: about 3 / n, the "rule of three". It takes tokens as independent,
    so read it as the least that remains uncertain.

    Args:
        errors: edits of each utterance.
        lengths: reference tokens of each utterance.
        speakers: who spoke each utterance; None where unknown makes utterances the unit.

    Returns:
        ``(low, high)``; low is 0 and high at least 1 when there is no reference token at all.
    """
    wrong, total = np.asarray(errors, float), np.asarray(lengths, float)
    if total.sum() == 0:
        return 0.0, max(1.0, float(wrong.sum()))
    if wrong.sum() == 0:
        return 0.0, zero_errors_bound(int(total.sum()))
    if None not in speakers and len(set(speakers)) >= 2:
        wrong, total = _by_speaker(wrong, total, speakers)
    rates = _resampled_rates(wrong, total)
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    # With few units the percentiles may miss the rate itself, which must not lie outside.
    rate = wrong.sum() / total.sum()
    return float(min(low, rate)), float(max(high, rate))


def zero_errors_bound(trials: int) -> float:
    """The largest rate that still gives no error in `trials` with probability 5 %."""
    return 1 - math.pow(1 - _LEVEL, 1 / trials)


def _by_speaker(
    wrong: npt.NDArray[np.float64],
    total: npt.NDArray[np.float64],
    speakers: Sequence[Hashable | None],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    order = {speaker: i for i, speaker in enumerate(dict.fromkeys(speakers))}
    index = np.array([order[speaker] for speaker in speakers])
    return (
        np.bincount(index, wrong).astype(np.float64),
        np.bincount(index, total).astype(np.float64),
    )


def _resampled_rates(
    wrong: npt.NDArray[np.float64], total: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Pooled rates of `_DRAWS` resamples, shape ``(draws,)``; drawn in blocks to bound memory."""
    random = np.random.default_rng(_SEED)
    units = len(wrong)
    block = max(1, _AT_ONCE // units)
    rates = []
    for begin in range(0, _DRAWS, block):
        drawn = random.integers(units, size=(min(block, _DRAWS - begin), units))
        # A resample may hold only utterances with an empty reference: its edits count as 1 each.
        rates.append(wrong[drawn].sum(1) / np.maximum(total[drawn].sum(1), 1))
    return np.concatenate(rates)
