"""Forced alignment against every path there is, and on posteriors whose words are known."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import DataError
from aimass.decoding import forced
from aimass.decoding.forced import align

from .peaks import posteriors


def best_of_all(log_probs: np.ndarray, tokens: list[int], blank: int) -> float:
    """The probability of the best path, by trying each."""
    frames, outputs = log_probs.shape
    best = -np.inf
    for path in itertools.product(range(outputs), repeat=frames):
        merged = [k for k, _ in itertools.groupby(path)]
        if [k for k in merged if k != blank] == tokens:
            best = max(best, sum(log_probs[t, k] for t, k in enumerate(path)))
    return float(best)


@given(
    st.integers(1, 6), st.lists(st.integers(0, 1), min_size=1, max_size=3), st.integers(0, 10**6)
)
def test_the_path_is_the_best_of_all(frames: int, tokens: list[int], seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, (frames, 3))
    log_probs = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    if forced.needed(tokens) > frames:
        with pytest.raises(DataError, match="needs at least"):
            align(log_probs, [tokens], 2)
        return
    labels = np.full(2 * len(tokens) + 1, 2)
    labels[1::2] = tokens
    path = forced._best_path(log_probs, labels)
    assert path[0] in (0, 1)
    assert path[-1] in (len(labels) - 1, len(labels) - 2)
    assert set(np.diff(path)) <= {0, 1, 2}
    said = log_probs[np.arange(frames), labels[path]].sum()
    assert said == pytest.approx(best_of_all(log_probs, tokens, 2), abs=1e-4)
    assert [k for k, _ in itertools.groupby(path) if k % 2] == list(range(1, len(labels), 2))


def test_words_are_where_they_were_put() -> None:
    rows = posteriors(200, {20: 0, 22: 1, 90: 2, 150: 0, 151: 0})
    found = align(rows, [[0, 1], [2], [0]], 3)
    assert [(s.first, s.last) for s in found.spans] == [(20, 22), (90, 90), (150, 151)]
    assert min(s.score for s in found.spans) > 0.9
    assert min(found.gaps) > 0.9


def test_a_word_too_many_scores_low_and_no_other_does() -> None:
    rows = posteriors(200, {20: 0, 90: 2, 150: 0})
    found = align(rows, [[0], [1], [2], [0]], 3)
    assert [s.score > 0.5 for s in found.spans] == [True, False, True, True]
    assert found.spans[1].score < 0.05
    assert [s.first for s in found.spans if s.score > 0.5] == [20, 90, 150]


@pytest.mark.parametrize(("left_out", "gap"), [(20, 0), (90, 1), (150, 2)])
def test_a_word_too_few_shows_in_its_gap(left_out: int, gap: int) -> None:
    said = {20: 0, 90: 2, 150: 1}
    words = [[token] for frame, token in said.items() if frame != left_out]
    found = align(posteriors(200, said), words, 3)
    assert min(s.score for s in found.spans) > 0.9
    assert [g > 0.5 for g in found.gaps] == [number != gap for number in range(3)]
    assert found.gaps[gap] < 0.05


@given(st.integers(0, 10**6))
def test_silence_around_moves_words_and_changes_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.sort(rng.choice(np.arange(2, 60, 2), 5, replace=False))
    said = {int(frame): int(rng.integers(3)) for frame in at}
    words = [[token] for token in said.values()]
    found = align(posteriors(62, said), words, 3)
    lead = int(rng.integers(1, 40))
    moved = align(posteriors(62 + 2 * lead, {f + lead: t for f, t in said.items()}), words, 3)
    assert [s.first + lead for s in found.spans] == [s.first for s in moved.spans]
    assert [s.score for s in found.spans] == pytest.approx([s.score for s in moved.spans])


def test_memory_grows_with_the_root_of_the_length() -> None:
    frames, words = 6400, [[number % 3] for number in range(600)]
    rows = posteriors(frames, {10 * number + 5: number % 3 for number in range(600)})
    tracemalloc.start()
    found = align(rows, words, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [s.first for s in found.spans] == [10 * number + 5 for number in range(600)]
    assert peak < frames * 1201 / 8  # the table of all choices would take eight times that


@pytest.mark.parametrize("words", [[], [[0], []]])
def test_nothing_to_align(words: list[list[int]]) -> None:
    with pytest.raises(DataError, match="nothing to align"):
        align(posteriors(5, {}), words, 3)


def test_too_much_is_refused_before_it_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forced, "MOST_CELLS", 100)
    with pytest.raises(DataError, match="too much to align in one piece"):
        align(posteriors(40, {}), [[0], [1]], 3)


def test_one_frame_holds_one_token() -> None:
    found = align(posteriors(1, {0: 1}), [[1]], 3)
    assert (found.spans[0].first, found.spans[0].last) == (0, 0)
    with pytest.raises(DataError, match="needs at least 3 frames, and the recording has 2"):
        align(posteriors(2, {0: 1}), [[1], [1]], 3)
