"""Threads that lend a hand while cores are free."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Team:
    """A budget of threads that all callers share.

    A caller does its work itself, and as many others help it as the budget leaves idle: one
    caller alone has them all, and with as many callers as threads nobody has help. So work in
    many pieces is quick while the machine is idle, and takes no core from others while it is not.

    Args:
        budget: the most threads at work, callers included; callers themselves never wait.
    """

    def __init__(self, budget: int) -> None:
        self.budget = max(1, budget)
        self._working = 0
        self._lock = threading.Lock()
        self._helpers: ThreadPoolExecutor | None = None

    def hire(self) -> None:
        """Let callers have help from now on.

        Threads inherit the priority of those who start them, and a model may be loaded by a
        thread of low priority.
        """
        if self.budget > 1 and self._helpers is None:
            self._helpers = ThreadPoolExecutor(self.budget, "member")

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results of `work` in the order of `items`; what it raises is raised here."""
        waiting = deque(enumerate(items))
        found: dict[int, Result] = {}

        def lane() -> None:
            try:
                while waiting:
                    try:
                        number, item = waiting.popleft()
                    except IndexError:  # another lane was first
                        return
                    found[number] = work(item)
            finally:
                self._left()

        # A helper that is asked for takes its place now, or two callers would count on one.
        helpers = self._taken(len(items))
        others = [self._helpers.submit(lane) for _ in range(helpers)] if self._helpers else []
        try:
            lane()
        finally:
            waiting.clear()  # after an error; else it is empty
            others = [other for other in others if not self._spared(other)]
            for other in others:
                other.exception()  # ended, well or not
        for other in others:
            other.result()
        return [found[number] for number in range(len(items))]

    def close(self) -> None:
        """End the threads once they are idle."""
        if self._helpers is not None:
            self._helpers.shutdown(wait=False)

    def _spared(self, helper: Future[None]) -> bool:
        """Whether a helper had not begun, and need not any more."""
        if helper.cancel():
            self._left()
        return helper.cancelled()

    def _left(self) -> None:
        with self._lock:
            self._working -= 1

    def _taken(self, items: int) -> int:
        """Count the caller in, and the helpers that it may have."""
        with self._lock:
            self._working += 1
            idle = self.budget - self._working if self._helpers else 0
            helpers = max(0, min(items - 1, idle))
            self._working += helpers
            return helpers
