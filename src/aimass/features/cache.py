"""Features kept on disk, named by what was heard and how.

::

    FOLDER/1-0d5be1.../a7/f31c....npy    version and spec, then the audio, spread over 256 folders

A file is an array as `numpy.save` writes it, in float32 so that cached frames are the fresh ones,
and a checksum behind it. It appears whole or not at all. Whatever is missing or damaged is computed
again, so any of it may be deleted at any moment, also while others read and write.
"""

import io
import logging
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from aimass.base.digests import of_value
from aimass.base.files import write_bytes
from aimass.features.spec import FeatureSpec, Frames

VERSION = 1
"""Raised when the same spec comes to mean other frames."""

_log = logging.getLogger(__name__)


class Cache:
    """Features in a folder that any number of processes may share.

    Args:
        folder: made when the first features are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writable = True

    def get(self, audio: str, spec: FeatureSpec, make: Callable[[], Frames]) -> Frames:
        """The features of one recording, made when they are not here.

        Args:
            audio: what names the samples: the digest of a file, with the part of it if not all.
            make: gives the features, shape ``(frames, spec.columns)``.
        """
        return self.get_batch([audio], spec, lambda _: [make()])[0]

    def get_batch(
        self,
        audio: Sequence[str],
        spec: FeatureSpec,
        make: Callable[[list[int]], Sequence[Frames]],
    ) -> list[Frames]:
        """The features of several recordings.

        Args:
            make: told which of them are not here, gives the features of these, in order.
        """
        paths = [self._path(name, spec) for name in audio]
        found = [_read(path, spec) for path in paths]
        missing = [index for index, frames in enumerate(found) if frames is None]
        made = make(missing) if missing else []
        for index, frames in zip(missing, made, strict=True):
            self._keep(paths[index], frames)
            found[index] = frames
        return [frames for frames in found if frames is not None]

    def _path(self, audio: str, spec: FeatureSpec) -> Path:
        name = of_value(audio)  # whatever a caller takes for a name, this is a safe one
        return self._folder / f"{VERSION}-{spec.digest[:16]}" / name[:2] / f"{name[2:]}.npy"

    def _keep(self, path: Path, frames: Frames) -> None:
        """Write the features; a cache that cannot is slow, and no reason to stop."""
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(frames, np.float32), allow_pickle=False)
        content = buffer.getvalue()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content + zlib.crc32(content).to_bytes(4))
        except OSError as error:
            # The folder may have been deleted just now; other causes are told once.
            if self._writable and not isinstance(error, FileNotFoundError):
                self._writable = False
                _log.warning("features are not kept in %s: %s", self._folder, error)


def _read(path: Path, spec: FeatureSpec) -> Frames | None:
    try:
        content = path.read_bytes()
        if zlib.crc32(content[:-4]) != int.from_bytes(content[-4:]):
            return None
        frames = np.load(io.BytesIO(content[:-4]), allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    fits = isinstance(frames, np.ndarray) and frames.dtype == np.float32
    return frames if fits and frames.shape[1:] == (spec.columns,) else None
