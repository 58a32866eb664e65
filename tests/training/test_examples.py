"""Batches replay from their names, and an epoch uses every clip once."""

from collections import Counter
from functools import cached_property

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.features.fbank import fbank
from aimass.training.examples import AugmentSpec, Batch, Example, TrainingSet, collate

from . import tiny


def same(one: Batch, other: Batch) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("features", "lengths", "tokens", "token_lengths")
    )


def a_set(count: int, speakers: int, batch_size: int, seed: int = 0) -> TrainingSet:
    examples = [
        Example(np.zeros(100 + 37 * n % 900, np.float32), (n,), f"s{n % speakers}")
        for n in range(count)
    ]
    spec = AugmentSpec(ramp_epochs=3)
    return TrainingSet(
        examples, tiny.FEATURES, spec, batch_size=batch_size, stack=4, tail=0.4, seed=seed
    )


@given(
    count=st.integers(1, 200),
    speakers=st.integers(1, 9),
    batch_size=st.integers(1, 40),
    epoch=st.integers(0, 8),
    seed=st.integers(0, 99),
)
def test_an_epoch_uses_every_clip_once(
    count: int, speakers: int, batch_size: int, epoch: int, seed: int
) -> None:
    plan = a_set(count, speakers, batch_size, seed).plan(epoch)
    used = [index for batch in plan for group in batch for index in group]
    assert sorted(used) == list(range(count))
    assert all(1 <= len(batch) <= batch_size for batch in plan)
    assert all(len({i % speakers for i in group}) == 1 for batch in plan for group in batch)


def test_plans_depend_on_seed_and_epoch_alone() -> None:
    one, other = a_set(60, 3, 8), a_set(60, 3, 8)
    other.plan(7)
    assert one.plan(2) == other.plan(2)
    assert one.plan(2) != one.plan(3)
    assert one.plan(2) != a_set(60, 3, 8, seed=1).plan(2)


def test_joining_grows_with_the_ramp() -> None:
    data = a_set(300, 2, 8)
    longest = [max(len(group) for batch in data.plan(e) for group in batch) for e in range(5)]
    assert longest == [1, 2, 2, 3, 3]


def test_batches_are_of_about_one_length() -> None:
    data = a_set(256, 2, 8)
    spread = [
        max(lengths) - min(lengths)
        for batch in data.plan(0)
        for lengths in [[len(data._examples[i].samples) for (i,) in batch]]
    ]
    assert np.mean(spread) < 300  # of 900 that a shuffled batch would have


@pytest.mark.parametrize("epoch", [0, 2, 9])
def test_a_batch_replays_from_its_names(epoch: int) -> None:
    one, other = tiny.data(), tiny.data()
    plan = one.plan(epoch)
    batches = [one.batch(epoch, groups) for groups in plan]
    for batch, groups in reversed(list(zip(batches, plan, strict=True))):
        assert same(batch, other.batch(epoch, groups))


def test_another_epoch_or_seed_gives_another_batch() -> None:
    groups = tiny.data().plan(5)[0]
    batch = tiny.data().batch(5, groups)
    assert not same(batch, tiny.data().batch(6, groups))
    assert not same(batch, tiny.data(seed=6).batch(5, groups))


def test_a_batch_is_model_input() -> None:
    data = tiny.data()
    for groups in data.plan(9):
        batch = data.batch(9, groups)
        size, frames, bins = batch.features.shape
        assert (size, bins, frames % 4) == (len(groups), 40, 0)
        assert batch.features.dtype == np.float32 and np.isfinite(batch.features).all()
        assert batch.lengths.max() * 4 == frames
        wanted = [t for group in groups for i in group for t in tiny.examples()[i].tokens]
        assert batch.tokens.tolist() == wanted
        assert batch.token_lengths.tolist() == [len(group) for group in groups]


def test_without_strength_a_batch_is_the_recordings() -> None:
    data = tiny.data()
    groups = data.plan(0)[0]
    batch = data.batch(0, groups)
    pause, tail = 160, 3200  # samples around each clip
    for (index,), row, length in zip(groups, batch.features, batch.lengths, strict=True):
        candidates = []
        for sound in data._faster[index].values():
            silence = np.zeros(pause, np.float32)
            end = np.zeros(pause + tail, np.float32)
            candidates.append(fbank(np.concatenate([silence, sound, end]), tiny.FEATURES))
        assert any(
            len(frames) <= length * 4 < len(frames) + 4 and np.allclose(row[: len(frames)], frames)
            for frames in candidates
        )


def test_moments_are_those_of_the_features() -> None:
    mean, deviation = tiny.data().moments
    assert mean.shape == deviation.shape == (40,)
    rows = np.concatenate([fbank(e.samples, tiny.FEATURES) for e in tiny.examples()])
    assert np.abs(mean - rows.mean(axis=0)).mean() < 5  # augmented: softer, with pauses
    assert (deviation > 0.5).all()
    assert np.array_equal(mean, tiny.data().moments[0])


def test_recordings_are_resampled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[float] = Counter()

    def counted(samples: object, factor: float, rate: int) -> object:
        calls[factor] += 1
        return samples

    monkeypatch.setattr("aimass.training.examples.at_speed", counted)
    data = tiny.data()
    for epoch in (0, 1, 5):
        for groups in data.plan(epoch):
            data.batch(epoch, groups)
    assert set(calls.values()) == {len(tiny.examples())}
    assert isinstance(TrainingSet.__dict__["_faster"], cached_property)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 4)), min_size=1, max_size=6),
    st.integers(1, 8),
)
def test_collate(sizes: list[tuple[int, int]], stack: int) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.standard_normal((n, 3)).astype(np.float32) for n, _ in sizes]
    tokens = [list(range(k)) for _, k in sizes]
    batch = collate(frames, tokens, stack)
    assert batch.features.shape == (len(sizes), int(batch.lengths.max()) * stack, 3)
    assert batch.token_lengths.tolist() == [k for _, k in sizes]
    assert batch.tokens.tolist() == [t for ts in tokens for t in ts]
    for row, utterance, length in zip(batch.features, frames, batch.lengths, strict=True):
        assert length == -(-len(utterance) // stack)
        assert np.array_equal(row[: len(utterance)], utterance)
        assert (row[len(utterance) :] == utterance[-1]).all()


@pytest.mark.parametrize("epoch", [-1, 0])
def test_the_first_epoch_is_plain(epoch: int) -> None:
    plain = AugmentSpec().in_epoch(epoch)
    assert (plain.most_joined, plain.noise_share, plain.mask_times) == (1, 0, 0)
    assert plain.gain_db == (0, 0)
    assert plain.pause[0] == plain.pause[1]


@given(st.integers(0, 30), st.integers(0, 20))
def test_the_ramp_only_rises(epoch: int, ramp: int) -> None:
    full = AugmentSpec(ramp_epochs=ramp)
    now, then = full.in_epoch(epoch), full.in_epoch(epoch + 1)
    assert now.most_joined <= then.most_joined <= full.most_joined
    assert now.noise_share <= then.noise_share <= full.noise_share
    assert now.mask_times <= then.mask_times <= full.mask_times
    assert now.pause[1] <= then.pause[1] <= full.pause[1]
    assert full.gain_db[0] <= then.gain_db[0] <= now.gain_db[0]
    if epoch >= max(1, ramp):
        assert now == full
