"""Masks are drawn for each utterance, never wider than asked, and made without a loop."""

import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.augment import spectrogram
from aimass.augment.spectrogram import NO_MASKS, Masks, hide
from aimass.base.randomness import generator

FILL = np.arange(16, dtype=np.float32) - 100
MASKS = Masks(times=2, time_share=0.2, bands=2, band_share=0.3)


def noise(size: int = 4, frames: int = 50, bins: int = 16) -> Any:
    return generator(0, size, frames).standard_normal((size, frames, bins)).astype(np.float32)


def test_the_generator_decides_alone() -> None:
    batch = noise()
    first = hide(batch, generator(1), MASKS, fill=FILL)
    hide(batch, generator(2), MASKS, fill=FILL)
    assert np.array_equal(first, hide(batch, generator(1), MASKS, fill=FILL))
    assert not np.array_equal(first, hide(batch, generator(2), MASKS, fill=FILL))


def test_the_batch_itself_is_not_changed() -> None:
    batch = noise()
    before = batch.copy()
    hide(batch, generator(1), MASKS, fill=FILL)
    assert np.array_equal(batch, before)


def test_each_utterance_has_its_own_masks() -> None:
    batch = noise(64)
    hidden = hide(batch, generator(3), MASKS, fill=FILL) != batch
    patterns = {row.tobytes() for row in hidden}
    assert len(patterns) > 48


def test_all_positions_and_widths_occur() -> None:
    batch = noise(2000, 30)
    masks = Masks(times=1, time_share=1.0, max_frames=6, bands=0)
    hidden = (hide(batch, generator(4), masks, fill=FILL) != batch)[:, :, 0]
    assert hidden.any(axis=0).all()
    assert set(hidden.sum(axis=1)) == set(range(7))


@given(
    seed=st.integers(0, 2**32),
    lengths=st.lists(st.integers(1, 120), min_size=1, max_size=6),
    times=st.integers(0, 3),
    time_share=st.floats(0, 1),
    bands=st.integers(0, 3),
    band_share=st.floats(0, 1),
)
def test_masks_are_in_proportion_to_the_utterance(
    seed: int, lengths: list[int], times: int, time_share: float, bands: int, band_share: float
) -> None:
    masks = Masks(times, time_share, 20, bands, band_share)
    batch = noise(len(lengths), max(lengths))
    found = hide(batch, generator(seed), masks, lengths=np.array(lengths), fill=FILL)
    hidden = found != batch
    assert found.shape == batch.shape and found.dtype == np.float32
    assert np.array_equal(found[hidden], np.broadcast_to(FILL, batch.shape)[hidden])
    columns, rows = hidden.all(axis=1), hidden.all(axis=2)
    assert np.array_equal(hidden, rows[:, :, None] | columns[:, None, :])
    for row, column, length in zip(rows, columns, lengths, strict=True):
        if not column.all():
            assert row.sum() <= times * min(20, int(time_share * length))
        if not row.all():
            assert column.sum() <= bands * int(band_share * 16)


def test_without_a_fill_the_mean_stands_under_masks() -> None:
    batch = noise()
    found = hide(batch, generator(5), Masks(times=3, time_share=0.3))
    mean = np.broadcast_to(batch.mean(axis=(0, 1)), batch.shape)
    hidden = found != batch
    assert hidden.any()
    assert np.array_equal(found[hidden], mean[hidden])


def test_no_masks_hide_nothing() -> None:
    batch = noise()
    assert np.array_equal(hide(batch, generator(1), NO_MASKS), batch)
    assert np.array_equal(hide(batch, generator(1), Masks().at(0)), batch)
    assert Masks().at(1) == Masks()


def calls_of_hide(size: int) -> int:
    """How many Python functions of the module run for a batch of `size`."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_filename == spectrogram.__file__

    batch, masks = noise(size), Masks()
    sys.setprofile(note)
    try:
        hide(batch, generator(0), masks, fill=FILL)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("size", [1, 8, 256])
def test_the_work_in_python_does_not_grow_with_the_batch(size: int) -> None:
    assert calls_of_hide(size) == 4
