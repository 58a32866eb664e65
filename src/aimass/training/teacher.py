"""What a teacher says of the sound that students hear: asked once, its likeliest outputs kept.

A teacher that hears clean sound while its student hears noise asks for what nobody can know. So it
hears the utterances of each pass as they sound there (Beyer et al. 2022, "Knowledge distillation: a
good teacher is patient and consistent"); only spectrogram masks, which are drawn anew in every
epoch, are the student's alone. What it says of a pass is kept for all students, whatever their
front end, as the `keep` likeliest outputs of each row and the mass of the rest, which is spread
evenly when it is read. Deleting it costs time alone.
"""

import json
import math
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from aimass.audio.resample import resample
from aimass.base.contract import Progress, Samples, no_progress
from aimass.base.digests import of_value
from aimass.base.errors import TrainingError
from aimass.base.files import new_folder, write_json
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract_batch
from aimass.training.passes import Passes, Utterance, alone

LogProbs = npt.NDArray[np.float32]
"""Log-probabilities ``(rows, outputs)``; one row where a label is given."""

NEVER = -100.0
"""The least log-probability that is kept."""
ABOUT = "about.json"
ARRAYS = {"ids": "<u2", "logs": "<f2", "rest": "<f2", "ends": "<i8"}


class Heard:
    """Some utterances of a pass, as a teacher may want to hear them.

    Args:
        sound: gives them at `rate`; called when first asked for, as replaying a pass takes time.
        tail: seconds of silence that they end in.
        frames: features of them that are at hand, in half precision.
    """

    def __init__(
        self,
        sound: Callable[[], list[Samples]],
        rate: int,
        tail: float,
        frames: dict[FeatureSpec, list[Frames]],
    ) -> None:
        self._sound = lru_cache(maxsize=1)(sound)
        self._rate = rate
        self._tail = tail
        self._frames = frames

    def sound(self, rate: int, tail: float = 0.0) -> list[Samples]:
        """The samples at a rate, with `tail` seconds of silence behind them at least."""
        missing = np.zeros(max(0, round((tail - self._tail) * rate)), np.float32)
        return [
            np.concatenate([resample(samples, self._rate, rate), missing])
            for samples in self._sound()
        ]

    def features(self, spec: FeatureSpec, tail: float) -> list[Frames]:
        """The frames of a front end, rounded as those of a pass are, wherever they come from.

        So what a teacher says does not depend on which student was the first to ask it.
        """
        if spec in self._frames and tail <= self._tail:
            return self._frames[spec]
        frames = extract_batch(self.sound(spec.sample_rate, tail), spec)
        return [one.astype(np.float16).astype(np.float32) for one in frames]


class Teacher(Protocol):
    """Who speaks of sound in posteriors over the outputs of its students."""

    @property
    def outputs(self) -> int:
        """The width of its rows."""

    @property
    def row_seconds(self) -> float:
        """Time between two rows; 0 where there is one for an utterance."""

    @property
    def inputs(self) -> list[Any]:
        """What decides its rows, as plain values."""

    def __call__(self, heard: Heard) -> list[LogProbs]:
        """The rows of each utterance."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a teacher said of some utterances.

    Args:
        ids: the likeliest outputs of each row, the likeliest first, ``(rows, keep)``.
        logs: their log-probabilities, half precision.
        rest: the logarithm of the mass of all others, ``(rows,)``.
        ends: where the rows of each utterance end.
        outputs: how many there are.
    """

    ids: npt.NDArray[np.uint16]
    logs: npt.NDArray[np.float16]
    rest: npt.NDArray[np.float16]
    ends: npt.NDArray[np.int64]
    outputs: int
    row_seconds: float = 0.0

    @classmethod
    def of(cls, rows: Sequence[LogProbs], keep: int, row_seconds: float = 0.0) -> "Said":
        """Keep the `keep` likeliest outputs of each row."""
        whole = np.concatenate(rows).astype(np.float64)
        whole -= np.logaddexp.reduce(whole, axis=1, keepdims=True)
        kept = min(keep, whole.shape[1])
        split = np.argpartition(-whole, kept - 1, axis=1)
        ids = np.sort(split[:, :kept], axis=1)  # of equally likely outputs the first comes first
        logs = np.take_along_axis(whole, ids, axis=1)
        order = np.argsort(-logs, axis=1, kind="stable")
        others = np.take_along_axis(whole, split[:, kept:], axis=1)
        rest = np.logaddexp.reduce(others, axis=1, initial=-np.inf)
        return cls(
            np.take_along_axis(ids, order, axis=1).astype(np.uint16),
            np.maximum(np.take_along_axis(logs, order, axis=1), NEVER).astype(np.float16),
            np.maximum(rest, NEVER).astype(np.float16),
            np.cumsum([len(one) for one in rows], dtype=np.int64),
            whole.shape[1],
            row_seconds,
        )

    @classmethod
    def joined(cls, parts: Sequence["Said"]) -> "Said":
        """What was said of several lists of utterances, as of one."""
        lengths = [np.diff(part.ends, prepend=0) for part in parts]
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.logs for part in parts]),
            np.concatenate([part.rest for part in parts]),
            np.cumsum(np.concatenate(lengths)),
            parts[0].outputs,
            parts[0].row_seconds,
        )

    def rows(self, utterance: int) -> LogProbs:
        """The rows of one utterance; their probabilities add up to 1 but for rounding."""
        first = int(self.ends[utterance - 1]) if utterance else 0
        own = slice(first, int(self.ends[utterance]))
        others = self.outputs - self.ids.shape[1]
        even = self.rest[own].astype(np.float32) - math.log(max(1, others))
        found = np.repeat(even[:, None], self.outputs, axis=1)
        np.put_along_axis(
            found, self.ids[own].astype(np.int64), self.logs[own].astype(np.float32), axis=1
        )
        return found

    @property
    def residual(self) -> float:
        """The mean mass that was spread evenly over the outputs that are not kept."""
        return float(np.exp(self.rest.astype(np.float64)).mean())


