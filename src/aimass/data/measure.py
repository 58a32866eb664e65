"""What recordings hold: each is decoded once and measured, and remembered by its content.

Levels are in dB below full scale (dBFS), at least `FLOOR_DB`. The memory is a small SQLite file:
a recording is known by path, size and time of change, else by the digest of its bytes, so that
adding recordings measures those alone and moving them measures none. It is safe to delete.
"""

import hashlib
import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aimass.audio.decode import blocks
from aimass.base.contract import Progress, no_progress
from aimass.base.digests import of_file
from aimass.base.errors import AudioError
from aimass.data.corpus import Clip

FLOOR_DB = -120.0
CACHE = "measurements.sqlite"
MISSING, SILENT = "audio_not_found", "silent_audio"  # codes of two errors
SHORTER = 0.25  # seconds by which a recording may fall short of the stretch that a label names
_VERSION = 2  # of the measurements: another one is measured anew
_FRAME = 0.01
_BATCH = 512  # recordings between two writes to the memory
_TOP = 0.995  # a sample this near to the highest peak stands at the ceiling

Stretch = tuple[float, float | None]
"""Start and duration of a clip in its recording, seconds; None for all that follows."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One clip as it sounds.

    Args:
        file: SHA-256 of the recording's bytes, empty where there is no file.
        sound: SHA-256 of the clip's sample rate and mono 16-bit samples: the same for a copy in
            another container.
        seconds, rate, channels: of what was decoded.
        peak_db, level_db: highest sample, and root mean square of all.
        loud_db: level of the loudest twentieth of the 10 ms frames: of the speech, not the pauses.
        clipped: share of the samples that stand at the clip's own highest level.
        active: seconds that stand out of the clip's quietest parts.
        begin, end: seconds at which the first of them begins and the last ends.
        fault: code of the `AudioError` met, empty where there was none.
        detail: what that error said.
    """

    file: str = ""
    sound: str = ""
    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    peak_db: float = FLOOR_DB
    level_db: float = FLOOR_DB
    loud_db: float = FLOOR_DB
    clipped: float = 0.0
    active: float = 0.0
    begin: float = 0.0
    end: float = 0.0
    fault: str = ""
    detail: str = ""


@dataclass(slots=True)
class Measured:
    """The measurements of clips by their id, and how many recordings had to be decoded."""

    of: dict[str, Measurement] = field(default_factory=dict)
    decoded: int = 0


