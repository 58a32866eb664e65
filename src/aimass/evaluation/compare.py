"""Which of two models is better, and how sure that is."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from aimass.base.errors import DataError
from aimass.evaluation.interval import (
    Counts,
    drawn_rates,
    levels,
    percentiles,
    rates,
    resampled,
    union,
)
from aimass.evaluation.scorecard import Metric, Scorecard, Scored, UtteranceScore, json_ready, score

Test = Literal["mapsswe", "mcnemar"]

SIGNIFICANT = 0.05
_EXACT = 1000  # discordant pairs up to which McNemar's test is exact


@dataclass(frozen=True, slots=True)
class Comparison:
    """Model a against model b on the same utterances.

    Args:
        difference: error rate of a minus that of b; below 0 where a is better.
        interval: 95 % interval of the difference, over speakers where they are known; where they
            are few it holds that over utterances too.
        p_value: two-sided, of the `test` over utterances.
        wins, losses, ties: utterances on which a made fewer, more, as many errors as b.
        chance_better: share of the resamples in which a is better, ties counted half.
    """

    metric: Metric
    error_rate_a: float
    error_rate_b: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    test: Test
    wins: int
    losses: int
    ties: int
    chance_better: float
    speakers: int

    @property
    def significant(self) -> bool:
        """Whether both the speakers and the utterances say that there is a difference."""
        low, high = self.interval
        return (low > 0 or high < 0) and self.p_value < SIGNIFICANT

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = asdict(self) | {"significant": self.significant}
        return {name: json_ready(value) for name, value in plain.items()}


def compare(
    a: Scorecard | Sequence[Scored],
    b: Scorecard | Sequence[Scored],
    metric: Metric = "wer",
    language: str | None = None,
) -> Comparison:
    """Compare two models on the utterances that both recognised.

    The interval is the paired bootstrap of Bisani and Ney (2004), "Bootstrap estimates for
    confidence intervals in ASR performance evaluation": the same speakers are drawn for both
    models, which takes out what is hard for both. The p-value is that of Gillick and Cox (1989),
    "Some statistical issues in the comparison of speech recognition algorithms": McNemar's test
    for labels, for words the matched-pairs test (MAPSSWE) with utterances as segments.

    Args:
        metric, language: of results that are not scored yet.

    Raises:
        DataError: other utterances, other references or another metric on one side.
    """
    first = a if isinstance(a, Scorecard) else score(a, metric, language)
    second = b if isinstance(b, Scorecard) else score(b, metric, language)
    pairs = _pairs(first, second)
    counts = np.array([[x.errors, x.length, y.errors, y.length] for x, y in pairs], float)
    speakers = [x.speaker for x, _ in pairs]
    drawn = [_differences(rows) for rows in _by_name(counts, speakers)]
    differences = np.concatenate(drawn)
    fewer = counts[:, 2] - counts[:, 0]
    wins, losses = int((fewer > 0).sum()), int((fewer < 0).sum())
    labels = first.metric == "classification_error"
    return Comparison(
        metric=first.metric,
        error_rate_a=first.error_rate,
        error_rate_b=second.error_rate,
        difference=first.error_rate - second.error_rate,
        interval=union(map(percentiles, drawn)),
        p_value=mcnemar(wins, losses) if labels else mapsswe(fewer),
        test="mcnemar" if labels else "mapsswe",
        wins=wins,
        losses=losses,
        ties=len(pairs) - wins - losses,
        chance_better=float((differences < 0).mean() + (differences == 0).mean() / 2),
        speakers=len(set(speakers) - {None}),
    )


def contrast(a: Scorecard, b: Scorecard) -> tuple[float, float]:
    """A 95 % interval of the error rate of a minus that of b on other utterances, unpaired.

    Raises:
        DataError: another metric, or no utterances, on one side.
    """
    _check_metric(a, b)
    drawn = []
    for card, name in ((a, "now"), (b, "before")):
        if not card.per_utterance:
            raise _no_utterances()
        counts = np.array([[row.errors, row.length] for row in card.per_utterance], float)
        named = _by_name(counts, [row.speaker for row in card.per_utterance])
        drawn.append([drawn_rates(rows, name) for rows in named])
    return union(percentiles(ours - theirs) for ours, theirs in product(*drawn))


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided p-value of McNemar's test (1947): only pairs that differ tell something.

    Exact binomial; the normal approximation with continuity correction beyond 1000 such pairs.
    """
    total = wins + losses
    if total == 0:
        return 1.0
    if total > _EXACT:
        return _two_sided(max(0, abs(wins - losses) - 1) / math.sqrt(total))
    tail = sum(math.comb(total, k) for k in range(min(wins, losses) + 1))
    return min(1.0, float(tail / 2 ** (total - 1)))


def mapsswe(differences: npt.NDArray[np.float64]) -> float:
    """Two-sided p-value of the matched-pairs test: is the mean difference of segments 0?

    The normal approximation, which wants about 50 segments. Where all segments differ by the
    same, which has no variance, the sign test.

    Args:
        differences: errors of one model minus those of the other in each segment.
    """
    segments = len(differences)
    mean = float(differences.mean())
    deviation = float(differences.std(ddof=1)) if segments > 1 else 0.0
    if deviation == 0:
        return mcnemar(segments, 0) if mean else 1.0
    return _two_sided(abs(mean) / (deviation / math.sqrt(segments)))


def _two_sided(z: float) -> float:
    return math.erfc(z / math.sqrt(2))


def _pairs(a: Scorecard, b: Scorecard) -> list[tuple[UtteranceScore, UtteranceScore]]:
    """The utterances of both, in order of identities."""
    _check_metric(a, b)
    if not a.per_utterance or not b.per_utterance:
        raise _no_utterances()
    ours, theirs = ({row.utterance_id: row for row in card.per_utterance} for card in (a, b))
    odd = sorted(ours.keys() ^ theirs.keys())
    odd = odd or [name for name, row in ours.items() if row.length != theirs[name].length]
    if odd or len(ours) != len(a.per_utterance) or len(theirs) != len(b.per_utterance):
        raise DataError(
            f"the two scorecards are of different recordings or texts"
            f"{f', for one {odd[0][:100]!r}' if odd else ''}",
            expected="the same utterances with the same texts, each once",
            fix="Evaluate both models on the same data: aimass compare --data DIR MODEL MODEL",
        )
    return [(ours[name], theirs[name]) for name in sorted(ours)]


def _check_metric(a: Scorecard, b: Scorecard) -> None:
    if a.metric != b.metric or a.metric == "eer":
        raise DataError(
            f"scorecards of the metrics {a.metric} and {b.metric}",
            expected="one metric of texts or labels for both",
            fix="Evaluate both with the same --metric",
        )


def _no_utterances() -> DataError:
    return DataError(
        "a scorecard that holds no utterances",
        expected="per_utterance, as this version writes it",
        fix="Evaluate the model again",
    )


def _by_name(counts: Counts, speakers: Sequence[str | None]) -> list[Counts]:
    """The `levels`, speakers in order of their names, so that neither order nor side matters."""
    if None in speakers:
        return [counts]
    order = sorted(range(len(counts)), key=lambda row: speakers[row] or "")
    return levels(counts[order], [speakers[row] for row in order])


def _differences(counts: Counts) -> npt.NDArray[np.float64]:
    """Rates of a minus those of b in resamples of the columns errors and tokens of both."""
    drawn = resampled(counts, "comparison")
    return rates(drawn[:, 0], drawn[:, 1]) - rates(drawn[:, 2], drawn[:, 3])
