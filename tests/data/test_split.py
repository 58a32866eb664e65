"""Held-out clips are chosen by their own names, by speaker, and never leak."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.digests import of_file
from aimass.base.errors import DataError
from aimass.data.corpus import Clip
from aimass.data.split import DEV_SHARE, MIN_SPEAKERS, Splits, hold_out, refuse_leaks

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


def test_by_clip_where_speakers_are_few_or_unknown() -> None:
    for clips in (clips_of(MIN_SPEAKERS - 1, 100), many(900)):
        kept, out = hold_out(clips)
        assert 0.05 < len(out) / len(clips) < 0.16
        assert {c.speaker for c in kept} == {c.speaker for c in out}


@given(st.permutations(range(120)), st.integers(60, 120))
def test_stable_when_clips_are_added(order: list[int], first: int) -> None:
    names = many(120)
    before = {c.id for c in hold_out([names[i] for i in order[:first]])[1]}
    after = {c.id for c in hold_out([names[i] for i in order])[1]}
    assert after & {names[i].id for i in order[:first]} == before


def test_stable_when_speakers_are_added() -> None:
    few, more = clips_of(60, 3), clips_of(90, 4)
    before = {c.speaker for c in hold_out(few)[1]}
    after = {c.speaker for c in hold_out(more)[1]}
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
