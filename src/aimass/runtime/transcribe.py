"""A recording to its transcript, in bounded memory: decode, cut at pauses, recognise in order."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aimass.audio.decode import Source, blocks, probe
from aimass.audio.segment import Stretch, segments
from aimass.audio.types import Audio, Limits
from aimass.audio.voice import voice_activity
from aimass.base.contract import (
    Engine,
    Hypothesis,
    Progress,
    RecognizeOptions,
    Segment,
    Transcript,
    no_progress,
)
from aimass.base.errors import RequestError
from aimass.runtime.load import load

SPEECH = 0.2  # below this highest probability a stretch is taken to hold no speech at all


@dataclass(frozen=True, slots=True)
class Heard:
    """What one stretch of a recording says, with times in the whole recording.

    Args:
        start, end: the stretch, seconds.
        hypothesis: its segments; none where nobody speaks.
    """

    start: float
    end: float
    hypothesis: Hypothesis


def hear(
    source: Source,
    engine: Engine,
    options: RecognizeOptions | None = None,
    *,
    channel: int | None = None,
    limits: Limits | None = None,
) -> Iterator[Heard]:
    """Recognise a recording stretch by stretch; each step holds one stretch in memory.

    Args:
        source: path, bytes or a seekable file object.
        channel: recognise this channel alone; all are mixed when None.
        limits: of size and duration; those of the settings when None.

    Raises:
        AudioError: a recording that cannot be read, also after some stretches were given.
        RequestError: a channel that the recording does not have.
    """
    options = options or RecognizeOptions()
    sound = blocks(source, rate=engine.sample_rate, split=channel is not None, limits=limits)
    if channel is not None:
        sound = (_only(block, channel) for block in sound)
    return hear_blocks(sound, engine, options)


def hear_blocks(
    sound: Iterable[Audio], engine: Engine, options: RecognizeOptions
) -> Iterator[Heard]:
    """Recognise sound that is decoded already, as consecutive blocks at the engine's rate."""
    # Loudness is enough to find a pause; only an engine that invents words needs to know speech.
    voice = voice_activity() if engine.invents_on_silence else None
    for stretch in segments(sound, max_seconds=engine.max_seconds, voice=voice):
        yield _heard(stretch, engine, options)


def _only(block: Audio, channel: int) -> Audio:
    if not 0 <= channel < block.channels:
        raise RequestError(
            f"channel {channel} of a recording with {block.channels}",
            expected=f"0 to {block.channels - 1}",
            fix="Correct the channel",
            param="channel",
        )
    return Audio(block.samples[channel : channel + 1], block.rate)


def _heard(stretch: Stretch, engine: Engine, options: RecognizeOptions) -> Heard:
    end = stretch.start + len(stretch.samples) / engine.sample_rate
    if engine.invents_on_silence and stretch.speech < SPEECH:
        return Heard(stretch.start, end, Hypothesis())
    found = engine.recognize(stretch.samples, options)
    moved = tuple(segment.shifted(stretch.start) for segment in found.segments)
    return Heard(stretch.start, end, Hypothesis(moved, found.language))


def transcribe(
    source: Source,
    model: str | Engine | None = None,
    options: RecognizeOptions | None = None,
    *,
    channel: int | None = None,
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> Transcript:
    """The transcript of a recording.

    Args:
        model: a name such as ``whisper-base`` or ``digits@production``, or a loaded engine.

    Raises:
        AudioError: a recording that cannot be read.
        UnknownModel: no model of that name.
    """
    engine = load(model) if model is None or isinstance(model, str) else model
    total = None
    if progress is not no_progress:
        seconds = probe(source, limits).duration
        total = round(seconds) if seconds else None
    heard = []
    for step in hear(source, engine, options, channel=channel, limits=limits):
        heard.append(step)
        progress("transcribe", round(step.end), total)
    return put_together(heard, engine.name, channel)


def put_together(heard: list[Heard], model: str, channel: int | None = None) -> Transcript:
    """One transcript from the stretches of a recording."""
    found: tuple[Segment, ...] = tuple(s for h in heard for s in h.hypothesis.segments)
    languages = [h.hypothesis.language for h in heard if h.hypothesis.language]
    return Transcript(
        segments=found,
        duration=heard[-1].end if heard else 0.0,
        model=model,
        language=max(set(languages), key=languages.count) if languages else None,
        channel=channel,
    )
