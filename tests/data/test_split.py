"""Held-out clips are chosen by their own names, by speaker, and never leak."""

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.digests import of_file
from aimass.base.errors import DataError
from aimass.data.corpus import Clip, Corpus
from aimass.data.split import (
    DEV_SHARE,
    MIN_SPEAKERS,
    Splits,
    hold_out,
    how_held_out,
    refuse_leaks,
    rotation,
)

from .folders import SAMPLES

JFK = SAMPLES / "jfk.wav"


def clips_of(speakers: int, each: int) -> list[Clip]:
    return [
        Clip(f"s{s}/{n}.wav", Path(f"s{s}/{n}.wav"), "a", f"speaker {s}")
        for s in range(speakers)
        for n in range(each)
    ]


def many(count: int) -> list[Clip]:
    return [Clip(f"{n}.wav", Path(f"{n}.wav"), "a") for n in range(count)]


@given(st.integers(2, 60), st.integers(1, 12))
def test_nothing_is_lost_or_in_both(speakers: int, each: int) -> None:
    clips = clips_of(speakers, each)
    kept, out = hold_out(clips)
    assert kept and out
    assert sorted(c.id for c in [*kept, *out]) == sorted(c.id for c in clips)


def test_by_speaker_where_there_are_enough() -> None:
    kept, out = hold_out(clips_of(100, 5))
    assert not {c.speaker for c in kept} & {c.speaker for c in out}
    assert 2 <= len({c.speaker for c in out}) <= 25


def voices(clips: Iterable[Clip]) -> set[str | None]:
    return {clip.speaker for clip in clips}


@given(st.integers(2, 40), st.floats(0.01, 0.99), st.text(max_size=3))
def test_known_speakers_are_never_parted(speakers: int, share: float, salt: str) -> None:
    kept, out = hold_out(clips_of(speakers, 3), share, salt)
    assert not voices(kept) & voices(out)


@given(st.integers(3, 40))
def test_three_speakers_are_enough_for_three_sets(speakers: int) -> None:
    kept, test = hold_out(clips_of(speakers, 2), salt="test")
    train, dev = hold_out(kept)
    assert train and dev and test
    assert not voices(train) & voices(dev) and not voices(kept) & voices(test)


@pytest.mark.parametrize(("speakers", "held"), [(2, 1), (5, 1), (9, 1)])
def test_of_few_speakers_the_share_is_counted(speakers: int, held: int) -> None:
    assert len(voices(hold_out(clips_of(speakers, 50))[1])) == held
    assert len(voices(hold_out(clips_of(speakers, 50), 0.5)[1])) == round(0.5 * speakers)


@given(st.integers(2, MIN_SPEAKERS - 1), st.text(max_size=3))
def test_of_few_speakers_a_new_one_moves_one_at_most(speakers: int, salt: str) -> None:
    before = voices(hold_out(clips_of(speakers, 2), salt=salt)[1])
    after = voices(hold_out(clips_of(speakers + 1, 2), salt=salt)[1])
    if speakers + 1 < MIN_SPEAKERS:
        assert after in (before, {f"speaker {speakers}"})


def test_by_clip_where_there_is_one_speaker_or_none() -> None:
    for clips in (clips_of(1, 900), many(900)):
        kept, out = hold_out(clips)
        assert 0.05 < len(out) / len(clips) < 0.16
        assert voices(kept) == voices(out)


def test_clips_without_a_speaker_are_held_out_beside_whole_speakers() -> None:
    kept, out = hold_out([*clips_of(20, 5), *many(200)])
    assert voices(kept) & voices(out) == {None}
    assert 5 < sum(clip.speaker is None for clip in out) < 40


@given(st.lists(st.sampled_from("abcdef"), min_size=12, max_size=60))
def test_every_frequent_label_is_held_out(labels: list[str]) -> None:
    clips = [Clip(f"{n}.wav", Path("a.wav"), label) for n, label in enumerate(labels)]
    kept, out = hold_out(clips)
    for label in {label for label in labels if labels.count(label) >= 4}:
        assert any(clip.text == label for clip in out)
        assert any(clip.text == label for clip in kept)


