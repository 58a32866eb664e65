"""The task contract: the few types that every stage speaks.

Nothing here knows what sound is. An engine takes one array of input and gives a `Hypothesis`;
text and image tasks join through the same types.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Mono samples in [-1, 1], shape ``(samples,)``."""

Progress = Callable[[str, int, int | None], None]
"""Told ``(what, done, total)`` while long work goes on; ``total`` is None when unknown.

What stands after a comma in ``what`` is a note on the same work: ``train, loss 0.12``.
"""


def no_progress(what: str, done: int, total: int | None) -> None:
    """Report to nobody."""


class Task(StrEnum):
    """What a scenario asks of its models."""

    TRANSCRIBE = "transcribe"
    CLASSIFY = "classify"
    EMBED = "embed"


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word; times in seconds from the start of the input."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of input that was recognised as one piece.

    Times are seconds from the start of the input, ``confidence`` is the geometric mean
    probability of the pieces in [0, 1]. The last four fields are what Whisper's own format
    reports; engines without such a notion leave the defaults.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    confidence: float = 1.0
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    compression_ratio: float = 1.0
    no_speech_prob: float = 0.0

    def shifted(self, seconds: float) -> "Segment":
        """The same segment, `seconds` later."""
        words = tuple(
            Word(w.text, w.start + seconds, w.end + seconds, w.confidence) for w in self.words
        )
        return Segment(
            self.start + seconds,
            self.end + seconds,
            self.text,
            words,
            self.confidence,
            self.tokens,
            self.temperature,
            self.compression_ratio,
            self.no_speech_prob,
        )


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What an engine believes one input says."""

    segments: tuple[Segment, ...] = ()
    language: str | None = None

    @property
    def text(self) -> str:
        """The words of all segments, joined by single spaces."""
        return " ".join(s.text for s in self.segments if s.text)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a whole recording says.

    Args:
        duration: seconds of audio read.
        channel: the channel it was heard on, None when all were mixed.
    """

    segments: tuple[Segment, ...]
    duration: float
    model: str
    language: str | None = None
    channel: int | None = None

    @property
    def text(self) -> str:
        """The words of all segments, joined by single spaces."""
        return " ".join(s.text for s in self.segments if s.text)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of all segments in order; empty unless word times were asked for."""
        return tuple(word for segment in self.segments for word in segment.words)


@dataclass(frozen=True, slots=True)
class RecognizeOptions:
    """What a caller may ask of an engine; engines ignore what they cannot honour.

    Args:
        language: ISO 639-1 code, None to let the engine find out.
        prompt: text that precedes the speech, for style and spelling.
        hotwords: words to expect.
        temperature: sampling temperature in [0, 1]; 0 searches.
        segment_times: give segments as short as the engine can tell, as subtitles need them;
            some engines hear better when they need not.
        word_times: also give the time of each word.
        quality: how much to spend: ``fast``, ``balanced``, ``accurate``, or the name of one of the
            model's operating points; None leaves it to how the model is set.
        max_latency_ms: the longest that an answer may lag behind, as it was measured.
        max_error: the highest error rate, as it was measured.
    """

    language: str | None = None
    prompt: str | None = None
    hotwords: tuple[str, ...] = ()
    temperature: float = 0.0
    segment_times: bool = False
    word_times: bool = False
    quality: str | None = None
    max_latency_ms: float | None = None
    max_error: float | None = None


class Stream(Protocol):
    """One speaker's state. Not shared between threads."""

    def accept(self, samples: Samples) -> None:
        """Take the next samples, at the engine's rate."""

    def results(self) -> Hypothesis:
        """What is believed so far; later audio may still add to it."""

    def finish(self) -> Hypothesis:
        """No more audio will come: the final belief."""


@runtime_checkable
class Engine(Protocol):
    """Something that recognises. Shared between threads; holds weights, no speaker's state.

    ``invents_on_silence`` marks engines that must only be given stretches with speech.
    ``max_seconds`` is the longest input that `recognize` takes in one piece.
    """

    name: str
    sample_rate: int
    max_seconds: float
    invents_on_silence: bool

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise one stretch of at most ``max_seconds``."""

    def close(self) -> None:
        """Let go of the weights."""


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """An engine that also answers while audio is still coming in."""

    def stream(self) -> Stream:
        """A new stream, independent of all others."""
