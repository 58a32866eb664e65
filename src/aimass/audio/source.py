"""Where audio comes from: a path, bytes or a file object, all read as one seekable file."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aimass.base.errors import AudioNotFound, AudioTooLarge, EmptyAudio

Source = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the bytes themselves, or a binary file object that can seek."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A seekable file and its size in bytes; ``name`` is what messages call it."""

    file: BinaryIO
    size: int
    name: str

    def at(self, start: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``start``."""
        self.file.seek(start)
        return self.file.read(count)


@contextmanager
def opened(source: Source, max_bytes: int) -> Iterator[Opened]:
    """Open a source for reading from its beginning; file objects stay open afterwards.

    Raises:
        AudioNotFound: no regular file at the path, or a file object that cannot seek.
        EmptyAudio: no bytes.
        AudioTooLarge: more than ``max_bytes``.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        with _open(path) as file:
            yield _sized(file, path.name, max_bytes)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield _sized(io.BytesIO(source), "the audio", max_bytes)
    else:
        yield _sized(source, "the audio", max_bytes)


def _open(path: Path) -> BinaryIO:
    try:
        # Looked at before it is opened: opening a named pipe would wait for a writer.
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            raise _not_found(path, "a folder" if stat.S_ISDIR(kind) else "not a regular file")
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        words = getattr(error, "strerror", None) or str(error)
        raise _not_found(path, words) from error


def _not_found(path: Path, why: str) -> AudioNotFound:
    return AudioNotFound(
        f"{str(path)!r}: {why}",
        expected="the path of an audio file that can be read",
        fix="Check the path and its permissions",
    )


def _sized(file: BinaryIO, name: str, max_bytes: int) -> Opened:
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
    except (OSError, ValueError) as error:
        raise AudioNotFound(
            f"a file object that cannot seek ({error})",
            expected="a path, bytes or a seekable binary file",
            fix="Read it into bytes first",
        ) from error
    if size == 0:
        raise EmptyAudio(
            f"{name} holds no bytes",
            expected="an audio file",
            fix="Check that the recording or upload was finished",
        )
    if size > max_bytes:
        raise AudioTooLarge(
            f"{name} has {size / 1e6:.1f} MB",
            expected=f"at most {max_bytes / 1e6:g} MB",
            fix="Split the file, compress it as FLAC or Opus, or raise AIMASS_MAX_UPLOAD_MB",
        )
    return Opened(file, size, name)
