"""The types of sound: decoded audio, what a header says of it, and how much is allowed."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Samples
from aimass.base.settings import settings

Frames = npt.NDArray[np.float32]
"""Samples of every channel in [-1, 1], shape ``(channels, samples)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Decoded sound.

    Args:
        samples: float32 in [-1, 1], shape ``(channels, samples)``.
        rate: samples per second.
    """

    samples: Frames
    rate: int

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return int(self.samples.shape[0])

    @property
    def duration(self) -> float:
        """Seconds."""
        return float(self.samples.shape[1] / self.rate)

    def mono(self) -> Samples:
        """The mean of the channels, shape ``(samples,)``; one channel is given without a copy."""
        if self.channels == 1:
            only: Samples = self.samples[0]
            return only
        mean: Samples = self.samples.mean(axis=0, dtype=np.float32)
        return mean


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What can be known without decoding everything.

    Args:
        container: as named by `aimass.audio.sniff.sniff`.
        codec: in the words of the decoder, lower case, such as ``pcm_16`` or ``aac``.
        rate: samples per second as they are decoded.
        channels: as they are decoded.
        duration: seconds that the container declares or the decoder estimates.
        bytes: size of the file.
    """

    container: str
    codec: str
    rate: int
    channels: int
    duration: float | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much audio is accepted.

    Args:
        max_bytes: size of the file.
        max_seconds: duration, declared and decoded.
        max_channels: most channels that are mixed or split.
        min_bytes_per_second: audio of over ten minutes with fewer bytes for each second than
            this is a decompression bomb.
    """

    max_bytes: int
    max_seconds: float
    max_channels: int
    min_bytes_per_second: float

    @classmethod
    def from_settings(cls) -> Self:
        """The limits of this process."""
        chosen = settings()
        return cls(
            max_bytes=chosen.max_upload_mb * 1_000_000,
            max_seconds=chosen.max_duration_s,
            max_channels=chosen.max_channels,
            min_bytes_per_second=chosen.min_bytes_per_second,
        )
