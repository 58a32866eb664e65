"""Decode any accepted container, in blocks or whole, within limits.

The order of work is the order of cost: the size of the file, its first bytes, what its header
claims, what the decoder declares, and only then samples, counted while they come.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from aimass.audio.claims import read_claims
from aimass.audio.readers import Reader, open_reader
from aimass.audio.resample import Resampler
from aimass.audio.sniff import HEAD_BYTES, sniff
from aimass.audio.source import Opened, Source, opened
from aimass.audio.types import Audio, AudioInfo, Frames, Limits
from aimass.base.errors import (
    AudioTooLarge,
    CorruptAudio,
    EmptyAudio,
    InvalidSamples,
    SilentAudio,
    TruncatedAudio,
    UnsupportedChannels,
    UnsupportedRate,
)

__all__ = ["Source", "blocks", "load", "probe"]

MIN_RATE, MAX_RATE = 8_000, 48_000
_STEP = 1 / 32768
_LOUDEST = 100.0  # float files may overshoot 1; ones that hold integers go far beyond this
_BOMB_SECONDS = 600.0
_SHORT_SECONDS = 0.25  # encoder delay and padding that a declared duration may include


def probe(source: Source, limits: Limits | None = None) -> AudioInfo:
    """Say what the audio is without decoding it.

    Raises:
        AudioError: as `blocks`, as far as it shows before decoding.
    """
    with _reader(source, limits or Limits.from_settings()) as (reader, _):
        return reader.info


def blocks(
    source: Source,
    *,
    rate: int | None = None,
    split: bool = False,
    limits: Limits | None = None,
    block_seconds: float = 10.0,
) -> Iterator[Audio]:
    """Decode in bounded memory; the samples do not depend on ``block_seconds``.

    Args:
        source: a path, bytes or a seekable binary file.
        rate: resample to this; as recorded when None.
        split: keep the channels apart instead of their mean.
        limits: those of the settings when None.
        block_seconds: length of every block but the last.

    Yields:
        Blocks of shape ``(1, n)``, or ``(channels, n)`` with ``split``.

    Raises:
        AudioError: the one of its subclasses that says what is wrong. `SilentAudio`,
            `TruncatedAudio`, `InvalidSamples` and `CorruptAudio` may come after good blocks.
    """
    limits = limits or Limits.from_settings()
    with _reader(source, limits) as (reader, file):
        target = rate or reader.info.rate
        checked = _checked(reader, file, limits)
        if not split:
            checked = (_mix(frames) for frames in checked)
        pieces = _resampled(checked, reader, target, reader.info.channels if split else 1)
        for samples in _reblocked(pieces, max(1, round(block_seconds * target))):
            yield Audio(samples, target)


def load(
    source: Source,
    *,
    rate: int | None = None,
    split: bool = False,
    limits: Limits | None = None,
) -> Audio:
    """Decode the whole recording: the blocks of `blocks` put together.

    Raises:
        AudioError: as `blocks`.
    """
    parts = list(blocks(source, rate=rate, split=split, limits=limits, block_seconds=60.0))
    if not parts:
        raise _empty("the audio")
    if len(parts) == 1:
        return parts[0]
    return Audio(np.concatenate([part.samples for part in parts], axis=1), parts[0].rate)


@contextmanager
def _reader(source: Source, limits: Limits) -> Iterator[tuple[Reader, Opened]]:
    with opened(source, limits.max_bytes) as file:
        container = sniff(file.at(0, HEAD_BYTES))
        claims = read_claims(file, container)
        if claims.channels is not None and claims.rate is not None:
            _check_form(claims.rate, claims.channels, limits)
        reader = open_reader(file, container, claims)
        try:
            info = reader.info
            _check_form(info.rate, info.channels, limits)
            if info.duration is not None and reader.counted:  # estimates refuse nobody
                _check_length(info.duration, file.size, limits, "declares")
                if info.duration == 0:
                    raise _empty(file.name)
            yield reader, file
        finally:
            reader.close()


def _check_form(rate: int, channels: int, limits: Limits) -> None:
    if not 0 < channels <= limits.max_channels:
        raise UnsupportedChannels(
            f"found {channels} channels",
            expected=f"1 to {limits.max_channels}",
            fix="Mix it down with: ffmpeg -i INPUT -ac 1 output.wav",
        )
    if not MIN_RATE <= rate <= MAX_RATE:
        raise UnsupportedRate(
            f"found a sample rate of {rate} Hz",
            expected=f"{MIN_RATE} to {MAX_RATE} Hz",
            fix="Resample it with: ffmpeg -i INPUT -ar 16000 output.wav",
        )


def _check_length(seconds: float, size: int, limits: Limits, verb: str) -> None:
    if seconds > limits.max_seconds:
        raise AudioTooLarge(
            f"the audio {verb} {seconds:.0f} s or more",
            expected=f"at most {limits.max_seconds:g} s",
            fix="Split the recording, or raise AIMASS_MAX_DURATION_S",
        )
    if seconds > _BOMB_SECONDS and size < seconds * limits.min_bytes_per_second:
        raise AudioTooLarge(
            f"{size} bytes that {'unpack' if verb == 'decodes to' else 'claim'} to be "
            f"{seconds:.0f} s of audio",
            expected=f"at least {limits.min_bytes_per_second:g} bytes for each second",
            fix="Cut long silence out, or lower AIMASS_MIN_BYTES_PER_SECOND",
        )


def _checked(reader: Reader, file: Opened, limits: Limits) -> Iterator[Frames]:
    """The reader's frames, measured as they pass; what only the end tells is raised there."""
    info, count, low, high = reader.info, 0, np.inf, -np.inf
    for frames in reader.frames():
        count += frames.shape[1]
        _check_length(count / info.rate, file.size, limits, "decodes to")
        least, most = float(frames.min()), float(frames.max())
        # Before they join the others: min() and max() of Python drop a NaN, but here it
        # compares false.
        if not (least >= -_LOUDEST and most <= _LOUDEST):
            raise _invalid(file.name, frames)
        low, high = min(low, least), max(high, most)
        yield frames
    if count == 0:
        raise _empty(file.name)
    if reader.counted and info.duration and count / info.rate < info.duration - _SHORT_SECONDS:
        kind = CorruptAudio if reader.whole else TruncatedAudio
        raise kind(
            f"{file.name} decodes to {count / info.rate:.2f} s of the {info.duration:.2f} s it "
            "declares",
            expected="as much audio as the header says",
            fix="Send it again: the upload or the recording was interrupted or damaged",
        )
    if max(high, -low) <= _STEP:
        raise SilentAudio(
            f"{file.name} is digital silence for all of its {count / info.rate:.2f} s",
            expected="sound",
            fix="Check the microphone, its mute switch and the recorded channel",
        )


