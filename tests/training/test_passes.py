"""Augmented passes: replayed from their records, the same whoever makes them, each made once."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.augment import policy as policies
from aimass.augment.join import floor
from aimass.augment.level import Gain
from aimass.augment.noise import Noise
from aimass.augment.policy import Policy
from aimass.augment.sounds import Sounds, shelf
from aimass.base.contract import Samples
from aimass.base.errors import DataError
from aimass.features.spec import FeatureSpec
from aimass.features.stream import extract
from aimass.training.passes import (
    ENDS,
    FRAMES,
    RECORDS,
    AugmentSpec,
    Example,
    Pass,
    Passes,
    Utterance,
)

from . import tiny

PLAIN = AugmentSpec(Policy("clean"), most_joined=1, pause=(0.1, 0.1), ramp_epochs=1)
STRONG = AugmentSpec(policies.named("strong"), most_joined=3, ramp_epochs=2, passes=2)


def unheard() -> Samples:
    raise AssertionError("no sound is needed for this")


def silent(count: int, speakers: int) -> list[Example]:
    return [Example(f"e{n}", (n,), f"s{n % speakers}", unheard) for n in range(count)]


def planned(count: int, speakers: int, most: int, seed: int = 0) -> Passes:
    augment = AugmentSpec(tiny.POLICY, most_joined=most, ramp_epochs=3)
    return Passes(silent(count, speakers), tiny.FEATURES, augment, Path("none"), seed=seed)


def folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def content(root: Path) -> dict[str, bytes]:
    """Every file of every pass."""
    found = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in root.glob("*/*")}
    assert {name.split("/")[1] for name in found} == {FRAMES, ENDS, RECORDS}
    return found


def records(folder: Path) -> list[Utterance]:
    lines = (folder / RECORDS).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [Utterance(**row | {"examples": tuple(row["examples"])}) for row in rows]


def same(one: Pass, other: Pass) -> bool:
    return one.groups == other.groups and np.array_equal(one.frames, other.frames)


@given(
    count=st.integers(1, 200),
    speakers=st.integers(1, 9),
    most=st.integers(1, 6),
    number=st.integers(0, 8),
    seed=st.integers(0, 99),
)
def test_a_pass_uses_every_example_once(
    count: int, speakers: int, most: int, number: int, seed: int
) -> None:
    groups = planned(count, speakers, most, seed).groups(number)
    assert sorted(index for group in groups for index in group) == list(range(count))
    assert all(1 <= len(group) <= most for group in groups)
    assert all(len({index % speakers for index in group}) == 1 for group in groups)


def test_joining_grows_with_the_ramp() -> None:
    made = planned(300, 2, 4)
    longest = [max(map(len, made.groups(number))) for number in range(5)]
    assert longest == [1, 2, 3, 4, 4]
    assert made.groups(3) != made.groups(4)
    assert made.groups(3) != planned(300, 2, 4, seed=1).groups(3)


@given(st.integers(0, 40), st.integers(0, 8), st.integers(1, 5))
def test_epochs_return_to_few_passes(epoch: int, ramp: int, passes: int) -> None:
    spec = replace(tiny.AUGMENT, ramp_epochs=ramp, passes=passes)
    numbers = [spec.pass_of(e) for e in range(epoch + 1)]
    assert len(set(numbers)) == min(epoch + 1, ramp + passes)
    assert numbers[:ramp] == list(range(min(ramp, epoch + 1)))  # the plainer ones are heard once
    strengths = [spec.strength(number) for number in numbers]
    assert strengths[:ramp] == sorted(strengths[:ramp])
    assert strengths[0] == 0 or ramp == 0
    assert all(s == 1 for s in strengths[max(1, ramp) :])


@pytest.mark.parametrize(
    "features",
    [
        tiny.FEATURES,
        FeatureSpec(sample_rate=8000, bins=13, kind="mfcc"),
        FeatureSpec(sample_rate=8000, bins=40, compression="pcen"),
        FeatureSpec(sample_rate=8000, kind="waveform"),
    ],
    ids=["fbank", "mfcc", "pcen", "waveform"],
)
def test_an_utterance_is_heard_again_from_its_record(features: FeatureSpec, tmp_path: Path) -> None:
    made = Passes(tiny.examples(), features, STRONG, tmp_path, tail=0.4, seed=3)
    found = made.get(3)
    kept = records(folders(tmp_path)[0])
    assert [row.examples for row in kept] == [
        tuple(tiny.examples()[index].name for index in group) for group in found.groups
    ]
    assert sum(len(row.record) for row in kept) > len(kept)  # much was done to them
    for number, row in reversed(list(enumerate(kept))):
        frames = extract(made.waveforms([row])[0], features)
        stored = found.utterance(number)
        assert stored.shape == frames.shape == (found.lengths[number], features.columns)
        assert np.allclose(stored, frames, rtol=2**-10, atol=2e-2)


def test_the_first_pass_is_the_recordings(tmp_path: Path) -> None:
    """Between pauses as quiet as their own background, and before the silent tail."""
    made = Passes(tiny.examples(), tiny.FEATURES, PLAIN, tmp_path, tail=0.25)
    for row in records_of(made, 0, tmp_path):
        (name,) = row.examples
        clip = tiny.samples(name)
        (sound,) = made.waveforms([row])
        assert row.record == []
        assert len(sound) == 800 + len(clip) + 800 + 2000
        assert np.array_equal(sound[900 : 700 + len(clip)], clip[100:-100])
        level = floor(clip, tiny.FEATURES.sample_rate)
        assert level / 2 < np.sqrt(np.mean(np.square(sound[:700]))) < level * 2
        assert not sound[-2000:].any()


def records_of(made: Passes, number: int, folder: Path) -> list[Utterance]:
    made.get(number)
    return records(folders(folder)[0])


def test_another_order_gives_the_same_bytes(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        tiny.passes(tmp_path / "up").get(number)
    for number in (3, 1, 0):
        tiny.passes(tmp_path / "down").get(number)
    assert content(tmp_path / "up") == content(tmp_path / "down")
    assert len(folders(tmp_path / "up")) == 3


def test_a_deleted_pass_is_made_again(tmp_path: Path) -> None:
    first = tiny.passes(tmp_path).get(2)
    before = content(tmp_path)
    shutil.rmtree(folders(tmp_path)[0])
    assert same(tiny.passes(tmp_path).get(2), first)  # which is still held open
    assert content(tmp_path) == before


def test_a_pass_that_stands_is_not_made_again(tmp_path: Path) -> None:
    found = tiny.passes(tmp_path).get(2)
    unheard_of = [replace(example, load=unheard) for example in tiny.examples()]
    again = Passes(unheard_of, tiny.FEATURES, tiny.AUGMENT, tmp_path, tail=0.4, seed=5)
    assert same(again.get(2), found)


def test_a_pass_that_failed_half_way_leaves_nothing(tmp_path: Path) -> None:
    broken = replace(tiny.examples()[-1], load=unheard)
    examples = (*tiny.examples()[:-1], broken)
    with pytest.raises(AssertionError, match="no sound"):
        Passes(examples, tiny.FEATURES, tiny.AUGMENT, tmp_path).get(1)
    assert folders(tmp_path) == []


def test_what_decides_a_pass_names_it(tmp_path: Path) -> None:
    noisy = shelf({"hum": tiny.samples(tiny.examples()[0].name)})
    variants = [
        tiny.passes(tmp_path),
        tiny.passes(tmp_path, seed=6),
        tiny.passes(tmp_path, replace(tiny.AUGMENT, pause=(0.1, 0.2))),
        tiny.passes(tmp_path, replace(tiny.AUGMENT, policy=policies.named("light"))),
        Passes(tiny.examples(), tiny.FEATURES, tiny.AUGMENT, tmp_path, tail=0.3, seed=5),
        Passes(tiny.examples()[1:], tiny.FEATURES, tiny.AUGMENT, tmp_path, tail=0.4, seed=5),
        Passes(
            tiny.examples(),
            tiny.FEATURES,
            tiny.AUGMENT,
            tmp_path,
            sounds=Sounds(noises=noisy),
            tail=0.4,
            seed=5,
        ),
        Passes(
            tiny.examples(),
            replace(tiny.FEATURES, bins=30),
            tiny.AUGMENT,
            tmp_path,
            tail=0.4,
            seed=5,
        ),
    ]
    for number, made in enumerate(variants, start=1):
        made.get(2)
        assert len(folders(tmp_path)) == number
    frames = Counter(path.joinpath(FRAMES).read_bytes() for path in folders(tmp_path))
    assert set(frames.values()) == {1}


def test_passes_differ(tmp_path: Path) -> None:
    made = tiny.passes(tmp_path)
    assert not same(made.get(2), made.get(3))


def test_strength_grows_with_the_ramp(tmp_path: Path) -> None:
    augment = replace(PLAIN, policy=Policy("loud", (Gain(), Noise())), ramp_epochs=4)
    made = Passes(tiny.examples(), tiny.FEATURES, augment, tmp_path)
    counts = []
    for number in (0, 2, 4):
        drawn = [made.utterance(number, group) for group in made.groups(number)]
        counts.append(sum(len(row.record) for row in drawn))
    assert counts[0] == 0 < counts[1] < counts[2] == 2 * len(tiny.examples())


def test_an_utterance_does_not_depend_on_the_others() -> None:
    one = Passes(tiny.examples(), tiny.FEATURES, STRONG, Path("none"), seed=3)
    other = Passes(tiny.examples()[:5], tiny.FEATURES, STRONG, Path("none"), seed=3)
    assert one.utterance(4, [1, 3]) == other.utterance(4, [1, 3])
    assert one.utterance(4, [1, 3]) != one.utterance(5, [1, 3])
    drawn = [one.utterance(4, [index]) for index in range(5)]
    together = one.waveforms(drawn)
    for row, sound in zip(drawn, together, strict=True):
        assert np.allclose(other.waveforms([row])[0], sound, atol=1e-5)


def test_a_record_of_another_set(tmp_path: Path) -> None:
    made = tiny.passes(tmp_path)
    row = made.utterance(2, [0])
    with pytest.raises(KeyError, match="elsewhere"):
        made.waveforms([replace(row, examples=("elsewhere",))])
    with pytest.raises(DataError, match="2 pauses for 2 utterances"):
        made.waveforms([replace(row, examples=row.examples * 2)])


def test_several_processes_make_one(tmp_path: Path) -> None:
    both, alone = tmp_path / "both", tmp_path / "alone"
    orders = [(0, 2, 3), (0, 2, 3), (3, 2, 0)]
    children = [tiny.child(tiny.make_passes, both, order) for order in orders]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    tiny.make_passes(alone, (0, 2, 3))
    assert content(both) == content(alone)
