"""Scored utterances and scorecards that tests are made of."""

from collections.abc import Sequence

from hypothesis import strategies as st

from aimass.evaluation.cost import Cost
from aimass.evaluation.scorecard import Metric, Scorecard, Scored, score

WORDS = st.lists(st.sampled_from(["yes", "no", "five", "there's", "你好", "ok"]), max_size=6).map(
    " ".join
)
METRICS: list[Metric] = ["wer", "cer", "mer", "classification_error"]


@st.composite
def results(draw: st.DrawFn, least: int = 0) -> list[Scored]:
    """Some utterances with all that a result may carry."""
    speakers = st.sampled_from(["ann", "bob", "cy", None])
    count = draw(st.integers(least, 8))
    return [
        Scored(
            f"u{i}",
            draw(speakers),
            draw(WORDS),
            draw(WORDS),
            language=draw(st.sampled_from(["en", "zh", None])),
            confidence=draw(st.none() | st.floats(0, 1)),
            seconds=draw(st.none() | st.floats(0.1, 60)),
        )
        for i in range(count)
    ]


def labelled(
    errors: Sequence[int], speakers: int = 5, confidence: float | None = None
) -> list[Scored]:
    """One label for each number: right where it is 0."""
    return [
        Scored(f"u{i:04d}", f"s{i % speakers}", "yes", "no" if wrong else "yes", None, confidence)
        for i, wrong in enumerate(errors)
    ]


def card(errors: Sequence[int], speakers: int = 5, cost: Cost | None = None) -> Scorecard:
    """The scorecard of such labels."""
    return score(labelled(errors, speakers), "classification_error", cost=cost)
