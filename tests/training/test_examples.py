"""Batches: an epoch uses its whole pass once, each batch is a function of its names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.features.spec import Frames
from aimass.training.examples import Batch, TrainingSet, collate
from aimass.training.passes import Pass, Passes

from . import tiny

FULL = 5  # an epoch behind the ramp


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the passes of all tests stand."""
    return tmp_path_factory.mktemp("kept")


def same(one: Batch, other: Batch) -> bool:
    arrays = ("features", "lengths", "targets", "target_lengths")
    equal = [np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays]
    return all(equal) and one.names == other.names


def of_lengths(lengths: Sequence[int], batch_size: int, seed: int = 0) -> TrainingSet:
    """A set over a pass of so many frames each, which is all that a plan looks at."""

    groups: list[tuple[int, ...]] = [(index,) for index in range(len(lengths))]
    frames = np.zeros((sum(lengths), 1), np.float16)

    class Planned(Passes):
        def get(self, number: int) -> Pass:
            return Pass(frames, np.cumsum(lengths), groups)

        def groups(self, number: int) -> list[tuple[int, ...]]:
            return groups

    passes = Planned([], tiny.FEATURES, tiny.AUGMENT, Path("none"))
    return TrainingSet(passes, batch_size=batch_size, stack=4, seed=seed)


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=300),
    batch_size=st.integers(1, 40),
    epoch=st.integers(0, 8),
    seed=st.integers(0, 99),
)
def test_an_epoch_uses_every_utterance_once(
    lengths: list[int], batch_size: int, epoch: int, seed: int
) -> None:
    data = of_lengths(lengths, batch_size, seed)
    plan = data.plan(epoch)
    assert sorted(n for batch in plan for n in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= batch_size for batch in plan)
    assert data.steps(3) == 3 * len(plan)


def test_batches_are_of_about_one_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 900, 512).tolist()
    plan = of_lengths(lengths, 8).plan(0)
    spread = [max(lengths[n] for n in b) - min(lengths[n] for n in b) for b in plan]
    assert np.mean(spread) < 200  # of 700 that a shuffled batch would have
    firsts = [lengths[batch[0]] for batch in plan]
    assert firsts != sorted(firsts)


def test_plans_depend_on_seed_and_epoch_alone() -> None:
    lengths = list(range(1, 60))
    one, other = of_lengths(lengths, 8), of_lengths(lengths, 8)
    other.plan(7)
    assert one.plan(FULL) == other.plan(FULL)
    assert one.plan(FULL) != one.plan(FULL + tiny.AUGMENT.passes)  # of the same pass
    assert one.plan(FULL) != of_lengths(lengths, 8, seed=6).plan(FULL)


def test_steps_are_counted_without_sound(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    steps = data.steps(6)
    assert not (tmp_path / "passes").exists()
    assert steps == sum(len(data.plan(epoch)) for epoch in range(6))


@pytest.mark.parametrize("epoch", [0, 2, 9])
def test_a_batch_replays_from_its_names(kept: Path, epoch: int) -> None:
    one, other = tiny.data(kept), tiny.data(kept)
    plan = one.plan(epoch)
    batches = [one.batch(epoch, utterances) for utterances in plan]
    for batch, utterances in reversed(list(zip(batches, plan, strict=True))):
        assert same(batch, other.batch(epoch, utterances))


def test_masks_differ_by_epoch_and_seed(kept: Path) -> None:
    data = tiny.data(kept)
    later = FULL + tiny.AUGMENT.passes
    batches = [data.batch(epoch, [0, 1, 2]) for epoch in (FULL, later)]
    batches.append(tiny.data(kept, seed=6).batch(FULL, [0, 1, 2]))
    heard = data.passes.get(data.passes.augment.pass_of(FULL))
    plain = collate([heard.utterance(n) for n in range(3)], [[0]] * 3, tiny.SHAPE.stack)
    hidden = [(batch.features != plain.features).any(axis=2) for batch in batches]
    assert all(rows.mean() > 0.02 for rows in hidden)
    for one, other in ((0, 1), (0, 2)):
        assert not np.array_equal(batches[one].features, batches[other].features)
        assert np.array_equal(batches[one].lengths, batches[other].lengths)


def test_at_no_strength_nothing_is_hidden(kept: Path) -> None:
    data = tiny.data(kept)
    heard = data.passes.get(0)
    batch = data.batch(0, [3, 1])
    for row, number in zip(batch.features, (3, 1), strict=True):
        frames = heard.utterance(number)
        assert np.array_equal(row[: len(frames)], frames)


def test_a_batch_is_model_input(kept: Path) -> None:
    data = tiny.data(kept)
    groups = data.passes.groups(data.passes.augment.pass_of(FULL))
    for utterances in data.plan(FULL):
        batch = data.batch(FULL, utterances)
        size, frames, columns = batch.features.shape
        assert (size, columns, frames % 4) == (len(utterances), 40, 0)
        assert batch.features.dtype == np.float32 and np.isfinite(batch.features).all()
        assert batch.lengths.max() * 4 == frames
        used = [groups[n] for n in utterances]
        wanted = [t for group in used for i in group for t in tiny.examples()[i].targets]
        assert batch.targets.tolist() == wanted
        assert batch.target_lengths.tolist() == [len(group) for group in used]
        assert batch.names == tuple(tuple(tiny.examples()[i].name for i in g) for g in used)


def batch_of(sizes: Sequence[tuple[int, int]], stack: int) -> tuple[Batch, list[Frames]]:
    rng = np.random.default_rng(0)
    frames = [rng.standard_normal((n, 3)).astype(np.float32) for n, _ in sizes]
    made = collate(frames, [[10 * row + k for k in range(n)] for row, (_, n) in enumerate(sizes)],
                   stack)  # fmt: skip
    return replace(made, names=tuple((f"u{row}",) for row in range(len(sizes)))), frames


Sizes = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 4)), min_size=1, max_size=6)


@given(Sizes, st.integers(1, 8))
def test_collate(sizes: list[tuple[int, int]], stack: int) -> None:
    batch, frames = batch_of(sizes, stack)
    assert batch.features.shape == (len(sizes), int(batch.lengths.max()) * stack, 3)
    assert batch.target_lengths.tolist() == [count for _, count in sizes]
    for row, utterance, length in zip(batch.features, frames, batch.lengths, strict=True):
        assert length == -(-len(utterance) // stack)
        assert np.array_equal(row[: len(utterance)], utterance)
        assert (row[len(utterance) :] == utterance[-1]).all()


@settings(max_examples=60)
@given(Sizes, st.integers(1, 5))
def test_parts_are_the_whole(sizes: list[tuple[int, int]], count: int) -> None:
    batch, _ = batch_of(sizes, 2)
    assert same(batch.part(slice(None)), batch)
    seen = []
    for rank in range(count):
        part = batch.part(slice(rank, None, count))
        ends = np.cumsum(part.target_lengths)
        for row, name in enumerate(part.names):
            number = int(name[0][1:])
            seen.append(number)
            targets = part.targets[ends[row] - part.target_lengths[row] : ends[row]]
            assert targets.tolist() == [10 * number + k for k in range(sizes[number][1])]
            assert np.array_equal(part.features[row], batch.features[number])
            assert part.lengths[row] == batch.lengths[number]
    assert sorted(seen) == list(range(len(sizes)))
