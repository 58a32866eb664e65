"""Stages whose output is named by the digest of their inputs, so that a build resumes."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

from aimass.base.digests import of_value
from aimass.base.errors import ServiceError
from aimass.base.files import new_folder, write_json
from aimass.data.corpus import Corpus


class Stages:
    """The finished and half-finished stages of one scenario.

    Args:
        folder: where they stand, one folder each, such as ``train-0f3a…``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reused: list[str] = []
        self._made = set[Path]()

    def run(self, name: str, inputs: Any, work: Callable[[Path], None]) -> Path:
        """The output folder of a stage; `work` fills it unless it was filled before.

        Args:
            inputs: JSON-able values that decide the output, all of them.
            work: writes into the fresh folder it is given.
        """
        target = self.target(name, inputs)
        if target.is_dir():
            if target not in self._made:  # it is there from an earlier build
                self.reused.append(name)
            return target
        with new_folder(target) as fresh:
            work(fresh)
            write_json(fresh / "inputs.json", inputs)
        self._made.add(target)
        return target

    def scratch(self, name: str, inputs: Any) -> Path:
        """A folder for the state of a stage that is under way, kept until the stage is done."""
        folder = self.folder / "unfinished" / self.target(name, inputs).name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def target(self, name: str, inputs: Any) -> Path:
        """Where the output of a stage stands, or will stand."""
        return self.folder / f"{name}-{of_value([name, inputs])[:16]}"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the scenario's builds for this process; the lock goes with the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except OSError as error:
                raise ServiceError(
                    f"another build of this scenario is running in {self.folder}",
                    expected="one build of a scenario at a time",
                    fix="Wait for it, or stop it",
                ) from error
            for fresh in self.folder.glob(".*-*"):  # half a stage that a killed build left
                shutil.rmtree(fresh, ignore_errors=True)
            yield


def fingerprint(corpus: Corpus) -> list[Any]:
    """What decides the content of a corpus, without reading its sound.

    Recordings count by name, size and time of change; a copy of the data is new data.
    """
    rows = []
    for clip in corpus.clips:
        state = clip.path.stat()
        label = (
            clip.text,
            clip.speaker,
            clip.split,
            clip.language,
            clip.start,
            clip.duration,
            clip.synthetic,
        )
        rows.append([clip.id, str(clip.path), *label, state.st_size, state.st_mtime_ns])
    gone = [[one.id, one.what, one.split, one.found] for one in corpus.missing]
    return [str(corpus.source.resolve()), corpus.licence, rows, gone]
