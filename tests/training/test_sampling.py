"""Samplers: what an epoch hears of its pass, and that by default it is everything, as ever."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import TrainingError
from aimass.base.randomness import generator
from aimass.training.examples import POOL, TrainingSet
from aimass.training.passes import Example
from aimass.training.sampling import EVERYTHING, Bag, By, Sampler, drawn

from . import tiny


def examples(rows: Sequence[tuple[str, int]]) -> list[Example]:
    """Examples of these speakers and labels; nobody listens to them."""
    silent = np.zeros(0, np.float32)
    return [
        Example(f"clip {number}", (label,), speaker, lambda: silent)
        for number, (speaker, label) in enumerate(rows)
    ]


Rows = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3)), min_size=1, max_size=40)
Shares = st.floats(0.01, 1)
Bags = st.builds(
    Bag, Shares, st.sampled_from(["utterance", "speaker"]), st.booleans(), st.integers(0, 9)
)


@given(Rows, Bags)
def test_a_bag_is_a_function_of_names(rows: list[tuple[str, int]], bag: Bag) -> None:
    made = examples(rows)
    chosen = bag.chosen(made)
    assert chosen == sorted(bag.chosen(made)) and chosen
    names = Counter(made[index].name for index in chosen)
    backwards = made[::-1]
    assert Counter(backwards[index].name for index in bag.chosen(backwards)) == names
    if not bag.replace:
        assert max(names.values()) == 1


@given(Rows, Shares, st.booleans(), st.integers(0, 9))
def test_a_bag_by_speaker_takes_whole_speakers(
    rows: list[tuple[str, int]], share: float, replace: bool, seed: int
) -> None:
    made = examples(rows)
    heard = Counter(Bag(share, "speaker", replace, seed).chosen(made))
    times = {e.speaker: heard[index] for index, e in enumerate(made)}
    assert all(heard[index] == times[e.speaker] for index, e in enumerate(made))
    assert sum(times.values()) == max(1, round(share * len(times)))


@given(st.integers(1, 60), Shares, st.booleans())
def test_a_bag_by_utterance_has_its_share(count: int, share: float, replace: bool) -> None:
    made = examples([("a", 0)] * count)
    assert len(Bag(share, "utterance", replace).chosen(made)) == max(1, round(share * count))


def test_bags_of_other_seeds_differ_and_the_bootstrap_leaves_out_a_third() -> None:
    made = examples([("a", 0)] * 400)
    one, other = (Bag(1, "utterance", replace=True, seed=seed).chosen(made) for seed in (1, 2))
    assert one != other
    assert len(set(one)) / len(made) == pytest.approx(1 - math.exp(-1), abs=0.05)


@pytest.mark.parametrize(("share", "by"), [(0, "speaker"), (1.1, "speaker"), (math.nan, "speaker"),
                                           (0.5, "language")])  # fmt: skip
def test_no_bag(share: float, by: By) -> None:
    with pytest.raises(TrainingError, match="a bag"):
        Bag(share, by)


@pytest.mark.parametrize("temperature", [0, -1, math.inf, math.nan])
def test_no_temperature(temperature: float) -> None:
    with pytest.raises(TrainingError, match="a sampler with a temperature"):
        Sampler(temperature=temperature)


def test_speakers_that_nobody_knows() -> None:
    (example,) = examples([("a", 0)])
    unknown = Example("clip", (0,), None, example.load)
    with pytest.raises(TrainingError, match="no speaker of 'clip'"):
        Sampler(Bag(0.5, "speaker")).weights([example, unknown])


def test_specs_are_plain_values() -> None:
    bag = {"share": 0.5, "by": "speaker", "replace": True, "seed": 3}
    assert Bag(0.5, "speaker", replace=True, seed=3).to_dict() == bag
    assert Sampler(Bag(**bag), 2.0).to_dict() == {  # type: ignore[arg-type]
        "bag": bag,
        "temperature": 2.0,
        "balance": "label",
    }
    assert EVERYTHING.to_dict() == {"bag": None, "temperature": 1.0, "balance": "label"}


Samplers = st.builds(Sampler, st.none() | Bags, st.floats(0.2, 50))


@given(Rows, Samplers, st.integers(0, 99))
def test_an_epoch_has_the_length_of_its_pass(
    rows: list[tuple[str, int]], sampler: Sampler, seed: int
) -> None:
    made = examples(rows)
    weights = sampler.weights(made)
    groups = [(index,) for index in range(len(made))]
    order = drawn(generator(seed), groups, weights)
    assert len(order) == len(groups)
    assert order.tolist() == drawn(generator(seed), groups, weights).tolist()
    wanted = np.ones(len(made)) if weights is None else weights
    wanted = wanted * len(made) / wanted.sum()
    times = np.bincount(order, minlength=len(made))
    assert (np.abs(times - wanted) < 1 + 1e-6).all()  # rounded down or up
    assert not times[wanted == 0].any()


def test_a_bootstrap_hears_each_as_often_as_it_is_drawn() -> None:
    made = examples([("a", 0)] * 50)
    bag = Bag(1, "utterance", replace=True)
    order = drawn(generator(0), [(k,) for k in range(50)], Sampler(bag).weights(made))
    assert sorted(order.tolist()) == bag.chosen(made)


COUNTS = (256, 16, 1)


@pytest.mark.parametrize(
    ("temperature", "wanted"), [(1.0001, COUNTS), (2, (16, 4, 1)), (1000, (1, 1, 1))]
)
@pytest.mark.parametrize("balance", ["label", "language"])
def test_rare_kinds_are_heard_more_often(
    temperature: float, wanted: tuple[int, ...], balance: str
) -> None:
    kinds = [kind for kind, count in enumerate(COUNTS) for _ in range(count)]
    plain = examples([("a", kind if balance == "label" else 0) for kind in kinds])
    made = [
        Example(e.name, e.targets, e.speaker, e.load, language=f"language {kind}")
        for e, kind in zip(plain, kinds, strict=True)
    ]
    sampler = Sampler(temperature=temperature, balance=balance)  # type: ignore[arg-type]
    weights = sampler.weights(made)
    assert weights is not None
    heard = np.bincount(kinds, weights)
    assert heard / heard.sum() == pytest.approx(np.array(wanted) / sum(wanted), rel=0.01)


def test_rarity_is_counted_in_the_bag() -> None:
    made = examples([("a", 0)] * 8 + [("b", 0)] * 8 + [("b", 1)] * 2)
    bag = next(
        bag for seed in range(9) if 17 in (bag := Bag(0.5, "speaker", seed=seed)).chosen(made)
    )
    weights = Sampler(bag, temperature=1e6).weights(made)
    assert weights is not None
    heard = np.bincount([e.targets[0] for e in made], weights)
    assert heard[0] == pytest.approx(heard[1], rel=1e-4)
    assert not weights[:8].any()


def test_joined_utterances_stay_in_the_bag() -> None:
    weights = np.array([1.0, 0.0, 3.0, 1.0])
    order = drawn(generator(0), [(0, 1), (2,), (0, 3), (2, 3)], weights)
    assert Counter(order.tolist()) in ({1: 2, 2: 1, 3: 1}, {1: 2, 3: 2})
    with pytest.raises(TrainingError, match="none of 2 joined utterances"):
        drawn(generator(0), [(0, 1), (1, 2)], weights)


def as_ever(data: TrainingSet, epoch: int, seed: int) -> list[list[int]]:
    """The plan of an epoch, written out as it was before there were samplers."""
    rng, size = generator(seed, "plan", epoch), data.batch_size
    lengths = data.passes.get(data.passes.augment.pass_of(epoch)).lengths
    order = rng.permutation(len(lengths))
    batches: list[list[int]] = []
    for first in range(0, len(order), POOL * size):
        near = order[first : first + POOL * size]
        near = near[np.argsort(lengths[near], kind="stable")]
        batches += [near[k : k + size].tolist() for k in range(0, len(near), size)]
    rng.shuffle(batches)
    return batches


def test_the_default_plan_is_the_one_that_it_always_was(tmp_path: Path) -> None:
    data = tiny.data(tmp_path, batch_size=2)
    assert [data.plan(epoch) for epoch in range(5)] == [as_ever(data, k, 5) for k in range(5)]


def test_members_with_bags_share_their_passes(tmp_path: Path) -> None:
    made = tiny.passes(tmp_path)
    speakers = {example.name: example.speaker for example in made.examples}
    for seed, wanted in ((0, "theo"), (1, "jackson")):
        sampler = Sampler(Bag(0.5, "speaker", seed=seed))
        data = TrainingSet(made, batch_size=4, stack=4, seed=5, sampler=sampler)
        for epoch in range(4):
            plan = data.plan(epoch)
            assert sum(map(len, plan)) == len(made.groups(made.augment.pass_of(epoch)))
            names = {n for b in plan for joined in data.batch(epoch, b).names for n in joined}
            assert {speakers[name] for name in names} == {wanted}
        assert data.steps(4) == sum(len(data.plan(epoch)) for epoch in range(4))
    assert len(list(tmp_path.glob("pass-*/frames.f16"))) == 4  # of four epochs, not of two members
