"""Fair shares of the machine: short work is never stuck behind long work.

Work comes as iterators whose steps take about as long as one stretch of audio. A worker runs one
step of the job that has had the fewest steps so far (least attained service, Nuyens and Wierman
2008), so a new job starts before a long one goes on. Long jobs leave one worker free, so a new one
need not even wait for a step to end.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aimass.base.errors import Busy, ServiceError

log = logging.getLogger(__name__)

# Steps after which a job is long. Two: a short recording is one stretch and then the end, which
# is a step of its own, and must not wait until a long job ends its stretch.
SHORT_STEPS = 2


@dataclass(order=True, slots=True)
class _Job:
    steps_done: int
    number: int
    steps: Iterator[Any] = field(compare=False)
    deliver: Callable[[Any], None] = field(compare=False)
    ended: Callable[[BaseException | None], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    @property
    def is_long(self) -> bool:
        return self.steps_done >= SHORT_STEPS


class Ticket:
    """A place in the scheduler; give it back with `release`, whatever happens."""

    def __init__(self, scheduler: "Scheduler") -> None:
        self._scheduler = scheduler
        self._job: _Job | None = None
        self._released = False

    def run(
        self,
        steps: Iterator[Any],
        deliver: Callable[[Any], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        """Run an iterator on the workers, one step at a time.

        Args:
            steps: closed in a worker when it ends or is cancelled.
            deliver: called in a worker with each value.
            ended: called once, with the exception that ended it or None; in a worker, or here
                when the scheduler has closed.
        """
        self._job = self._scheduler._enter(steps, deliver, ended)

    def release(self) -> None:
        """Give the place back; a job that has not ended stops after its current step."""
        if not self._released:
            self._released = True
            self._scheduler._leave(self._job)


class Scheduler:
    """Worker threads and the jobs that wait for them.

    Args:
        workers: steps that run at once; at least 2 keep one free for new jobs.
        max_waiting: jobs beyond the running ones; more are refused with `Busy`.
    """

    def __init__(self, workers: int, max_waiting: int) -> None:
        self.workers = workers
        self.places = workers + max_waiting
        self._taken = 0
        self._waiting: list[_Job] = []
        self._long_running = 0
        self._numbers = itertools.count()
        self._step_seconds = 1.0
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"recognise-{i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def taken(self) -> int:
        """Places that are in use."""
        return self._taken

    def admit(self) -> Ticket:
        """Take a place, before the work is even received.

        Raises:
            Busy: every place is taken; says when to try again.
        """
        with self._changed:
            if self._taken >= self.places:
                wait = self._taken * self._step_seconds / self.workers
                raise Busy(
                    f"{self._taken} requests are under way",
                    expected=f"at most {self.places}",
                    fix="Try again after the time in Retry-After",
                    retry_after=max(1, min(60, round(wait))),
                )
            self._taken += 1
        return Ticket(self)

    def close(self) -> None:
        """End the workers after their current steps, and every job with them."""
        with self._changed:
            self._closing = True
            for job in self._waiting:
                job.cancelled = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _enter(
        self,
        steps: Iterator[Any],
        deliver: Callable[[Any], None],
        ended: Callable[[BaseException | None], None],
    ) -> _Job:
        job = _Job(0, next(self._numbers), steps, deliver, ended)
        with self._changed:
            closed = self._closing
            if not closed:
                heapq.heappush(self._waiting, job)
                self._changed.notify()
        if closed:  # perhaps no worker is left to end it
            _end(
                job,
                ServiceError(
                    "the service is stopping",
                    expected="a running service",
                    fix="Send the request again",
                ),
            )
        return job

    def _leave(self, job: _Job | None) -> None:
        with self._changed:
            self._taken -= 1
            if job is not None:
                job.cancelled = True
                self._changed.notify()  # a waiting job that is cancelled is closed at once

    def _work(self) -> None:
        while (job := self._next()) is not None:
            was_long = job.is_long
            again = self._step(job)
            with self._changed:
                self._long_running -= was_long
                if again:
                    job.steps_done += 1
                    job.cancelled |= self._closing
                    heapq.heappush(self._waiting, job)

    def _next(self) -> _Job | None:
        """The job to go on with; None when the scheduler closes."""
        with self._changed:
            while True:
                if (job := self._chosen()) is not None:
                    self._long_running += job.is_long
                    if self._waiting:  # an idle worker may take the next one
                        self._changed.notify()
                    return job
                if self._closing:
                    return None
                self._changed.wait()

    def _chosen(self) -> _Job | None:
        """Take a job out of those that wait: a cancelled one, else the one served least."""
        for index, job in enumerate(self._waiting):
            if job.cancelled:
                self._waiting[index] = self._waiting[-1]
                self._waiting.pop()
                heapq.heapify(self._waiting)
                return job
        if self._waiting and (not self._waiting[0].is_long or self._room_for_long()):
            return heapq.heappop(self._waiting)
        return None

    def _room_for_long(self) -> bool:
        return self._long_running < max(1, self.workers - 1)

    def _step(self, job: _Job) -> bool:
        """Run one step; true when the job has more."""
        failure: BaseException | None = None
        if not job.cancelled:
            started = time.perf_counter()
            try:
                job.deliver(next(job.steps))
                self._step_seconds += 0.1 * (time.perf_counter() - started - self._step_seconds)
                return True
            except StopIteration:
                pass
            except BaseException as error:  # belongs to the job's owner, not to the worker
                failure = error
        _end(job, failure)
        return False


def _end(job: _Job, failure: BaseException | None) -> None:
    """Close a job and tell its owner, who may be waiting for just that."""
    try:
        close = getattr(job.steps, "close", None)
        if close is not None:
            close()
    except BaseException as error:
        failure = failure or error
    try:
        job.ended(failure)
    except Exception:  # a worker must outlive whatever a job does while it ends
        log.exception("a job failed while it ended")
