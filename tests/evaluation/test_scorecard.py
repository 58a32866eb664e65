"""Laws of scorecards."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import DataError
from aimass.evaluation.errors import Confusion, Matrix
from aimass.evaluation.scorecard import Cost, Metric, Scorecard, Scored, read, score, write

from .cards import METRICS, results


@given(results(), st.sampled_from(METRICS), st.randoms())
def test_order_does_not_matter(rows: list[Scored], metric: Metric, shuffle: random.Random) -> None:
    card = score(rows, metric, "en")
    mixed = list(rows)
    shuffle.shuffle(mixed)
    assert score(mixed, metric, "en") == card


@given(results(), st.sampled_from(METRICS))
def test_perfect_answers_have_no_error(rows: list[Scored], metric: Metric) -> None:
    same = [replace(r, hypothesis=r.reference) for r in rows]
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
        assert (own.error_rate, own.interval) == (row.error_rate, row.interval)
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


@given(results(), st.sampled_from(METRICS))
def test_json_gives_the_same_back(rows: list[Scored], metric: Metric) -> None:
    card = score(rows, metric, "en", Cost(10.0, 2.0, 300.0, 0.1, 0.3, 10**9))
    assert Scorecard.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_a_card_of_an_older_version() -> None:
    plain = score([Scored("u", "a", "yes", "no")], "wer").to_dict()
    for name in ("calibration", "confusions", "matrix", "per_language", "per_utterance"):
        del plain[name]
    plain["per_speaker"] = [{"speaker": "a", "utterances": 1, "error_rate": 1.0}]
    assert Scorecard.from_dict(plain).error_rate == 1


def test_files(tmp_path: Path) -> None:
    card = score([Scored("u", "a", "yes", "no", "en", 0.5, "a.wav", 1.5, 0.5)], "wer")
    write(card, tmp_path / "card.json")
    assert read(tmp_path / "card.json") == card
    assert card.per_utterance[0].audio == "a.wav"


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"metric": "wer"}', '{"error_rate": NaN}', "[" * 100_000, "\0"]
)
def test_files_that_are_no_scorecards(tmp_path: Path, content: str) -> None:
    (tmp_path / "card.json").write_text(content)
    with pytest.raises(DataError, match="is no scorecard") as caught:
        read(tmp_path / "card.json")
    assert len(str(caught.value)) < 1000
    with pytest.raises(DataError, match=r"gone\.json is no scorecard"):
        read(tmp_path / "gone.json")


def test_confusions_by_hand() -> None:
    rows = [
        Scored("a", None, "one two three", "one too three"),
        Scored("b", None, "two", "too"),
        Scored("c", None, "one", "one uh"),
        Scored("d", None, "one two", "one"),
    ]
    assert score(rows, "wer").confusions == (
        Confusion("two", "too", 2),
        Confusion("", "uh", 1),
        Confusion("two", "", 1),
    )
    assert score(rows, "wer").matrix is None


def test_the_matrix_of_labels_by_hand() -> None:
    said = [("on", "on"), ("on", "on"), ("on", "off"), ("off", "off"), ("off", "")]
    rows = [Scored(f"u{i}", None, *pair) for i, pair in enumerate(said)]
    card = score(rows, "classification_error")
    assert card.matrix == Matrix(("", "off", "on"), ((0, 0, 0), (1, 1, 0), (0, 1, 2)))
    assert card.confusions == (Confusion("off", "", 1), Confusion("on", "off", 1))


def test_worst_speakers_come_first() -> None:
    said = [("a", "x"), ("b", "yes"), ("c", "x"), ("c", "yes"), ("d", "x")]
    rows = [Scored(f"u{i}", name, "yes", heard) for i, (name, heard) in enumerate(said)]
    card = score(rows, "wer")
    assert [row.speaker for row in card.worst_speakers(3)] == ["a", "d", "c"]
    assert [row.speaker for row in card.per_speaker] == ["a", "b", "c", "d"]


def test_voices_are_not_scored_as_texts() -> None:
    with pytest.raises(DataError, match="score_trials"):
        score([], "eer")
