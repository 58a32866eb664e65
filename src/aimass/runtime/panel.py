"""The members of a massive model that answer, asked side by side."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from aimass.base.contract import Engine
from aimass.base.errors import BundleError, RequestError
from aimass.decoding.combine import Combination
from aimass.runtime.team import Team

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")
Ready = Callable[[Sequence[int]], None]
"""Told which members come next, before they are asked."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A member that is there.

    Args:
        digest: what pins it.
    """

    name: str
    digest: str
    engine: Engine


class Panel:
    """Members by number, and how their answers weigh.

    A member that fails is reported and left out of that answer; the next one asks it again, for
    what it failed on may have been odd.

    Args:
        name: of the massive model.
        combination: of these members, in their order.
        team: threads they may take.
        dead: members that cannot be asked at all, and why; those that failed last time join them.
    """

    def __init__(
        self,
        name: str,
        seats: Sequence[Seat],
        combination: Combination,
        team: Team,
        dead: Mapping[str, str],
    ) -> None:
        self.name = name
        self.seats = tuple(seats)
        self.combination = combination
        self.team = team
        self._gone = dict(dead)
        self._failing: dict[str, str] = {}
        self._lock = threading.Lock()
        numbers = [n for n, weight in enumerate(combination.weights) if weight > 0]
        # By digest where weights are alike, so that the order in a manifest does not matter.
        self.heard = sorted(numbers, key=self._rank)

    @property
    def dead(self) -> dict[str, str]:
        """Members that do not answer, by name, and why."""
        with self._lock:
            return self._gone | self._failing

    def only(self, members: Sequence[int]) -> Combination:
        """How some members combine without the others."""
        if len(members) == len(self.seats) and list(members) == sorted(members):
            return self.combination
        return self.combination.only(members)

    def ask(
        self, work: Callable[[int], Answer], members: Sequence[int] | None = None
    ) -> dict[int, Answer]:
        """What members answer, by number, in the order of their numbers.

        Raises:
            RequestError: what is asked is wrong in the eyes of all.
            BundleError: none answers.
        """
        asked = self.heard if members is None else members
        failed: dict[int, Exception] = {}
        found = self._round(work, asked, failed)
        if not found:
            raise self._silent(failed)
        return {number: found[number] for number in sorted(found)}

    def ask_until(
        self,
        work: Callable[[int], Answer],
        enough: Callable[[Mapping[int, Answer]], bool],
        ready: Ready = lambda _: None,
        members: Sequence[int] | None = None,
    ) -> dict[int, Answer]:
        """The same, the weightiest first, until those that answered are `enough`.

        As many are asked at once as there are threads. Who was asked beside the one that decided
        is not counted: what is found does not depend on the threads.

        Args:
            enough: asked after each answer, in the order of members.
            ready: told whom the next threads will ask.
            members: in the order in which they are asked; those that are heard when None.

        Raises:
            RequestError, BundleError: as `ask`.
        """
        found: dict[int, Answer] = {}
        failed: dict[int, Exception] = {}
        step, asked = self.team.budget, self.heard if members is None else members
        for first in range(0, len(asked), step):
            wave = asked[first : first + step]
            ready(wave)
            for number, answer in self._round(work, wave, failed).items():
                found[number] = answer
                if enough(found):
                    return {number: found[number] for number in sorted(found)}
        if not found:
            raise self._silent(failed)
        return {number: found[number] for number in sorted(found)}

    def _round(
        self, work: Callable[[int], Answer], asked: Sequence[int], failed: dict[int, Exception]
    ) -> dict[int, Answer]:
        def attempt(number: int) -> tuple[Answer] | None:
            try:
                answer = work(number)
            except Exception as error:  # a library may raise anything; the others still answer
                failed[number] = error
                self._report(number, error)
                return None
            if self._failing:
                self._recovered(number)
            return (answer,)

        answers = self.team.map(attempt, asked)
        return {n: answer[0] for n, answer in zip(asked, answers, strict=True) if answer}

    def _report(self, number: int, error: Exception) -> None:
        name, reason = self.seats[number].name, str(error) or type(error).__name__
        if not isinstance(error, RequestError):
            log.warning("member '%s' of '%s' failed: %s", name, self.name, reason)
            with self._lock:
                self._failing[name] = reason

    def _recovered(self, number: int) -> None:
        with self._lock:
            self._failing.pop(self.seats[number].name, None)

    def _silent(self, failed: Mapping[int, Exception]) -> Exception:
        errors = list(failed.values())
        if all(isinstance(error, RequestError) for error in errors):
            return errors[0]
        reasons = {self.seats[n].name: str(error) for n, error in sorted(failed.items())}
        return silent(self.name, self._gone | reasons)

    def _rank(self, number: int) -> tuple[float, str, str]:
        seat = self.seats[number]
        return -self.combination.weights[number], seat.digest, seat.name


def silent(name: str, reasons: Mapping[str, str]) -> BundleError:
    """The error of a massive model none of whose members answers."""
    told = "; ".join(f"{member}: {reason}" for member, reason in reasons.items())
    return BundleError(
        f"no member of '{name}' answers: {told}",
        expected="at least one that does",
        fix=f"Type: aimass models verify {name}",
    )
