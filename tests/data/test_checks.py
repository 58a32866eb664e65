"""Every planted fault is found with its own code, and nothing else is."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import DataError
from aimass.data.checks import (
    MEANINGS,
    STOPS,
    Code,
    Finding,
    Thresholds,
    apply_policy,
    check,
    counts,
    unwritable,
)
from aimass.data.corpus import Clip, Corpus, read
from aimass.data.measure import Measurement, measure
from aimass.data.scripts import expected_scripts, foreign_scripts, spoken_length, unspeakable
from aimass.text.normalise import normalise
from aimass.text.tokens import LabelSet, TokenSet

from .faults import clean, planted
from .folders import DIGITS, SAMPLES


def findings_of(folder: Path) -> tuple[Corpus, list[Finding]]:
    corpus = read(folder)
    return corpus, check(corpus, measure(corpus.clips).of)


def test_every_planted_fault_is_found_with_its_code(tmp_path: Path) -> None:
    faults = planted(tmp_path)
    findings = findings_of(tmp_path)[1]
    assert {(one.clip, one.code) for one in findings} == set(faults.items())
    assert set(faults.values()) == set(Code) - {Code.LABEL_SUSPECT, Code.LABEL_NOT_IN_TRAIN}
    assert all(one.detail for one in findings)


def test_a_clean_set_has_no_finding(tmp_path: Path) -> None:
    clean(tmp_path)
    assert findings_of(tmp_path)[1] == []


def test_the_sample_digits_stop_nothing() -> None:
    findings = findings_of(DIGITS)[1]
    assert set(counts(findings)) == {Code.SPEAKER_IN_TWO_SPLITS}  # its official split does so
    assert counts(findings)[Code.SPEAKER_IN_TWO_SPLITS] == 240


def test_every_code_is_explained_and_in_order() -> None:
    assert list(MEANINGS) == list(Code)
    findings = [Finding(code, "a", "") for code in reversed(Code)]
    assert list(counts(findings)) == list(Code)
    assert counts([Finding(Code.SILENT, "a", "1"), Finding(Code.SILENT, "a", "2")]) == {
        Code.SILENT: 1
    }


def test_a_policy_leaves_out_what_it_names_and_says_so(tmp_path: Path) -> None:
    faults = planted(tmp_path)
    corpus, findings = findings_of(tmp_path)
    exclude = {*STOPS, Code.DUPLICATE_OTHER_SPLIT, Code.SPEAKER_IN_TWO_SPLITS}
    kept, gone = apply_policy(corpus, findings, exclude)
    left_out = {clip for clip, code in faults.items() if code in exclude}
    assert {one.clip for one in gone} == left_out
    assert {c.id for c in corpus.clips} - {c.id for c in kept.clips} == left_out & {
        c.id for c in corpus.clips
    }
    assert kept.missing == () and kept.licence == corpus.licence
    assert not {c.speaker for c in kept.split("test").clips} & {
        c.speaker for c in kept.split("train").clips
    }
    again, nothing = apply_policy(kept, check(kept, measure(kept.clips).of), exclude)
    assert (again, nothing) == (kept, ())


def test_what_stops_and_is_not_excluded_is_named(tmp_path: Path) -> None:
    planted(tmp_path)
    corpus, findings = findings_of(tmp_path)
    with pytest.raises(DataError) as caught:
        apply_policy(corpus, findings, [Code.SILENT, Code.CLIPPED])
    said = str(caught.value)
    assert "missing: 1" in said and "unreadable: 1" in said and "silent:" not in said
    codes = caught.value.fix.partition("exclude: [")[2].rstrip("]").split(", ")
    assert set(codes) == {*STOPS, Code.CLIPPED}
    apply_policy(corpus, findings, [Code(code) for code in codes])


def test_warnings_leave_everything_in(tmp_path: Path) -> None:
    clean(tmp_path)
    corpus = read(tmp_path)
    findings = [Finding(Code.CLIPPED, corpus.clips[0].id, "loud")]
    assert apply_policy(corpus, findings) == (corpus, ())


def test_a_policy_that_leaves_nothing(tmp_path: Path) -> None:
    corpus = Corpus((Clip("a", tmp_path, "a"),), "", tmp_path)
    with pytest.raises(DataError, match=r"nothing is left of .* without clipped"):
        apply_policy(corpus, [Finding(Code.CLIPPED, "a", "")], [Code.CLIPPED])


GOOD = Measurement(
    "f", seconds=1.0, rate=16000, channels=1, peak_db=-3, loud_db=-10, level_db=-20, active=0.5
)


def checked(clips: list[Clip], **sounds: Measurement) -> list[Finding]:
    corpus = Corpus(tuple(clips), "", Path())
    measured = {c.id: sounds.get(c.id, replace(GOOD, sound=c.id)) for c in clips}
    return check(corpus, measured)


def say(id: str, text: str, language: str | None = "en", **more: str) -> Clip:
    return replace(Clip(id, Path(id), text, language=language), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("splits", "kept"),
    [
        (["train", "test", "dev"], 1),
        (["train", "train"], 0),
        (["dev", "train"], 0),
        ([None, None], 0),
    ],
)
def test_of_copies_the_one_that_judges_is_kept(splits: list[str | None], kept: int) -> None:
    clips = [replace(say(f"c{n}", "yes"), split=split) for n, split in enumerate(splits)]
    same = {clip.id: replace(GOOD, sound="same") for clip in clips}
    found = {one.clip: one.code for one in checked(clips, **same)}
    assert found.keys() == {clip.id for clip in clips} - {f"c{kept}"}
    leak = len(set(splits)) > 1
    code = Code.DUPLICATE_OTHER_SPLIT if leak else Code.DUPLICATE_AUDIO
    assert set(found.values()) == {code}


def test_an_unreadable_rate_is_told_from_a_rare_one() -> None:
    bad = Measurement("f", fault="unsupported_rate", detail="found a sample rate of 4000 Hz")
    clips = [say("a", "yes"), say("b", "no"), say("c", "yes"), say("d", "no")]
    findings = checked(clips, a=bad, b=replace(GOOD, sound="b", rate=8000))
    found = {one.clip: one.code for one in findings}
    assert found == {"a": Code.UNREADABLE_RATE, "b": Code.WRONG_RATE}
    corpus = Corpus(tuple(clips), "", Path())
    kept, _ = apply_policy(corpus, findings, [Code.UNREADABLE_RATE])
    assert [clip.id for clip in kept.clips] == ["b", "c", "d"]


@pytest.mark.parametrize("fault", ["missing", "silent", "unsupported_rate", "corrupt_audio", "x"])
def test_whatever_the_decoder_refuses_stops(fault: str) -> None:
    findings = checked([say("a", "yes")], a=Measurement("f", fault=fault, detail="refused"))
    assert {one.code for one in findings} <= STOPS and findings


def test_texts_outside_the_token_set() -> None:
    tokens = TokenSet.from_texts(["yes no"])
    clips = [say("a", "Yes, no!"), say("b", "yes you")]
    (found,) = unwritable(clips, tokens, lambda clip: normalise(clip.text))
    assert (found.code, found.clip) == (Code.UNTOKENISABLE, "b")
    assert "'u'" in found.detail


def test_labels_outside_the_label_set() -> None:
    labels = LabelSet.from_texts(["yes", "no"])
    (found,) = unwritable([say("a", "no"), say("b", "No")], labels, lambda clip: clip.text)
    assert (found.code, found.clip) == (Code.LABEL_NOT_IN_TRAIN, "b")
    assert "'No'" in found.detail


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("Ça va très bien", "fr", set()),
        ("оne", "en", {"CYRILLIC"}),
        ("打开 wifi", "zh", set()),
        ("da kai", "zh", {"LATIN"}),
        ("打开", "en", {"CJK"}),
        ("カーテンを開けて", "ja", set()),
        ("안녕 하세요", "ko", set()),
        ("नमस्ते", "hi", set()),
        ("می‌خواهم", "fa", set()),
        ("42, 17!", "zh", set()),
    ],
)
def test_scripts_of_languages(text: str, language: str, found: set[str]) -> None:
    assert foreign_scripts(text, expected_scripts(language, [text])) == found
    assert unspeakable(text) == []


def test_of_an_unknown_language_the_usual_scripts_are_expected() -> None:
    texts = [f"kalimera {n}" for n in range(99)] + ["καλημέρα"]
    clips = [say(str(n), text, None) for n, text in enumerate(texts)]
    found = [one for one in checked(clips) if one.code is Code.UNEXPECTED_SCRIPT]
    assert [one.clip for one in found] == ["99"]


@pytest.mark.parametrize("char", ["\x00", "\ufffd", "\U0001f600", "\ue000", "\ud800"])
def test_what_nobody_can_say(char: str) -> None:
    assert unspeakable(f"yes {char}") == [char]


@given(st.text(), st.text())
def test_there_is_no_less_to_say_in_more_text(first: str, second: str) -> None:
    whole = spoken_length(first + second)
    assert whole == pytest.approx(spoken_length(first) + spoken_length(second))


@given(st.floats(0.1, 60), st.integers(1, 400))
def test_a_text_is_too_long_or_too_short_for_its_sound_or_neither(
    seconds: float, letters: int
) -> None:
    sound = replace(GOOD, seconds=seconds, active=seconds)
    found = {one.code for one in checked([say("a", "a" * letters)], a=sound)}
    assert not {Code.TOO_LONG_FOR_TEXT, Code.TOO_SHORT_FOR_TEXT} <= found
    limits = Thresholds()
    if limits.seconds_per_letter * letters >= seconds >= letters / limits.letters_per_second:
        assert not found & {Code.TOO_LONG_FOR_TEXT, Code.TOO_SHORT_FOR_TEXT}


def test_read_speech_is_not_found() -> None:
    clip = say("a", "and so my fellow americans ask not what your country can do for you")
    clip = replace(clip, path=SAMPLES / "jfk.wav")
    assert check(Corpus((clip,), "", SAMPLES), measure([clip]).of) == []
