"""Streams that hear in chunks: fewer runs of a graph, and words that come later."""

import numpy as np

from aimass.base.contract import Hypothesis, Samples, Stream
from aimass.registry.points import Point


def gathered(stream: Stream, point: Point | None, rate: int) -> Stream:
    """A stream in the chunks of its operating point; itself where that runs at once."""
    least = round(point.chunk_ms / 1000 * rate) if point else 0
    return Gathered(stream, least) if least else stream


class Gathered:
    """A stream that is given sound in pieces of at least so many samples."""

    def __init__(self, inner: Stream, least: int) -> None:
        self._inner, self._least = inner, least
        self._waiting: list[Samples] = []

    def accept(self, samples: Samples) -> None:
        """Take the next samples."""
        self._waiting.append(samples.copy())
        if sum(map(len, self._waiting)) >= self._least:
            self._push()

    def results(self) -> Hypothesis:
        """The words so far."""
        return self._inner.results()

    def finish(self) -> Hypothesis:
        """No more audio: the final belief."""
        self._push()
        return self._inner.finish()

    def _push(self) -> None:
        if self._waiting:
            self._inner.accept(np.concatenate(self._waiting))
            self._waiting.clear()
