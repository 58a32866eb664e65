"""Members trained side by side: each in a process of its own, whose end is the end of no other.

Members that are trained jointly share a process, and what stops one of them stops all.
"""

import ctypes
import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from pathlib import Path
from threading import Lock, Thread

from aimass.base.contract import Progress
from aimass.base.errors import AimassError, TrainingError
from aimass.data.measure import cores
from aimass.lifecycle.joint import train_together
from aimass.lifecycle.members import Job, train_member

_LOGGER = logging.getLogger("aimass.build")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT = 1 << 25  # bytes; more is refused for mappings

Unit = Sequence[tuple[Job, Path]]
"""One member with its folder, or several that are trained jointly."""
Row = tuple[str, int, int | None]
"""One call of `Progress`."""


def train_members(
    jobs: Sequence[tuple[Job, Path]], progress: Progress, workers: int | None = None
) -> dict[str, Exception]:
    """Train members into the folders beside them, as many at once as there are cores.

    Returns:
        by name what stopped each member that failed; the others were trained to their end.
    """
    units = _units(jobs)
    workers = min(workers or cores(), len(units))
    if workers <= 1:
        found = [_here(progress, unit) for unit in units]
    else:
        context, alone = get_context("spawn"), _OneAtATime(progress)
        with ThreadPoolExecutor(workers) as pool:
            waiting = [pool.submit(_in_process, context, alone, unit) for unit in units]
            try:
                found = [future.result() for future in waiting]
            except BaseException:  # interrupted: what has not begun does not begin
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return {
        job.name: error
        for unit, error in zip(units, found, strict=True)
        if error is not None
        for job, _ in unit
    }


def _units(jobs: Sequence[tuple[Job, Path]]) -> list[Unit]:
    """What runs in one process each, in the order of the first members."""
    units: dict[str, list[tuple[Job, Path]]] = defaultdict(list)
    for job, folder in jobs:
        units[job.together.digest if job.together else f"alone {job.name}"].append((job, folder))
    return list(units.values())


def named(progress: Progress, name: str, what: str, done: int, total: int | None) -> None:
    """Report with the name of the member at work."""
    progress(f"{name} {what}", done, total)


def noted(name: str, error: Exception) -> Exception:
    """What stopped a member; a fault of ours is logged, with its place."""
    if not isinstance(error, AimassError):
        _LOGGER.warning("the member '%s' failed", name, exc_info=error)
    return error


def _name(unit: Unit) -> str:
    job, _ = unit[0]
    return "joint" if job.together else job.name


def _here(progress: Progress, unit: Unit) -> Exception | None:
    """Train in this process; gives what stopped it."""
    (job, folder), name = unit[0], _name(unit)

    def told(what: str, done: int, total: int | None) -> None:
        named(progress, name, what, done, total)

    try:
        if job.together is None:
            train_member(job, folder, told)
        else:
            train_together(unit, told)
    except Exception as error:  # whatever it is, the other members are worth their training
        return noted(name, error)
    return None


def _in_process(context: SpawnContext, progress: Progress, unit: Unit) -> Exception | None:
    """Train in a process of its own; gives what stopped it."""
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(tell, unit))
    process.start()
    tell.close()
    said: Row | BaseException | None = ("", 0, 0)
    try:
        while isinstance(said := told.recv(), tuple):
            progress(*said)
    except EOFError:
        said = TrainingError(
            f"the process that trained '{_name(unit)}' was killed",
            expected="a process that runs to its end",
            fix="See whether memory ran out; a build run again goes on from the last checkpoint",
        )
    process.join()
    if said is None or isinstance(said, Exception):
        return said
    assert isinstance(said, BaseException)
    raise said


def _work(tell: Connection, unit: Unit) -> None:
    """The life of a process that trains: it tells rows of progress, at last what stopped it."""
    os.nice(1)  # the process that shows progress comes first
    _keep_memory()
    Thread(target=_end_with_parent, daemon=True).start()

    def progress(*row: object) -> None:
        tell.send(row)

    try:
        last: BaseException | None = _here(progress, unit)
    except BaseException as interrupted:
        last = interrupted
    try:
        tell.send(last)
    except Exception:  # an error of some library that does not travel between processes
        tell.send(
            TrainingError(f"{type(last).__name__}: {last}", expected="no error", fix="See the log")
        )


def _keep_memory() -> None:
    """Keep what is freed for the next step, where the C library lets that be said.

    glibc gives arrays above 128 KB back to the system, which clears their pages anew in every step:
    a tenth to a fifth of a small model's training (LOG.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)


def _end_with_parent() -> None:
    """A build that is killed takes its workers with it, wherever they are in their work."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _OneAtATime:
    """Progress that several threads may tell."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = Lock()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        with self._lock:
            self._progress(what, done, total)
