"""Posteriors as CTC models make them: blanks, and a peak for each token."""

from collections.abc import Mapping

import numpy as np

from aimass.decoding.forced import LogProbs


def posteriors(frames: int, said: Mapping[int, int], blank: int = 3) -> LogProbs:
    """Log-probabilities ``(frames, blank + 1)`` with the given token at each given frame."""
    rows = np.full((frames, blank + 1), 0.01, np.float32)
    rows[:, blank] = 1 - 0.01 * blank
    for frame, token in said.items():
        rows[frame, [token, blank]] = rows[frame, [blank, token]]
    found: LogProbs = np.log(rows)
    return found
