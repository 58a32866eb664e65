"""Best-path decoding: any chunks give the whole, as the definition in one line gives it."""

from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.contract import Word
from aimass.decoding.greedy import GreedyDecoder
from aimass.text.tokens import TokenSet

TOKENS = TokenSet(("▁yes", "▁n", "o", "▁", "x"))
STEP = 0.04
LogProbs = npt.NDArray[np.float32]
Paths = st.lists(st.integers(0, TOKENS.blank), max_size=60)


def posteriors(path: list[int], seed: int = 0) -> LogProbs:
    """Log-probabilities whose best path is `path`."""
    scores = np.random.default_rng(seed).uniform(0, 1, (len(path), TOKENS.size))
    scores[np.arange(len(path)), path] += 1.5
    return np.asarray(np.log(scores / scores.sum(axis=1, keepdims=True)), np.float32)


def decoded(log_probs: LogProbs, *cuts: int) -> GreedyDecoder:
    decoder = GreedyDecoder(TOKENS, STEP)
    for piece in np.split(log_probs, sorted(cuts)):
        decoder.accept(piece)
    return decoder


@given(Paths)
def test_equals_the_definition(path: list[int]) -> None:
    merged = [token for token, _ in groupby(path)]
    wanted = [token for token in merged if token != TOKENS.blank]
    decoder = decoded(posteriors(path))
    assert list(decoder.ids) == wanted
    assert decoder.text == TOKENS.decode(wanted)


@given(Paths, st.lists(st.integers(0, 60), max_size=20), st.integers(0, 9))
def test_any_chunks_are_the_whole(path: list[int], cuts: list[int], seed: int) -> None:
    log_probs = posteriors(path, seed)
    whole, chunked = decoded(log_probs), decoded(log_probs, *cuts)
    duration = len(path) * STEP
    assert chunked.ids == whole.ids
    assert chunked.text == whole.text
    assert chunked.confidence == whole.confidence
    assert chunked.words(duration) == whole.words(duration)


@given(Paths, st.floats(0, 3))
def test_times_are_monotone_and_inside(path: list[int], duration: float) -> None:
    words = decoded(posteriors(path)).words(duration)
    for word in words:
        assert 0 <= word.start <= word.end <= duration
        assert 0 < word.confidence <= 1
    for before, after in pairwise(words):
        assert before.end <= after.start
    assert " ".join(w.text for w in words).split() == decoded(posteriors(path)).text.split()


@given(Paths)
def test_confidence_is_the_mean_of_the_best_frames(path: list[int]) -> None:
    log_probs = posteriors(path)
    best, at = [], 0
    for token, run in groupby(path):
        count = len(list(run))
        if token != TOKENS.blank:
            best.append(float(log_probs[at : at + count, token].max()))
        at += count
    wanted = float(np.exp(np.mean(best))) if best else 1.0
    assert decoded(log_probs).confidence == pytest.approx(wanted, rel=1e-6)


@given(Paths, st.integers(0, 60))
def test_what_was_said_is_not_taken_back(path: list[int], cut: int) -> None:
    log_probs = posteriors(path)
    decoder = decoded(log_probs[:cut])
    before = decoder.ids
    decoder.accept(log_probs[cut:])
    assert decoder.ids[: len(before)] == before


def test_planted_words_and_times() -> None:
    blank = TOKENS.blank
    path = [blank, 0, 0, blank, 0, 1, 2, 2, blank, 2]
    found = decoded(posteriors(path)).words(0.38)
    assert [(w.text, round(w.start, 2), round(w.end, 2)) for w in found] == [
        ("yes", 0.04, 0.12),
        ("yes", 0.16, 0.20),
        ("noo", 0.20, 0.38),
    ]


def test_a_word_in_the_silent_tail_ends_with_the_sound() -> None:
    decoder = decoded(posteriors([TOKENS.blank] * 10 + [0, 0]))
    assert decoder.words(0.3) == (Word("yes", 0.3, 0.3, decoder.confidence),)


def test_nothing_heard() -> None:
    decoder = GreedyDecoder(TOKENS, STEP)
    decoder.accept(np.empty((0, 0), np.float32))
    assert (decoder.text, decoder.ids, decoder.words(1.0), decoder.confidence) == ("", (), (), 1.0)


def test_a_repeat_across_chunks_needs_a_blank_to_count_twice() -> None:
    decoder = GreedyDecoder(TOKENS, STEP)
    decoder.accept(posteriors([0]))
    decoder.accept(posteriors([0, TOKENS.blank]))
    decoder.accept(posteriors([0]))
    assert decoder.text == "yes yes"


def test_chinese_characters_are_words_of_their_own() -> None:
    tokens = TokenSet(("你", "好", "▁o", "k", "▁"))
    decoder = GreedyDecoder(tokens, STEP)
    path = [0, 1, 4, 2, 3, 1, 3]
    scores = np.full((len(path), tokens.size), -9, np.float32)
    scores[np.arange(len(path)), path] = -0.1
    decoder.accept(scores)
    assert decoder.text == "你好 ok 好 k"
    assert [word.text for word in decoder.words(9)] == ["你", "好", "ok", "好", "k"]
