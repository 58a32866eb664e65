"""Best-path CTC decoding with word times and confidences, streaming.

Graves et al. 2006, "Connectionist temporal classification": the most probable output of each
frame, repeats merged, blanks dropped.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Word
from aimass.text.tokens import TokenSet


@dataclass(slots=True)
class _Emission:
    token: int
    first: int
    last: int
    log_prob: float  # the best frame of the run


class GreedyDecoder:
    """The state of one stream's search.

    Args:
        frame_seconds: time between two rows of posteriors.
    """

    def __init__(self, tokens: TokenSet, frame_seconds: float) -> None:
        self._tokens = tokens
        self._frame_seconds = frame_seconds
        self._emissions: list[_Emission] = []
        self._frames = 0
        self._previous = tokens.blank

    def accept(self, log_probs: npt.NDArray[np.float32]) -> None:
        """Take the next posteriors, shape ``(frames, outputs)``."""
        if not len(log_probs):
            return
        best = log_probs.argmax(axis=1)
        before = np.concatenate([[self._previous], best])
        for row in np.flatnonzero(best != self._tokens.blank):
            token = int(best[row])
            self._extend(token, int(row), float(log_probs[row, token]), token == before[row])
        self._previous = int(before[-1])
        self._frames += len(best)

    def _extend(self, token: int, row: int, log_prob: float, repeated: bool) -> None:
        frame = self._frames + row
        if repeated:
            run = self._emissions[-1]
            run.last = frame
            run.log_prob = max(run.log_prob, log_prob)
        else:
            self._emissions.append(_Emission(token, frame, frame, log_prob))

    @property
    def text(self) -> str:
        """What has been decoded so far."""
        return self._tokens.decode(e.token for e in self._emissions)

    @property
    def ids(self) -> tuple[int, ...]:
        """Token ids decoded so far."""
        return tuple(e.token for e in self._emissions)

    @property
    def confidence(self) -> float:
        """Geometric mean probability of the tokens so far, 1 where there are none."""
        return _confidence(self._emissions)

    def words(self, duration: float) -> tuple[Word, ...]:
        """The words so far, each from its first token's first frame to its last token's end.

        Args:
            duration: seconds of audio heard; a word found in the silent tail ends here.
        """
        groups: list[list[_Emission]] = []
        for emission in self._emissions:
            if not groups or self._tokens.parts(groups[-1][-1].token, emission.token):
                groups.append([])
            groups[-1].append(emission)
        return tuple(
            Word(
                text,
                min(group[0].first * self._frame_seconds, duration),
                min((group[-1].last + 1) * self._frame_seconds, duration),
                _confidence(group),
            )
            for group in groups
            if (text := self._tokens.decode(e.token for e in group))
        )


def _confidence(emissions: list[_Emission]) -> float:
    if not emissions:
        return 1.0
    return math.exp(sum(e.log_prob for e in emissions) / len(emissions))
