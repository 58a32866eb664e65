"""Progress on the error stream, so that output stays clean for pipes: bars, or a line now and then.

Work is told by ``(what, done, total)``. What stands after a comma in ``what`` is a note on the
work, such as the last loss; a number at its end counts rounds of the same work, one bar for all.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import ProgressColumn as Column
from rich.text import Text

from aimass.base.contract import Progress as Report

EVERY = 10.0  # seconds between two plain lines on the same work
MOST = 8  # bars on the screen; those that moved last stay
_ROUND = re.compile(r" \d+$")


@contextmanager
def shown(console: Console | None = None) -> Iterator[Report]:
    """Give a function that shows how far each kind of work is.

    A terminal gets bars with throughput and time left. Elsewhere there is a line for work that
    takes longer than `EVERY`, so that quick commands stay silent and logs short.
    """
    console = console or Console(stderr=True)
    if console.is_terminal:
        with _Bars(console) as bars:
            yield bars
    else:
        yield _Lines(console, time.monotonic)


class _Speed(Column):
    """What is done in a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{per_second(speed)}", style="progress.data.speed")


class _Bars(Progress):
    """One bar for each kind of work; several members train at once, each with its own."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description:>12}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False, style="dim"),
            console=console,
            transient=True,
        )
        self._known: dict[str, TaskID] = {}  # the one that moved last comes last
        self._lock_of_known = Lock()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        work, _, note = what.partition(", ")
        kind = _ROUND.sub("", work)
        with self._lock_of_known:
            task = self._known.pop(kind, None)
            if task is None or done < self.tasks[self.task_ids.index(task)].completed:
                if task is not None:
                    self.remove_task(task)
                task = self.add_task(work, total=total, note=note)
            self._known[kind] = task
            while len(self._known) > MOST:
                self.remove_task(self._known.pop(next(iter(self._known))))
            self.update(task, description=work, completed=done, total=total, note=note)


@dataclass(slots=True)
class _Work:
    """What a line was last told of: how much, and when."""

    begun: float
    first: int
    told: float
    done: int


class _Lines:
    """Plain lines, each kind of work at most every `EVERY` seconds, the first after as long."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._works: dict[str, _Work] = {}

    def __call__(self, what: str, done: int, total: int | None) -> None:
        work, comma, note = what.partition(", ")
        kind, now = _ROUND.sub("", work), self._clock()
        known = self._works.get(kind)
        if known is None or done < known.done:
            told = now if known is None else known.told
            self._works[kind] = _Work(now, done, told, done)
            return
        known.done = done
        if now - known.told < EVERY:
            return
        known.told = now
        speed = (done - known.first) / max(now - known.begun, 1e-9)
        parts = [f"{work}: {done}" + ("" if total is None else f" of {total}"), per_second(speed)]
        if total is not None and speed > 0:
            parts.append(f"{_clock_time((total - done) / speed)} left")
        line = ", ".join(parts) + (comma + note)
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def per_second(speed: float) -> str:
    """Throughput in three digits or less, per minute where it is slow."""
    if speed >= 100:
        return f"{speed:,.0f}/s"
    return f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min"


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