def measure(
    clips: Sequence[Clip],
    cache: Path | None = None,
    *,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> Measured:
    """Measure clips, decoding only recordings that are not known yet.

    Args:
        cache: folder of the memory; nothing is remembered when None.
        workers: recordings decoded at once; by default one for each core.
    """
    recordings: dict[Path, list[Clip]] = defaultdict(list)
    for clip in clips:
        recordings[clip.path].append(clip)
    measured = Measured()
    with (
        closing(_Memory(cache)) as memory,
        ThreadPoolExecutor(workers or cores()) as threads,
    ):
        for batch in _batches(recordings):
            _measure_batch(batch, memory, threads, measured)
            progress("measure", len(measured.of), len(clips))
    return measured


def cores() -> int:
    """Cores that this process may use. Decoders let other threads run, so threads are enough."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _measure_batch(
    batch: dict[Path, list[Clip]], memory: "_Memory", threads: ThreadPoolExecutor, into: Measured
) -> None:
    digests = memory.digests(batch, threads)
    wanted: dict[str, set[Stretch]] = defaultdict(set)
    for path, digest in digests.items():
        wanted[digest] |= {_stretch(clip) for clip in batch[path]}
    known = memory.measurements(wanted)
    paths = {digest: path for path, digest in digests.items()}  # of copies one is enough
    jobs = [
        _Job(paths[digest], digest, tuple(sorted(unknown, key=_order)))
        for digest, stretches in wanted.items()
        if (unknown := stretches - known[digest].keys())
    ]
    for job, found in zip(jobs, threads.map(_listen, jobs), strict=True):
        known[job.digest] |= found
        memory.keep(job.digest, found)
    memory.write()
    into.decoded += len(jobs)
    for path, own in batch.items():
        absent = Measurement(fault=MISSING, detail=f"{path} is not there, or cannot be opened")
        for clip in own:
            found_here = path in digests
            into.of[clip.id] = known[digests[path]][_stretch(clip)] if found_here else absent


@dataclass(frozen=True, slots=True)
class _Job:
    """A recording to decode, for stretches of it."""

    path: Path
    digest: str
    stretches: tuple[Stretch, ...]


def _stretch(clip: Clip) -> Stretch:
    return clip.start, clip.duration


def _order(stretch: Stretch) -> tuple[float, float]:
    start, duration = stretch
    return start, -1.0 if duration is None else duration


def _batches(recordings: dict[Path, list[Clip]]) -> Iterator[dict[Path, list[Clip]]]:
    rest = iter(recordings.items())
    while batch := dict(islice(rest, _BATCH)):
        yield batch


def _listen(job: _Job) -> dict[Stretch, Measurement]:
    """Decode a recording once, in bounded memory, and measure stretches of it."""
    found: dict[Stretch, Measurement] = {}
    waiting = {stretch: _Meter(stretch) for stretch in job.stretches}
    fault: AudioError | None = None
    at = 0
    try:
        for audio in blocks(job.path, split=True):
            for meter in waiting.values():
                meter.accept(audio.samples, audio.rate, at)
            at += audio.samples.shape[1]
            for stretch in [one for one, meter in waiting.items() if meter.full]:
                found[stretch] = waiting.pop(stretch).result(job.digest, None)
    except AudioError as error:
        fault = error
    return found | {one: meter.result(job.digest, fault) for one, meter in waiting.items()}


class _Meter:
    """Measures one stretch of a recording as its blocks pass; how they are cut is no matter."""

    def __init__(self, stretch: Stretch) -> None:
        self._start, self._duration = stretch
        self._rate = self._channels = self._count = 0
        self._squares = self._peak = 0.0
        self._digest = hashlib.sha256()
        self._heights = np.zeros(0, np.int64)  # one recording may have thousands of stretches
        self._rest = np.zeros(0, np.float32)
        self._energies: list[npt.NDArray[np.float32]] = []

    @property
    def full(self) -> bool:
        """Whether the stretch is over: nothing that follows belongs to it."""
        return self._duration is not None and self._count >= round(self._duration * self._rate) > 0

    def accept(self, samples: npt.NDArray[np.float32], rate: int, at: int) -> None:
        """Take a block, ``(channels, n)``, that begins `at` samples into the recording."""
        if not self._rate:
            self._rate, self._channels = rate, len(samples)
            self._digest.update(f"{rate}:".encode())
        first = max(0, round(self._start * rate) - at)
        last = samples.shape[1]
        if self._duration is not None:
            last = min(last, round(self._start * rate) + round(self._duration * rate) - at)
        if first < last:
            self._take(samples[:, first:last])

    def _take(self, samples: npt.NDArray[np.float32]) -> None:
        mono = samples[0] if len(samples) == 1 else samples.mean(axis=0, dtype=np.float32)
        self._digest.update(np.clip(np.rint(mono * 32768), -32768, 32767).astype("<i2").tobytes())
        heights = np.abs(samples)
        self._peak = max(self._peak, float(heights.max()))
        levels = np.minimum(heights * 32768, 32768).astype(np.int64).ravel()
        if not self._count:
            self._heights = np.zeros(32769, np.int64)
        self._heights += np.bincount(levels, minlength=32769)
        self._squares += float(np.vdot(mono, mono))
        self._count += len(mono)
        size = max(1, round(_FRAME * self._rate))
        joined = np.concatenate([self._rest, mono])
        whole = len(joined) - len(joined) % size
        frames = joined[:whole].reshape(-1, size)
        self._energies.append(np.einsum("fs,fs->f", frames, frames) / size)
        self._rest = joined[whole:].copy()

    def result(self, digest: str, fault: AudioError | None) -> Measurement:
        """All that was measured, with what went wrong."""
        seconds = self._count / self._rate if self._rate else 0.0
        code, detail = ("", "") if fault is None else (fault.code, str(fault))
        if not code and seconds < (self._duration or 1 / 48000) - SHORTER * bool(self._count):
            code = "truncated_audio"
            detail = f"holds {seconds:.2f} s of the stretch from {self._start:g} s"
        if not self._count:
            return Measurement(file=digest, fault=code, detail=detail)
        loud, active = _activity(np.concatenate(self._energies))
        stands = active.nonzero()[0] * _FRAME
        top = int(_TOP * self._heights.nonzero()[0][-1])
        return Measurement(
            file=digest,
            sound=self._digest.hexdigest(),
            seconds=seconds,
            rate=self._rate,
            channels=self._channels,
            peak_db=round(_db(self._peak**2), 2),
            level_db=round(_db(self._squares / self._count), 2),
            loud_db=round(loud, 2),
            clipped=round(float(self._heights[top:].sum() / self._heights.sum()), 6),
            active=round(min(len(stands) * _FRAME, seconds), 2),
            begin=round(float(stands[0]), 2) if len(stands) else 0.0,
            end=round(min(float(stands[-1]) + _FRAME, seconds), 2) if len(stands) else seconds,
            fault=code,
            detail=detail,
        )


def _activity(energies: npt.NDArray[np.float32]) -> tuple[float, npt.NDArray[np.bool_]]:
    """Level of the loudest frames (dB), and which frames stand out of the quietest ones."""
    if not len(energies):
        return FLOOR_DB, np.zeros(0, bool)
    levels = 10 * np.log10(np.maximum(energies, 10 ** (FLOOR_DB / 10)))
    quiet, loud = np.percentile(levels, [10, 95])
    # Speech without pauses has no quiet part, and in loud noise little stands out of it: the
    # line is never nearer than 6 dB to the loudest frames, nor further than 30 dB.
    line = max(min(max(quiet + 6, loud - 30), loud - 6), -70.0)
    return float(loud), levels > line


def _db(power: float) -> float:
    return float(10 * np.log10(max(power, 10 ** (FLOOR_DB / 10))))


class _Memory:
    """Digests of recordings and measurements of their stretches, in SQLite; one thread's."""

    def __init__(self, folder: Path | None) -> None:
        path: Path | str = ":memory:"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / CACHE
        try:
            self._open(path)
        except sqlite3.DatabaseError:  # a damaged memory is an empty one
            with suppress(FileNotFoundError):
                Path(path).unlink()
            self._open(path)

    def _open(self, path: Path | str) -> None:
        self._base = sqlite3.connect(path, timeout=60)
        for table in (
            "recordings (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT)",
            "measurements (key TEXT PRIMARY KEY, value TEXT)",
        ):
            self._base.execute(f"CREATE TABLE IF NOT EXISTS {table}")

    def digests(self, paths: Iterable[Path], threads: ThreadPoolExecutor) -> dict[Path, str]:
        """Digests of the recordings that are there; only changed ones are read."""
        found: dict[Path, str] = {}
        unread: dict[Path, tuple[int, int]] = {}
        for path in paths:
            try:
                state = path.stat()
                if not path.is_file():
                    continue
            except (OSError, ValueError):  # ValueError: a zero byte in the name
                continue
            row = self._base.execute(
                "SELECT digest FROM recordings WHERE path = ? AND size = ? AND changed = ?",
                (str(path.absolute()), state.st_size, state.st_mtime_ns),
            ).fetchone()
            if row is None:
                unread[path] = state.st_size, state.st_mtime_ns
            else:
                found[path] = row[0]
        for path, digest in zip(unread, threads.map(_digest, unread), strict=True):
            if digest is not None:
                found[path] = digest
                row = (str(path.absolute()), *unread[path], digest)
                self._base.execute("REPLACE INTO recordings VALUES (?, ?, ?, ?)", row)
        return found

    def measurements(
        self, wanted: Mapping[str, Iterable[Stretch]]
    ) -> dict[str, dict[Stretch, Measurement]]:
        """What is known of stretches, by the digest of their recording."""
        known: dict[str, dict[Stretch, Measurement]] = {digest: {} for digest in wanted}
        for digest, stretches in wanted.items():
            for stretch in stretches:
                row = self._base.execute(
                    "SELECT value FROM measurements WHERE key = ?", (_key(digest, stretch),)
                ).fetchone()
                if row is not None:
                    known[digest][stretch] = Measurement(**json.loads(row[0]))
        return known

    def keep(self, digest: str, found: Mapping[Stretch, Measurement]) -> None:
        """Remember measurements; `write` makes them last."""
        rows = [(_key(digest, stretch), json.dumps(asdict(one))) for stretch, one in found.items()]
        self._base.executemany("REPLACE INTO measurements VALUES (?, ?)", rows)

    def write(self) -> None:
        """Make what was kept last, whole or not at all."""
        self._base.commit()

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()


def _key(digest: str, stretch: Stretch) -> str:
    return f"{_VERSION}:{digest}:{stretch[0]!r}:{stretch[1]!r}"


def _digest(path: Path) -> str | None:
    try:
        return of_file(path)
    except OSError:
        return None