class Lessons:
    """What a teacher says of passes, on disk.

    Args:
        folder: where it is kept, one folder a pass, named by the digest of what decides it.
        keep: likeliest outputs of each row.

    Raises:
        TrainingError: nothing kept, or more outputs than can be numbered.
    """

    def __init__(
        self,
        passes: Passes,
        teacher: Teacher,
        folder: Path,
        keep: int = 20,
        progress: Progress = no_progress,
    ) -> None:
        most = int(np.iinfo(np.uint16).max)
        if keep < 1 or teacher.outputs > most:
            raise TrainingError(
                f"{keep} kept of {teacher.outputs} outputs of a teacher",
                expected=f"one or more, of at most {most} outputs",
                fix="Correct 'keep', or take a teacher with fewer tokens",
            )
        self.passes = passes
        self.teacher = teacher
        self.keep = keep
        self._folder = folder
        self._progress = progress
        self._loaded = lru_cache(maxsize=2)(self._load)

    def get(self, number: int) -> Said:
        """What it says of a pass; asked where it is not kept, or where that is damaged."""
        return self._loaded(number)

    def target(self, number: int) -> Path:
        """Where what is said of a pass stands."""
        about = [*self.passes.sound, number, self.teacher.inputs, self.keep]
        return self._folder / f"said-{of_value(about)[:24]}"

    def _load(self, number: int) -> Said:
        target = self.target(number)
        found = _read(target)
        if found is not None:
            return found
        with alone(target):
            found = _read(target)  # of another process that was faster
            if found is None:
                shutil.rmtree(target, ignore_errors=True)
                seconds = self.teacher.row_seconds
                found = Said.joined(
                    [Said.of(self.teacher(h), self.keep, seconds) for h in self._heard(number)]
                )
                with new_folder(target) as fresh:
                    _write(found, fresh)
        return found

    def _heard(self, number: int) -> Iterator[Heard]:
        passes, spec = self.passes, self.passes.frames
        made = passes.get(number)
        done = 0
        for utterances in passes.blocks(number):
            self._progress(f"teacher {number}", done, len(made.groups))
            frames = [made.utterance(done + k) for k in range(len(utterances))]
            at_hand = {spec: frames} if spec is not None else {}
            yield Heard(self._sound(utterances), passes.features.sample_rate, passes.tail, at_hand)
            done += len(utterances)

    def _sound(self, utterances: Sequence[Utterance]) -> Callable[[], list[Samples]]:
        return lambda: self.passes.waveforms(utterances)


def aligned(rows: LogProbs, ratio: float, count: int, blank: int) -> LogProbs:
    """CTC rows at another frame rate, ``(count, outputs)``.

    Of several rows in one frame the one that is least a blank stays, so that no spike is lost or
    halved; a row that lasts several frames is repeated, which means the same to CTC.

    Args:
        ratio: rows in one frame; below 1 where the teacher is the slower one.
    """
    if len(rows) == count and abs(ratio - 1) < 1e-6:
        return rows
    found = np.full((count, rows.shape[1]), NEVER, np.float32)
    found[:, blank] = 0.0  # who has ended says nothing more
    edges = np.floor(np.arange(count + 1) * ratio + 1e-6).astype(np.int64)
    firsts = edges[:-1][edges[:-1] < len(rows)]
    ends = np.minimum(np.maximum(firsts + 1, edges[1 : len(firsts) + 1]), len(rows))
    best = firsts.copy()
    for step in range(1, int((ends - firsts).max(initial=0))):
        others = np.minimum(firsts + step, ends - 1)
        best = np.where(rows[others, blank] < rows[best, blank], others, best)
    found[: len(firsts)] = rows[best]
    return found


def _write(said: Said, folder: Path) -> None:
    sums = {}
    for name, kind in ARRAYS.items():
        array = np.ascontiguousarray(getattr(said, name), kind)
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
        sums[name] = zlib.crc32(array.tobytes())
    write_json(
        folder / ABOUT,
        {
            "outputs": said.outputs,
            "row_seconds": said.row_seconds,
            "residual": said.residual,
            "sums": sums,
        },
    )


def _read(folder: Path) -> Said | None:
    """What was kept; None where it is not all there as it was written."""
    try:
        about = json.loads((folder / ABOUT).read_text())
        arrays = {n: np.load(folder / f"{n}.npy", allow_pickle=False) for n in ARRAYS}
        sums = {name: zlib.crc32(array.tobytes()) for name, array in arrays.items()}
        found = Said(**arrays, outputs=about["outputs"], row_seconds=about["row_seconds"])
        rows = (len(found.logs), len(found.rest), int(found.ends[-1]), found.ids.shape)
        whole = rows == (len(found.ids),) * 3 + (found.logs.shape,)
        return found if whole and sums == about["sums"] else None
    except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError):
        return None
