"""Words in a row keep their order and length, and no pause is digital silence."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.audio.decode import load
from aimass.augment.join import Join, connected, floor
from aimass.base.contract import Samples
from aimass.base.errors import DataError, ScenarioError
from aimass.base.randomness import generator

from .sounds import SAMPLES, decibels, tone

RATE = 8000


def words() -> list[Samples]:
    files = sorted(SAMPLES.glob("digits/audio/*"))[:4]
    return [load(path, rate=RATE).mono() for path in files]


@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    shortest=st.floats(0, 0.2),
)
def test_the_length_is_all_pieces_and_pauses(seed: int, sizes: list[int], shortest: float) -> None:
    pieces = [np.full(size, 0.1, np.float32) for size in sizes]
    entry = Join(pause=(shortest, shortest + 0.1)).draw(generator(seed), len(pieces))
    found = connected(pieces, entry, RATE)
    assert len(found) == sum(sizes) + sum(round(p * RATE) for p in entry["pauses"])
    assert all(shortest - 1e-4 <= p <= shortest + 0.1001 for p in entry["pauses"])
    assert found.dtype == np.float32 and np.isfinite(found).all()


def test_pieces_stand_where_the_entry_says() -> None:
    pieces, entry = words(), Join().draw(generator(4), 4)
    found, start = connected(pieces, entry, RATE), 0
    for piece, pause in zip(pieces, entry["pauses"], strict=False):
        start += round(pause * RATE)
        inner = slice(40, len(piece) - 40)  # without the fades
        assert np.allclose(found[start : start + len(piece)][inner], piece[inner], atol=1e-6)
        start += len(piece)


def test_pauses_sound_like_the_recordings() -> None:
    pieces, entry = words(), Join(pause=(0.3, 0.3)).draw(generator(1), 4)
    found, start = connected(pieces, entry, RATE), 0
    levels = [20 * np.log10(floor(piece, RATE)) for piece in pieces]
    for piece in pieces:
        pause = found[start : start + round(0.3 * RATE)]
        assert (pause != 0).mean() > 0.99
        assert min(levels) - 8 < decibels(pause) < max(levels) + 8
        start += len(pause) + len(piece)


def test_an_entry_replays() -> None:
    entry = Join().draw(generator(2), 4)
    again = json.loads(json.dumps(entry))
    assert np.array_equal(connected(words(), entry, RATE), connected(words(), again, RATE))
    other = connected(words(), Join().draw(generator(3), 4), RATE)
    assert not np.array_equal(connected(words(), entry, RATE), other)


def test_pieces_without_background_stay_without() -> None:
    silent = np.concatenate([np.zeros(800, np.float32), tone(440, 0.1, RATE)])
    found = connected([silent, silent], Join(pause=(0.1, 0.1)).draw(generator(1), 2), RATE)
    assert np.abs(found[:700]).max() < 1e-6


def test_an_entry_for_other_pieces_is_refused() -> None:
    with pytest.raises(DataError, match="5 pauses for 2 utterances"):
        connected(words()[:2], Join().draw(generator(2), 4), RATE)


def test_nothing_but_pauses_of_no_length() -> None:
    assert len(connected([], {"pauses": [0.0], "slope": 1, "seed": 1}, RATE)) == 0


def test_pauses_are_not_negative() -> None:
    with pytest.raises(ScenarioError, match="from 0 to 60"):
        Join(pause=(-0.1, 0.2))
