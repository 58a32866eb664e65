"""The label of an utterance: what the last row says, whatever pieces the rows come in."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.contract import Word
from aimass.decoding.label import LabelDecoder
from aimass.text.tokens import LabelSet

LABELS = LabelSet(("go", "turn left", "停"))
Picks = st.lists(st.integers(0, 2), max_size=40)


def rows(picks: list[int], seed: int = 0) -> npt.NDArray[np.float32]:
    """Log-probabilities whose greatest are `picks`."""
    scores = np.random.default_rng(seed).uniform(0, 1, (len(picks), LABELS.size))
    scores[np.arange(len(picks)), picks] += 1.5
    return np.asarray(np.log(scores / scores.sum(axis=1, keepdims=True)), np.float32)


def decoded(log_probs: npt.NDArray[np.float32], *cuts: int) -> LabelDecoder:
    decoder = LabelDecoder(LABELS)
    for piece in np.split(log_probs, sorted(cuts)):
        decoder.accept(piece)
    return decoder


@given(Picks.filter(bool), st.lists(st.integers(0, 40), max_size=9))
def test_the_last_row_decides(picks: list[int], cuts: list[int]) -> None:
    log_probs = rows(picks)
    found = decoded(log_probs, *cuts)
    assert found.text == LABELS.symbols[picks[-1]]
    assert found.ids == (picks[-1],)
    assert found.confidence == pytest.approx(float(np.exp(log_probs[-1]).max()))
    assert found.words(1.5) == (Word(found.text, 0.0, 1.5, found.confidence),)


def test_before_the_first_row() -> None:
    decoder = LabelDecoder(LABELS)
    decoder.accept(np.empty((0, 0), np.float32))
    assert (decoder.text, decoder.ids, decoder.words(1.0), decoder.confidence) == ("", (), (), 1.0)


def test_rows_that_stand_for_nothing() -> None:
    decoder = LabelDecoder(LabelSet(()))
    decoder.accept(np.ones((3, 8), np.float32))  # voiceprints
    assert (decoder.text, decoder.ids, decoder.words(1.0)) == ("", (), ())
