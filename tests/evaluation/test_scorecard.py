"""Laws of scorecards."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.evaluation.scorecard import Cost, Metric, Scored, score

WORDS = st.lists(st.sampled_from(["yes", "no", "five", "there's"]), max_size=6).map(" ".join)
METRICS: list[Metric] = ["wer", "cer", "classification_error"]


@st.composite
def results(draw: st.DrawFn) -> list[Scored]:
    speakers = st.sampled_from(["ann", "bob", "cy", None])
    count = draw(st.integers(0, 8))
    return [Scored(f"u{i}", draw(speakers), draw(WORDS), draw(WORDS)) for i in range(count)]


@given(results(), st.sampled_from(METRICS), st.randoms())
def test_order_does_not_matter(rows: list[Scored], metric: Metric, shuffle: random.Random) -> None:
    card = score(rows, metric, "en")
    mixed = list(rows)
    shuffle.shuffle(mixed)
    other = score(mixed, metric, "en")
    assert (other.error_rate, other.errors) == (card.error_rate, card.errors)
    assert (other.per_speaker, other.worst) == (card.per_speaker, card.worst)


@given(results(), st.sampled_from(METRICS))
def test_perfect_answers_have_no_error(rows: list[Scored], metric: Metric) -> None:
    same = [Scored(r.utterance_id, r.speaker, r.reference, r.reference) for r in rows]
    card = score(same, metric, "en")
    assert card.error_rate == 0
    assert card.interval[0] == 0 < card.interval[1]
    assert card.worst == ()


@given(results(), st.sampled_from(METRICS))
def test_parts_make_the_whole(rows: list[Scored], metric: Metric) -> None:
    card = score(rows, metric, "en", Cost(10.0, 2.0, 300.0))
    known = [r for r in rows if r.speaker is not None]
    assert sum(row.utterances for row in card.per_speaker) == len(known)
    assert card.speakers == len(card.per_speaker)
    assert card.utterances == len(rows)
    for row in card.per_speaker:
        own = score([r for r in rows if r.speaker == row.speaker], metric, "en")
        assert own.error_rate == row.error_rate
    plain = card.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert {"metric", "error_rate", "interval", "per_speaker", "rtf", "peak_memory_mb"} <= {*plain}
    assert (plain["rtf"], plain["peak_memory_mb"], plain["audio_seconds"]) == (0.2, 300.0, 10.0)


@given(results())
def test_a_classification_is_one_token(rows: list[Scored]) -> None:
    card = score(rows, "classification_error")
    assert card.errors.length == len(rows)
    assert card.errors.total == sum(r.reference != r.hypothesis for r in rows)


def test_both_sides_are_normalised() -> None:
    rows = [Scored("u", None, "said mister hale", "Said Mr. Hale."), Scored("v", None, "5", "five")]
    assert score(rows, "wer", "en").error_rate == 0
    assert score(rows, "cer", "en").error_rate == 0
    assert score(rows, "wer").error_rate == pytest.approx(0.5)


def test_worst_come_first_and_show_what_was_compared() -> None:
    rows = [
        Scored("slight", "a", "one two three", "one two tree"),
        Scored("bad", "a", "One two, three!", ""),
        Scored("good", "b", "yes", "yes"),
    ]
    card = score(rows, "wer", "en")
    assert [row.utterance_id for row in card.worst] == ["bad", "slight"]
    assert card.worst[0].reference == "one two three"
    assert card.errors.deletions == 3
    assert [row.speaker for row in card.per_speaker] == ["a", "b"]
