"""Two decoders behind one small form: libsndfile, and FFmpeg for what it does not read."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

import av
import numpy as np
import numpy.typing as npt
import soundfile

from aimass.audio.claims import Claims
from aimass.audio.source import Opened
from aimass.audio.types import AudioInfo, Frames
from aimass.base.errors import AudioError, CorruptAudio, EmptyAudio, TruncatedAudio

_VALUES = 1 << 16
"""Values decoded at a time, over all channels."""

_SNDFILE = frozenset({"wav", "rf64", "w64", "aiff", "au", "flac", "mp3", "ogg"})
_DEMUXERS = {"rf64": "wav", "webm": "matroska", "mp4": "mov", "adts": "aac"}
_CODECS = (
    "aac,aac_fixed,alac,flac,opus,libopus,vorbis,libvorbis,mp1float,mp2float,mp3float,mp1,mp2,mp3,"
    "ac3,eac3,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,gsm,gsm_ms,g722,speex,libspeex,"
    "pcm_s8,pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,"
    "pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_mulaw,pcm_alaw"
)


class Reader(Protocol):
    """A file that is being decoded.

    ``counted`` says that the declared duration is no estimate, ``whole`` that the container
    told its end and no byte is missing.
    """

    info: AudioInfo
    counted: bool
    whole: bool

    def frames(self) -> Iterator[Frames]:
        """All samples in order, ``(channels, n)`` of any ``n``."""

    def close(self) -> None:
        """Let go of the decoder, not of the file."""


def open_reader(source: Opened, container: str, claims: Claims) -> Reader:
    """Open with libsndfile where it reads the container, otherwise or failing that with FFmpeg.

    Raises:
        AudioError: neither decodes it.
    """
    source.file.seek(0)
    if container in _SNDFILE and not claims.needs_ffmpeg:
        with suppress(Exception):  # whatever it finds wrong, FFmpeg has the last word
            return SndfileReader(source, container, claims)
    source.file.seek(0)
    return FFmpegReader(source, container, claims)


def _damaged(source: Opened, claims: Claims, error: Exception) -> AudioError:
    # Where the container told its end, no byte is missing; elsewhere a decoder that fails on
    # the last bytes most likely met a cut.
    cut = claims.end is None and source.file.tell() >= source.size
    kind = TruncatedAudio if cut else CorruptAudio
    return kind(
        f"{source.name} does not decode ({error})",
        expected="a complete and undamaged recording",
        fix="Check that it plays, then send it again or convert it with: ffmpeg -i INPUT out.wav",
    )


class _Quiet:
    """A file for libsndfile, which seeks before the start when a damaged header says so.

    An exception within its callback could not be caught: it would be printed.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.tell, self._seek = file.tell, file.seek
        self.read, self.readinto = file.read, getattr(file, "readinto", None)
        if self.readinto is None:
            del self.readinto  # soundfile then reads

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go there, or stay where that is nowhere."""
        with suppress(OSError, ValueError, OverflowError):
            self._seek(offset, whence)
        return self.tell()


class SndfileReader:
    """libsndfile: WAV and its kin, FLAC, MP3, Ogg Vorbis and Opus."""

    def __init__(self, source: Opened, container: str, claims: Claims) -> None:
        self._source, self._claims = source, claims
        self.whole = claims.end is not None
        self._file: Any = soundfile.SoundFile(_Quiet(source.file))
        # soundfile seeks after every read of a seekable file, which restarts lossy decoders.
        self._file.seekable = lambda: False
        count = self._file.frames
        self.counted = claims.counted
        self.info = AudioInfo(
            container=container,
            codec=self._file.subtype.lower(),
            rate=self._file.samplerate,
            channels=self._file.channels,
            # FLAC written to a pipe does not know its length; libsndfile then says 2**63 - 1.
            duration=count / self._file.samplerate if count < 1 << 62 else None,
            bytes=source.size,
        )

    def frames(self) -> Iterator[Frames]:
        """All samples in order, ``(channels, n)``."""
        count = max(1, _VALUES // self.info.channels)
        while True:
            try:
                block = self._file.read(count, dtype="float32", always_2d=True)
            except Exception as error:  # a decoder may raise anything for hostile bytes
                raise _damaged(self._source, self._claims, error) from error
            if len(block):
                yield block.T
            if len(block) < count:
                return

    def close(self) -> None:
        """Let go of the decoder."""
        self._file.close()


class FFmpegReader:
    """FFmpeg through PyAV: the first audio stream of a container named beforehand."""

    def __init__(self, source: Opened, container: str, claims: Claims) -> None:
        self._source, self._claims = source, claims
        self.whole = claims.end is not None
        try:
            self._container = av.open(
                source.file,
                "r",
                format=_DEMUXERS.get(container, container),
                # Nothing but the given bytes and the decoders we know: no nested addresses,
                # no video decoders on pictures that nobody looks at.
                options={"protocol_whitelist": "none", "codec_whitelist": _CODECS},
                io_open=_refuse_to_open,
            )
        except Exception as error:
            raise _damaged(source, claims, error) from error
        try:
            self._start(container)
        except BaseException:
            self._container.close()
            raise

    def _start(self, container: str) -> None:
        streams = self._container.streams.audio
        if not streams:
            raise EmptyAudio(
                f"{self._source.name} holds no audio stream",
                expected="at least one",
                fix="Send a recording with sound",
            )
        stream = streams[0]
        self._decoded: Iterator[Any] = self._decode(stream)
        # Only a decoded frame tells the true rate: AAC may double what its header says.
        self._first = next(self._decoded, None)
        if self._first is None:
            raise EmptyAudio(
                f"{self._source.name} holds no samples",
                expected="a recording",
                fix="Check that the recording was finished",
            )
        duration, own = None, False
        if stream.duration is not None and stream.time_base is not None:
            duration, own = float(stream.duration * stream.time_base), True
        elif self._container.duration is not None:
            duration = self._container.duration / av.time_base
        # Matroska declares the longest stream, and that may be the picture; raw AAC is guessed.
        alone = own or len(self._container.streams) == 1
        self.counted = self._claims.counted and alone and container != "adts"
        self.info = AudioInfo(
            container=container,
            codec=stream.codec_context.name,
            rate=self._first.sample_rate,
            channels=len(self._first.layout.channels),
            duration=duration if duration is None or duration >= 0 else None,
            bytes=self._source.size,
        )

    def _decode(self, stream: Any) -> Iterator[Any]:
        try:
            if stream.codec_context.name not in _CODECS.split(","):
                raise ValueError(f"codec {stream.codec_context.name} is not accepted")
            yield from self._container.decode(stream)
        except Exception as error:  # a decoder may raise anything for hostile bytes
            raise _damaged(self._source, self._claims, error) from error

    def frames(self) -> Iterator[Frames]:
        """All samples in order, ``(channels, n)``; short frames are put together."""
        held, values = [_to_float(self._first)], 0
        for frame in self._decoded:
            if (frame.sample_rate, len(frame.layout.channels)) != (
                self.info.rate,
                self.info.channels,
            ):
                raise _damaged(
                    self._source, self._claims, ValueError("its rate or channels change midway")
                )
            held.append(_to_float(frame))
            values += held[-1].size
            if values >= _VALUES:
                yield np.concatenate(held, axis=1)
                held, values = [], 0
        if held:
            yield np.concatenate(held, axis=1)

    def close(self) -> None:
        """Let go of the decoder."""
        self._container.close()


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError(f"a container may not open {url!r}")


def _to_float(frame: Any) -> Frames:
    data: npt.NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, len(frame.layout.channels)).T
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - np.float32(128)) / np.float32(128)
    if data.dtype.kind == "i":
        return data.astype(np.float32) * np.float32(2.0 ** (1 - 8 * data.dtype.itemsize))
    return data.astype(np.float32, copy=False)