Said = list[tuple[str | None, str]]
said = st.lists(
    st.tuples(st.sampled_from([None, *(f"s{n}" for n in range(14))]), st.sampled_from("abcdefgh")),
    min_size=2,
    max_size=60,
)


def clips_that_say(rows: Said) -> list[Clip]:
    return [Clip(f"{n}.wav", Path("a.wav"), text, who) for n, (who, text) in enumerate(rows)]


def texts(clips: Iterable[Clip]) -> set[str]:
    return {clip.text for clip in clips}


def of(clips: Iterable[Clip], speaker: str | None) -> list[Clip]:
    return [clip for clip in clips if clip.speaker == speaker]


@given(said, st.floats(0.05, 0.9))
def test_labels_stay_in_training_where_whole_speakers_allow(rows: Said, share: float) -> None:
    clips = clips_that_say(rows)
    kept, out = hold_out(clips, share, labels=texts(clips))
    known = voices(clips) - {None}
    one_by_one = len(known) < 2
    assert one_by_one or not voices(kept) & voices(out) - {None}
    parts = [[c] for c in clips] if one_by_one else [of(clips, name) for name in known]
    if any(texts(c for c in clips if c not in part) == texts(clips) for part in parts):
        assert texts(kept) == texts(clips)  # as somebody can be spared


@given(said, st.floats(0.05, 0.9), st.text(max_size=3))
def test_labels_move_nobody_where_all_are_in_training_anyway(
    rows: Said, share: float, salt: str
) -> None:
    clips = clips_that_say(rows)
    plain = hold_out(clips, share, salt)
    if texts(plain[0]) == texts(clips):
        assert hold_out(clips, share, salt, labels=texts(clips)) == plain


@given(said, st.floats(0.05, 0.9), st.randoms())
def test_the_order_of_clips_decides_nothing(rows: Said, share: float, chance: Random) -> None:
    clips = clips_that_say(rows)
    out = hold_out(clips, share, labels=texts(clips))[1]
    chance.shuffle(clips)
    again = hold_out(clips, share, labels=texts(clips))[1]
    assert {c.id for c in again} == {c.id for c in out}


@given(st.integers(10, 30), st.integers(1, 5), st.text(max_size=3))
def test_who_alone_says_a_label_trains(speakers: int, rare: int, salt: str) -> None:
    clips = clips_of(speakers, 2)
    owners = {c.speaker for c in hold_out(clips, salt=salt)[1]}
    rare_of = sorted(map(str, owners))[:rare]
    more = [Clip(f"x{n}", Path("x.wav"), f"rare {n}", who) for n, who in enumerate(rare_of)]
    kept, out = hold_out([*clips, *more], salt=salt, labels=texts([*clips, *more]))
    assert texts(kept) == texts([*clips, *more]) and out
    if len(owners) > rare:  # everybody else is where they were
        assert voices(out) == owners - set(rare_of)


@given(st.integers(3, 40), st.text(max_size=3))
def test_two_speakers_are_held_out_where_one_does_not_do(speakers: int, salt: str) -> None:
    kept, out = hold_out(clips_of(speakers, 2), salt=salt, least=2)
    assert len(voices(out)) >= 2 and kept
    assert voices(out) >= voices(hold_out(clips_of(speakers, 2), salt=salt)[1])


def synthetic(count: int) -> list[Clip]:
    return [
        Clip(f"v{n}.wav", Path(f"v{n}.wav"), "a", f"voice {n % 7}", synthetic=True)
        for n in range(count)
    ]


@given(st.integers(2, 15), st.integers(0, 40), st.floats(0.05, 0.9))
def test_synthetic_speech_only_trains(speakers: int, count: int, share: float) -> None:
    clips = clips_of(speakers, 2)
    kept, out = hold_out([*synthetic(count), *clips], share)
    assert not any(clip.synthetic for clip in out)
    assert (kept[count:], out) == hold_out(clips, share)  # nor does it change who is held out


