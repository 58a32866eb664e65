"""Labels that were spoilt on purpose are found, and those that are right are left alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.randomness import generator
from aimass.data.checks import Code
from aimass.data.corpus import Clip, read
from aimass.lifecycle.suspects import (
    SuspectSpec,
    closed,
    confident,
    cross_validated,
    disagreements,
)
from aimass.runtime.load import load
from data.folders import DIGITS

WORDS = ("zero", "one", "three", "six")
SPEC = SuspectSpec(sample_rate=8000, folds=3, epochs=1, steps=60, channels=24, batch_size=32)


def spoilt(words: tuple[str, ...], count: int) -> tuple[list[Clip], dict[str, str]]:
    """Clips of a few digits, some under another's name; and which, with what they say."""
    clips = [clip for clip in read(DIGITS).clips if clip.text in words]
    chosen = generator(0, "spoilt").choice(len(clips), count, replace=False).tolist()
    truth = {clips[index].id: clips[index].text for index in chosen}
    for index in chosen:
        other = words[(words.index(clips[index].text) + 1) % len(words)]
        clips[index] = replace(clips[index], text=other)
    return clips, truth


@pytest.fixture(scope="module")
def found() -> tuple[set[str], set[str]]:
    clips, truth = spoilt(WORDS, 6)
    findings = cross_validated(clips, SPEC)
    assert all(one.code is Code.LABEL_SUSPECT for one in findings)
    for one in findings:
        if one.clip in truth:
            assert one.detail.endswith(f"sounds like '{truth[one.clip]}'")
    return {one.clip for one in findings}, set(truth)


def test_most_spoilt_labels_are_found(found: tuple[set[str], set[str]]) -> None:
    assert len(found[0] & found[1]) >= 4


def test_few_right_labels_are_found(found: tuple[set[str], set[str]]) -> None:
    assert len(found[0] - found[1]) <= 4


def test_the_same_clips_give_the_same_findings() -> None:
    clips = spoilt(("zero", "one"), 2)[0]
    spec = replace(SPEC, steps=10)
    assert cross_validated(clips, spec) == cross_validated(clips, spec)


def test_open_texts_are_not_cross_validated() -> None:
    clips = [replace(clip, text=clip.id) for clip in read(DIGITS).clips[:40]]
    assert closed(clips) == [] == cross_validated(clips)


def test_rare_labels_are_not_judged() -> None:
    clips = spoilt(("zero", "one"), 0)[0]
    clips[0] = replace(clips[0], text="nought")
    assert clips[0] not in closed(clips) and len(closed(clips)) == len(clips) - 1


@given(st.integers(2, 5), st.integers(4, 40), st.integers(0, 1000))
def test_the_confident_joint(classes: int, rows: int, seed: int) -> None:
    rng = generator(seed, "rows")
    believed = rng.dirichlet(np.ones(classes), rows).astype(np.float32)
    given_labels = rng.integers(0, classes, rows)
    for row, heard, margin in confident(believed, given_labels):
        own = believed[given_labels == heard, heard]
        assert heard != given_labels[row]
        assert believed[row, heard] >= own.mean()
        assert margin == believed[row, heard] - believed[row, given_labels[row]]


def test_what_is_believed_as_it_is_given_is_no_suspect() -> None:
    labels = np.arange(12) % 3
    assert confident(np.eye(3, dtype=np.float32)[labels], labels) == []


def test_an_engine_disagrees_with_spoilt_labels_alone() -> None:
    clips, truth = spoilt(WORDS, 6)
    clips = [clip for clip in clips if clip.split == "test" or clip.id in truth]
    engine = load("digits")
    found = disagreements(clips, engine)
    assert len({one.clip for one in found} & truth.keys()) >= 5
    assert {one.clip for one in found} <= truth.keys()
    assert all("digits hears" in one.detail for one in found)


def test_an_engine_hears_the_stretch_of_a_clip() -> None:
    clip = read(DIGITS).clips[0]
    outside = replace(clip, start=0.0, duration=0.02, text="nine")
    assert disagreements([outside], load("digits")) == []
