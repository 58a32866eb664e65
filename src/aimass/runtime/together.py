"""One speaker's audio on its way to words, through all members of a massive model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from aimass.audio.resample import Resampler
from aimass.base.contract import Engine, Hypothesis, RecognizeOptions, Samples, Stream
from aimass.runtime.bundled import BundleEngine, decoder, hypothesis
from aimass.runtime.graph import LogProbs
from aimass.runtime.panel import Panel
from aimass.runtime.pooled import Pool, PooledStream

Answer = TypeVar("Answer")
Judged = Callable[[Mapping[int, Hypothesis], float], Hypothesis]
"""The answers of members to so many seconds of sound, as one."""


class RowsStream:
    """Members are combined row by row, and one decoder makes words of the rows.

    Args:
        members: these alone, whose rows are kept; all when None.
    """

    def __init__(
        self,
        pool: Pool,
        language: str,
        options: RecognizeOptions,
        members: Sequence[int] | None = None,
    ) -> None:
        self._rate = pool.rate
        self._language = language
        self._options = options
        self._rows = PooledStream(pool, members, keep=members is not None)
        self._decoder = decoder(pool.symbols, pool.frame_seconds)
        self._samples = 0

    def accept(self, samples: Samples) -> None:
        """Take the next samples."""
        self._samples += len(samples)
        self._decoder.accept(self._rows.accept(samples))

    def results(self) -> Hypothesis:
        """The words so far."""
        duration = self._samples / self._rate
        return hypothesis(self._decoder, duration, self._language, self._options)

    def finish(self) -> Hypothesis:
        """No more audio: push the last word out and give all words."""
        self._decoder.accept(self._rows.finish())
        return self.results()

    @property
    def kept(self) -> Mapping[int, LogProbs]:
        """The rows of each member so far, where they are kept."""
        return self._rows.kept


class AnswersStream:
    """Every member makes words of its own, which are combined whenever they are asked for.

    Args:
        rate: of the sound that comes in.
        options: for the members.
        members: ask these alone; all when None.
    """

    def __init__(
        self,
        panel: Panel,
        rate: int,
        options: RecognizeOptions,
        judged: Judged,
        members: Sequence[int] | None = None,
    ) -> None:
        self._panel = panel
        self._heard = rate
        self._judged = judged
        self._samples = 0
        self._streams = panel.ask(lambda n: _stream(panel.seats[n].engine, options), members)
        rates = {self._rate(number) for number in self._streams} - {rate}
        self._resamplers = {own: Resampler(rate, own) for own in rates}

    def accept(self, samples: Samples) -> None:
        """Take the next samples."""
        self._samples += len(samples)
        sound = {rate: own.accept(samples) for rate, own in self._resamplers.items()}
        self._each(lambda n: self._streams[n].accept(sound.get(self._rate(n), samples)))

    def results(self) -> Hypothesis:
        """The words so far."""
        return self._told(self._each(lambda n: self._streams[n].results()))

    def finish(self) -> Hypothesis:
        """No more audio: the final answers of all members as one."""
        rest = {rate: own.finish()[0] for rate, own in self._resamplers.items()}

        def end(number: int) -> Hypothesis:
            if self._rate(number) in rest:
                self._streams[number].accept(rest[self._rate(number)])
            return self._streams[number].finish()

        return self._told(self._each(end))

    def _rate(self, number: int) -> int:
        return self._panel.seats[number].engine.sample_rate

    def _each(self, work: Callable[[int], Answer]) -> dict[int, Answer]:
        """Ask the members that are still in; one that fails is out of this stream."""
        found = self._panel.ask(work, list(self._streams))
        self._streams = {number: self._streams[number] for number in found}
        return found

    def _told(self, answers: Mapping[int, Hypothesis]) -> Hypothesis:
        return self._judged(answers, self._samples / self._heard)


def _stream(engine: Engine, options: RecognizeOptions) -> Stream:
    """A stream of a member; engines that are not ours take no options, as the contract has it."""
    if isinstance(engine, BundleEngine):
        return engine.stream(options)
    streaming: Any = engine
    stream: Stream = streaming.stream()
    return stream