def test_synthetic_speech_alone_judges_nothing() -> None:
    with pytest.raises(DataError, match="only 0 training clips of real speech"):
        hold_out(synthetic(30))


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        (many(3), "label by label"),
        (clips_of(1, 3), "one speaker"),
        (clips_of(2, 3), "dev can only be other clips"),
        (clips_of(4, 3) + many(2), "2 clips have no speaker"),
        (clips_of(12, 1) + synthetic(3), "12 are known"),
    ],
)
def test_how_clips_are_held_out_is_told(clips: list[Clip], words: str) -> None:
    assert words in how_held_out(clips)


@given(st.lists(st.integers(1, 30), min_size=3, max_size=30), st.integers(3, 8), st.data())
def test_rotation_tests_every_speaker_once(
    sizes: list[int], folds: int, data: st.DataObject
) -> None:
    clips = [
        Clip(f"{s}-{n}", Path(f"{s}-{n}.wav"), "a", f"speaker {s}")
        for s, size in enumerate(sizes)
        for n in range(size)
    ]
    folds = min(folds, len(sizes))
    shuffled = data.draw(st.permutations(clips))
    tested: list[str | None] = []
    for fold in range(folds):
        split = rotation(clips, folds, fold)
        sets = [voices(part) for part in (split.train, split.dev, split.test)]
        assert all(sets)
        assert not (sets[0] & sets[1] or sets[1] & sets[2] or sets[0] & sets[2])
        assert len(split.train) + len(split.dev) + len(split.test) == len(clips)
        assert voices(rotation(clips, folds, (fold + 1) % folds).test) == sets[1]
        assert voices(rotation(shuffled, folds, fold).test) == sets[2]
        tested += sets[2]
    assert sorted(map(str, tested)) == sorted(map(str, voices(clips)))


def test_rotation_of_equal_speakers_is_equal() -> None:
    clips = clips_of(24, 10)
    for fold in range(6):
        split = rotation(clips, 6, fold)
        counts = [len(voices(part)) for part in (split.train, split.dev, split.test)]
        assert counts == [16, 4, 4]


def test_rotation_without_speakers_deals_every_label_out() -> None:
    clips = [Clip(f"{n}.wav", Path("a.wav"), "abc"[n % 3]) for n in range(60)]
    for fold in range(5):
        split = rotation(clips, 5, fold)
        for part in (split.dev, split.test):
            assert Counter(clip.text for clip in part) == {"a": 4, "b": 4, "c": 4}


def test_rotation_keeps_synthetic_speech_in_train() -> None:
    split = rotation([*synthetic(20), *clips_of(6, 3)], 3, 1)
    assert sum(clip.synthetic for clip in split.train) == 20
    assert not any(clip.synthetic for clip in (*split.dev, *split.test))
    assert len(split.train) == 20 + 6


@pytest.mark.parametrize(("folds", "fold"), [(2, 0), (5, 0), (4, 4), (4, -1)])
def test_a_rotation_that_is_none(folds: int, fold: int) -> None:
    with pytest.raises(DataError, match=f"fold {fold} of {folds} over 4 speakers"):
        rotation(clips_of(4, 3), folds, fold)


@given(st.permutations(range(120)), st.integers(60, 120))
def test_stable_when_clips_are_added(order: list[int], first: int) -> None:
    names = many(120)
    before = {c.id for c in hold_out([names[i] for i in order[:first]])[1]}
    after = {c.id for c in hold_out([names[i] for i in order])[1]}
    assert after & {names[i].id for i in order[:first]} == before


@pytest.mark.parametrize("labels", [(), ("a",)])
def test_stable_when_speakers_are_added(labels: tuple[str, ...]) -> None:
    few, more = clips_of(60, 3), clips_of(90, 4)
    before = {c.speaker for c in hold_out(few, labels=labels)[1]}
    after = {c.speaker for c in hold_out(more, labels=labels)[1]}
    assert after & {c.speaker for c in few} == before


