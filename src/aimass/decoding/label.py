"""The label of an utterance, from a graph that says after each frame what it believes so far."""

import math

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Word
from aimass.text.tokens import LabelSet


class LabelDecoder:
    """The state of one stream's decision: its last row."""

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._last: npt.NDArray[np.float32] | None = None

    def accept(self, log_probs: npt.NDArray[np.float32]) -> None:
        """Take the next rows, shape ``(frames, labels)``."""
        if len(log_probs) and self._labels.symbols:
            self._last = log_probs[-1]

    @property
    def text(self) -> str:
        """The most probable label so far; empty before the first row."""
        return "".join(self._labels.symbols[label] for label in self.ids)

    @property
    def ids(self) -> tuple[int, ...]:
        """The number of that label."""
        return () if self._last is None else (int(self._last.argmax()),)

    @property
    def confidence(self) -> float:
        """The probability of that label, 1 before the first row."""
        return 1.0 if self._last is None else math.exp(float(self._last.max()))

    def words(self, duration: float) -> tuple[Word, ...]:
        """The label as one word that lasts as long as the sound, which is all that is known."""
        return (Word(self.text, 0.0, duration, self.confidence),) if self.text else ()
