"""What passes, what does not and why, and what is chosen."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from aimass.base.errors import DataError
from aimass.evaluation.cost import Cost
from aimass.evaluation.gates import Gates, judge, needs_retraining, select
from aimass.evaluation.scorecard import score
from aimass.evaluation.verification import Trial, score_trials

from .cards import card, labelled

GOOD = [i % 50 == 0 for i in range(500)]  # 2 %
BAD = [i % 8 == 0 for i in range(500)]  # 12.6 %


def test_nothing_asked_is_passed() -> None:
    assert judge(card(BAD), Gates()).passed


@pytest.mark.parametrize(
    ("gate", "value", "why"),
    [
        ("error_rate", 0.02, ""),
        ("error_rate", 0.019, "the classification_error is 2.00%, above 1.90%"),
        ("upper", 0.5, ""),
        ("upper", 0.02, "the upper end of the classification_error's interval is"),
        ("worst_speaker", 0.1, ""),
        ("worst_speaker", 0.05, "the classification_error of s0 is 10.00%, above 5.00%"),
        ("rtf", 0.1, ""),
        ("rtf", 0.01, "the real-time factor is 0.05, above 0.01"),
        ("calibration", 0.1, ""),
        ("calibration", 0.01, "the expected calibration error is 8.00%, above 1.00%"),
    ],
)
def test_each_gate(gate: str, value: float, why: str) -> None:
    rows = labelled(GOOD, confidence=0.9)
    found = judge(
        score(rows, "classification_error", cost=Cost(100.0, 5.0)),
        Gates.model_validate({gate: value}),
    )
    assert found.passed == (not why)
    assert [reason[: len(why)] for reason in found.reasons] == ([why] if why else [])


def test_what_was_not_measured_does_not_pass() -> None:
    gates = Gates(rtf=0.1, calibration=0.1, worst_speaker=0.1)
    unknown = [replace(row, speaker=None) for row in labelled(GOOD)]
    found = judge(score(unknown, "classification_error"), gates)
    assert len(found.reasons) == 3
    assert all("was not measured" in reason for reason in found.reasons)


def test_better_than_another() -> None:
    gates = Gates(better_than="production")
    assert judge(card(GOOD), gates).passed  # a first model has nobody to beat
    assert judge(card(GOOD), gates, card(BAD)).passed
    for other in (GOOD, [*GOOD[1:], False]):
        found = judge(card(GOOD), gates, card(other))
        assert not found.passed
        assert found.reasons[0].startswith("it is not surely better than production: ")
    with pytest.raises(DataError):
        judge(card(GOOD), gates, card(BAD[:10]))


def test_a_gate_that_is_none() -> None:
    for wrong in ({"eror_rate": 0.1}, {"error_rate": 2}, {"rtf": 0}, {"better_than": "a b"}):
        with pytest.raises(ValidationError):
            Gates.model_validate(wrong)


def test_training_again() -> None:
    gates = Gates(error_rate=0.05, worst_speaker=0.2)
    published = card(GOOD)
    assert not needs_retraining(published, published, gates).needed
    found = needs_retraining(card(BAD), published, gates)
    assert found.needed
    assert "surely above 5.00%" in found.reasons[0]
    assert "has risen from 2.00% to 12.60%" in found.reasons[1]
    assert needs_retraining(card(BAD), published, Gates()).reasons == found.reasons[1:]
    recent = score(
        [replace(r, utterance_id=f"new {r.utterance_id}") for r in labelled(BAD)],
        "classification_error",
    )
    assert "has risen" in needs_retraining(recent, published, Gates()).reasons[0]


def test_chance_is_no_reason_to_train_again() -> None:
    now = card([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], speakers=10)
    assert now.error_rate > 0.05
    assert not needs_retraining(now, card(GOOD), Gates(error_rate=0.05)).needed


def test_a_speaker_who_is_badly_served() -> None:
    errors = [i % 5 == 3 and i % 2 == 1 for i in range(500)]
    found = needs_retraining(card(errors), card(errors), Gates(worst_speaker=0.2))
    assert found.reasons == ("s3 is badly served: classification_error 50.00%, above 20.00%",)


def test_selecting() -> None:
    cheap, dear = Cost(multiply_adds=10), Cost(multiply_adds=1000)
    nearly = [*GOOD[1:], False]
    cards = {
        "best": card([*GOOD[:-1], False], cost=dear),
        "close": card(nearly, cost=cheap),
        "bad": card(BAD, cost=Cost(multiply_adds=1)),
    }
    assert select(cards) == "close"
    assert select(dict(reversed(cards.items()))) == "close"
    cards["close"] = card(nearly, cost=Cost(1.0, 1.0))  # arithmetic and time of one alone
    cards["best"] = card([False, *GOOD[1:]], cost=dear)
    assert select(cards) == "best"
    assert select({"only": card(BAD)}) == "only"
    with pytest.raises(DataError, match="no scorecards"):
        select({})


def test_time_decides_where_arithmetic_was_not_counted() -> None:
    cards = {"slow": card(GOOD, cost=Cost(1.0, 0.2)), "quick": card(GOOD, cost=Cost(1.0, 0.1))}
    assert select(cards) == "quick"


def test_voiceprints_are_chosen_by_their_error_alone() -> None:
    apart = score_trials([Trial(0.9, "a", "a"), Trial(0.1, "a", "b")])
    mixed = score_trials([Trial(0.1, "a", "a"), Trial(0.9, "a", "b")])
    assert select({"mixed": mixed, "apart": apart}) == "apart"


def test_voiceprints_that_have_become_worse() -> None:
    apart = score_trials([Trial(0.9, "a", "a"), Trial(0.1, "a", "b")])
    mixed = score_trials([Trial(0.1, "a", "a"), Trial(0.9, "a", "b")])
    before, now = replace(apart, interval=(0.0, 0.2)), replace(mixed, interval=(0.3, 1.0))
    assert not needs_retraining(before, before, Gates()).needed
    assert not needs_retraining(before, now, Gates()).needed
    assert "has risen" in needs_retraining(now, before, Gates()).reasons[0]


def test_few_speakers_who_err_alike_are_no_reason() -> None:
    now = card([0, 0, *[1] * 18], speakers=2)  # nine of ten for each of the two
    assert not needs_retraining(now, now, Gates(error_rate=0.85, worst_speaker=0.85)).needed
    alone = card([1], speakers=1)
    assert not needs_retraining(alone, alone, Gates(error_rate=0.5, worst_speaker=0.5)).needed