def _invalid(name: str, frames: Frames) -> InvalidSamples:
    finite = np.isfinite(frames)
    found = (
        f"samples up to {np.abs(frames).max():.3g}" if finite.all() else "NaN or infinite samples"
    )
    return InvalidSamples(
        f"{name} holds {found}",
        expected="numbers from -1 to 1",
        fix="Export it again, scaled, as 16-bit PCM",
    )


def _empty(name: str) -> EmptyAudio:
    return EmptyAudio(
        f"{name} holds no samples", expected="a recording", fix="Check that it was finished"
    )


def _mix(frames: Frames) -> Frames:
    return frames if len(frames) == 1 else frames.mean(axis=0, dtype=np.float32)[None]


def _resampled(
    pieces: Iterator[Frames], reader: Reader, target: int, channels: int
) -> Iterator[Frames]:
    if target == reader.info.rate:
        yield from pieces
        return
    resampler = Resampler(reader.info.rate, target, channels)
    for frames in pieces:
        yield resampler.accept(frames)
    yield resampler.finish()


def _reblocked(pieces: Iterator[Frames], size: int) -> Iterator[Frames]:
    """The same samples in contiguous blocks of ``size``, the last one shorter."""
    held: list[Frames] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += piece.shape[1]
        if count < size:
            continue
        joined = np.concatenate(held, axis=1)
        whole = count - count % size
        for start in range(0, whole, size):
            yield np.ascontiguousarray(joined[:, start : start + size])
        held, count = [joined[:, whole:].copy()], count - whole
    if count:
        yield np.ascontiguousarray(np.concatenate(held, axis=1))
