"""What each frame should have said: the paths of a text through posteriors, as soft targets.

Where a text is said is not known; the forward-backward sums of CTC (Graves et al. 2006,
"Connectionist temporal classification", section 4.1) give for each frame and output the share of
the text's paths that go there. Against such targets weights and temperatures of members are fitted
as if every frame were labelled: one step of expectation and maximisation (Dempster et al. 1977).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]  # (frames, outputs)
_Sums = npt.NDArray[np.float64]  # (utterances, frames, states)

BLOCK = 64
"""Utterances that go through the frames side by side."""

_NEVER = -1e30


def occupancies(rows: Sequence[Rows], tokens: Sequence[Sequence[int]], blank: int) -> list[Rows]:
    """For each utterance how its text occupies its frames; each row sums to 1.

    Args:
        rows: log-probabilities of each utterance, ``(frames, outputs)``.
        tokens: of each utterance, few enough for its frames (`aimass.decoding.forced.needed`).
    """
    found: list[Rows] = []
    for first in range(0, len(rows), BLOCK):
        found += _block(rows[first : first + BLOCK], tokens[first : first + BLOCK], blank)
    return found


def _block(
    rows: Sequence[Rows], tokens: Sequence[Sequence[int]], blank: int
) -> list[npt.NDArray[np.float64]]:
    labels = np.full((len(rows), 2 * max(map(len, tokens), default=0) + 1), blank)
    for states, text in zip(labels, tokens, strict=True):
        states[1 : 2 * len(text) : 2] = text
    emitted = _emitted(rows, tokens, labels, blank)
    skips = np.full(labels.shape, _NEVER)
    skips[:, 3::2] = np.where(labels[:, 3::2] != labels[:, 1:-2:2], 0.0, _NEVER)
    ends = np.array([2 * len(text) for text in tokens])
    forward = _forward(emitted, skips)
    backward = _backward(emitted, skips, ends)
    shares = forward + backward
    shares = np.exp(shares - shares.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    return [shares[i, : len(own)] @ np.eye(own.shape[1])[labels[i]] for i, own in enumerate(rows)]


def _emitted(
    rows: Sequence[Rows],
    tokens: Sequence[Sequence[int]],
    labels: npt.NDArray[np.int64],
    blank: int,
) -> _Sums:
    """What each state costs in each frame; after its last frame an utterance is all blank."""
    frames = max(map(len, rows)) + 1  # one blank frame at least, so that all end in the last blank
    found = np.full((len(rows), frames, labels.shape[1]), _NEVER)
    for i, (own, text) in enumerate(zip(rows, tokens, strict=True)):
        states = labels[i, : 2 * len(text) + 1]
        found[i, : len(own), : len(states)] = own[:, states]
        found[i, len(own) :, : len(states) : 2] = 0.0
    found[found < _NEVER] = _NEVER  # what is not possible may come as minus infinity
    return found


def _forward(emitted: _Sums, skips: npt.NDArray[np.float64]) -> _Sums:
    """Log-sums over the paths that reach each state, its own frame included."""
    sums = np.full(emitted.shape, _NEVER)
    sums[:, 0, :2] = emitted[:, 0, :2]
    for frame in range(1, emitted.shape[1]):
        before = sums[:, frame - 1]
        now = before.copy()
        now[:, 1:] = np.logaddexp(now[:, 1:], before[:, :-1])
        now[:, 2:] = np.logaddexp(now[:, 2:], before[:, :-2] + skips[:, 2:])
        sums[:, frame] = np.maximum(now + emitted[:, frame], _NEVER)
    return sums


def _backward(emitted: _Sums, skips: npt.NDArray[np.float64], ends: npt.NDArray[np.int64]) -> _Sums:
    """Log-sums over the ways on from each state to the end, its own frame left out."""
    sums = np.full(emitted.shape, _NEVER)
    sums[np.arange(len(ends)), -1, ends] = 0.0
    for frame in range(emitted.shape[1] - 2, -1, -1):
        after = sums[:, frame + 1] + emitted[:, frame + 1]
        now = after.copy()
        now[:, :-1] = np.logaddexp(now[:, :-1], after[:, 1:])
        now[:, :-2] = np.logaddexp(now[:, :-2], after[:, 2:] + skips[:, 2:])
        sums[:, frame] = np.maximum(now, _NEVER)
    return sums
