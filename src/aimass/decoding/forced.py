"""Where known words lie in posteriors: forced alignment, with a score for each word and gap.

The best path of CTC through the words (Graves et al. 2006, "Connectionist temporal
classification", section 4.1 with maxima for sums), found by Viterbi's algorithm. As in Kürzinger
et al. (2020), "CTC-Segmentation of Large Corpora", text may start and end anywhere in the sound;
here the blank takes what lies outside. The path is exact: of the past only some columns are kept,
and the choices between two of them are computed again on the way back, so memory grows with the
square root of the recording's length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from aimass.base.errors import DataError

MOST_CELLS = 20_000_000_000
"""Frames times states: some minutes of one core. An hour of speech in letters takes a third."""

LogProbs = npt.NDArray[np.float32]
Choices = npt.NDArray[np.int8]
_NEVER = np.float32(-1e30)


@dataclass(frozen=True, slots=True)
class Span:
    """Where one word is heard.

    Args:
        first, last: frames of its first and its last token.
        score: geometric mean of its tokens' probabilities, each at its best frame.
    """

    first: int
    last: int
    score: float


@dataclass(frozen=True, slots=True)
class Alignment:
    """All words, and how well each gap between them goes without any.

    Args:
        gaps: one more than words: before the first, between each two, after the last. Each is
            the probability of the path over that of the best output, at its worst frame: near 0
            where the model hears a word that the text does not have.
    """

    spans: tuple[Span, ...]
    gaps: tuple[float, ...]


def align(log_probs: LogProbs, words: Sequence[Sequence[int]], blank: int) -> Alignment:
    """Lay words along posteriors.

    Args:
        log_probs: ``(frames, outputs)``.
        words: token ids of each word; a word has at least one.
        blank: its output.

    Raises:
        DataError: no word, more tokens than the frames can hold, or more than ``MOST_CELLS``.
    """
    tokens = [token for word in words for token in word]
    _check(len(log_probs), tokens, words)
    labels = np.full(2 * len(tokens) + 1, blank)
    labels[1::2] = tokens
    path = _best_path(log_probs, labels)
    taken = log_probs[np.arange(len(path)), labels[path]]
    lost = taken - log_probs.max(axis=1)  # 0 where the path takes the likeliest output
    return _spans(path, taken, lost, words)


def needed(tokens: Sequence[int]) -> int:
    """The fewest frames that hold tokens: one each, and a blank between two equal ones."""
    return len(tokens) + sum(a == b for a, b in pairwise(tokens))


def _check(frames: int, tokens: Sequence[int], words: Sequence[Sequence[int]]) -> None:
    if not words or not all(words):
        raise DataError(
            "there is nothing to align",
            expected="words of at least one token each",
            fix="Check the text, and that the model knows its language",
        )
    if needed(tokens) > frames:
        raise DataError(
            f"the text needs at least {needed(tokens)} frames, and the recording has {frames}",
            expected="a text that can be said in the recording's time",
            fix="Check that text and recording belong together",
        )
    if frames * (2 * len(tokens) + 1) > MOST_CELLS:
        raise DataError(
            f"{frames} frames times {len(tokens)} tokens are too much to align in one piece",
            expected=f"at most {MOST_CELLS // 2:,}",
            fix="Cut the recording and its text into parts of half an hour",
        )


def _best_path(log_probs: LogProbs, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The state of each frame, shape ``(frames,)``."""
    frames, block = len(log_probs), max(1, math.isqrt(len(log_probs)))
    skips = _may_skip(labels)
    alpha = np.full(len(labels), _NEVER, np.float32)
    alpha[:2] = log_probs[0, labels[:2]]
    kept = [alpha]  # the column before the frames 1, 1 + block, 1 + 2 block, ...
    starts = range(1, frames, block)
    for start in starts[:-1]:
        alpha, _ = _forward(kept[-1], log_probs[start : start + block], labels, skips)
        kept.append(alpha)
    path = np.zeros(frames, np.int64)
    state = -1
    for start, before in zip(reversed(starts), reversed(kept), strict=False):
        alpha, choices = _forward(before, log_probs[start : start + block], labels, skips)
        if state < 0:
            state = _end(alpha)
        for offset in range(len(choices) - 1, -1, -1):
            path[start + offset] = state
            state -= int(choices[offset, state])
    path[0] = state if state >= 0 else _end(alpha)
    return path


def _end(alpha: npt.NDArray[np.float32]) -> int:
    """The likelier of the two states that a path may end in: the last token, or the blank after."""
    return len(alpha) - (1 if alpha[-1] >= alpha[-2] else 2)


def _may_skip(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """0 where a token may follow the one before without a blank, else never; from state 2 on."""
    allowed = np.zeros(len(labels) - 2, bool)
    allowed[1::2] = labels[3::2] != labels[1:-2:2]
    return np.where(allowed, np.float32(0), _NEVER)


def _forward(
    alpha: npt.NDArray[np.float32],
    log_probs: LogProbs,
    labels: npt.NDArray[np.int64],
    skips: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], Choices]:
    """The column after some frames, and how many states each step came from behind."""
    choices = np.zeros((len(log_probs), len(labels)), np.int8)
    for frame, row in enumerate(log_probs):
        best, choice = alpha.copy(), choices[frame]
        closer = alpha[:-1] > best[1:]
        np.copyto(best[1:], alpha[:-1], where=closer)
        choice[1:][closer] = 1
        jump = alpha[:-2] + skips
        farther = jump > best[2:]
        np.copyto(best[2:], jump, where=farther)
        choice[2:][farther] = 2
        alpha = best + row[labels]
        alpha -= alpha.max()  # keeps float32 exact enough over hours; paths differ by the same
        np.maximum(alpha, _NEVER, out=alpha)
    return alpha, choices


def _spans(
    path: npt.NDArray[np.int64],
    taken: npt.NDArray[np.float32],
    lost: npt.NDArray[np.float32],
    words: Sequence[Sequence[int]],
) -> Alignment:
    """Words and gaps of a path."""
    spans, gaps, token, end = [], [], 0, 0
    starts = np.searchsorted(path, 2 * np.arange(sum(map(len, words))) + 1)
    stops = np.searchsorted(path, 2 * np.arange(len(starts)) + 1, side="right")
    for word in words:
        first, last = token, token + len(word) - 1
        best = [taken[starts[t] : stops[t]].max() for t in range(first, last + 1)]
        span = Span(int(starts[first]), int(stops[last]) - 1, math.exp(float(np.mean(best))))
        gaps.append(_worst(lost[end : span.first]))
        spans.append(span)
        token, end = last + 1, span.last + 1
    gaps.append(_worst(lost[end:]))
    return Alignment(tuple(spans), tuple(gaps))


def _worst(lost: npt.NDArray[np.float32]) -> float:
    return math.exp(float(lost.min(initial=0.0)))