def test_a_second_set_is_held_out_by_name_too() -> None:
    """Without another salt nobody is left to hold out, and every n-th clip would be taken."""
    for clips in (clips_of(100, 5), many(900)):
        kept, test = hold_out(clips, salt="test")
        again, dev = hold_out(kept)
        sets = [{c.speaker or c.id for c in part} for part in (again, dev, test)]
        assert not sets[0] & sets[1] and not sets[1] & sets[2] and not sets[0] & sets[2]
        assert hold_out(kept[1:], salt="")[1] == [c for c in dev if c != kept[0]]


@pytest.mark.parametrize("share", [0.02, DEV_SHARE, 0.5])
def test_share_is_kept_roughly(share: float) -> None:
    clips = many(5000)
    assert len(hold_out(clips, share)[1]) / len(clips) == pytest.approx(share, rel=0.2)


@given(st.integers(2, 30), st.floats(0.01, 0.99))
def test_a_handful_is_still_split(count: int, share: float) -> None:
    kept, out = hold_out(many(count), share)
    assert kept and out and len(kept) + len(out) == count


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_to_split(count: int) -> None:
    with pytest.raises(DataError, match=f"only {count} training clip") as caught:
        hold_out(many(count))
    assert "Add recordings" in caught.value.fix


def splits(train: Clip, other: Clip, where: str) -> Splits:
    free = Clip("free", Path("free.wav"), "a")
    also = Clip("also", Path("also.wav"), "a")
    test, dev = (other, free) if where == "test" else (free, other)
    return Splits((also, train), (dev,), (test,))


@pytest.mark.parametrize("where", ["dev", "test"])
def test_a_recording_in_two_sets(where: str) -> None:
    clip = Clip("a", JFK, "a")
    with pytest.raises(DataError, match=f"in both .*{where}.*common recordings"):
        refuse_leaks(splits(clip, replace(clip, id="b"), where))


@pytest.mark.parametrize("where", ["dev", "test"])
def test_a_recording_under_another_name(tmp_path: Path, where: str) -> None:
    link = tmp_path / "other.wav"
    link.symlink_to(JFK)
    with pytest.raises(DataError, match="in both"):
        refuse_leaks(splits(Clip("a", JFK, "a"), Clip("b", link, "a"), where))


@pytest.mark.parametrize(
    ("first", "second"),
    [((0.0, None), (3.0, 1.0)), ((0.0, 2.0), (1.9, 2.0)), ((5.0, 1.0), (0.0, 11.0))],
)
def test_stretches_that_overlap(
    first: tuple[float, float | None], second: tuple[float, float | None]
) -> None:
    one = Clip("a", JFK, "a", start=first[0], duration=first[1])
    two = Clip("b", JFK, "a", start=second[0], duration=second[1])
    with pytest.raises(DataError, match="in both"):
        refuse_leaks(splits(one, two, "test"))
    with pytest.raises(DataError, match="in both"):
        refuse_leaks(splits(two, one, "dev"))


def test_neighbours_in_one_recording_are_no_leak() -> None:
    one = Clip("a", JFK, "a", start=0.0, duration=2.0)
    two = Clip("b", JFK, "a", start=2.0, duration=2.0)
    refuse_leaks(splits(one, two, "test"))
    refuse_leaks(Splits((one, replace(one, start=0.5)), (), ()))  # within one set


def test_a_copy_is_found_by_its_content(tmp_path: Path) -> None:
    copy = Path(shutil.copy(JFK, tmp_path / "copy.wav"))
    os.utime(copy, (1, 1))
    given_sets = splits(Clip("a", JFK, "a"), Clip("b", copy, "a"), "test")
    refuse_leaks(given_sets)

    def content(path: Path) -> str:
        return of_file(path) if path.is_file() else path.name

    with pytest.raises(DataError, match=r"in both .* as "):
        refuse_leaks(given_sets, content)


def test_what_a_corpus_with_splits_leaves_open_trains(tmp_path: Path) -> None:
    clips = [
        Clip(name, tmp_path / name, "one", split=split)
        for name, split in (("a", "test"), ("b", None), ("c", "train"))
    ]
    corpus = Corpus(tuple(clips), "", tmp_path)
    assert [clip.id for clip in corpus.split("train").clips] == ["b", "c"]
    assert [clip.id for clip in corpus.split("test").clips] == ["a"]
