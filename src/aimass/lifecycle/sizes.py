"""`aimass dial search`: students of the sizes at which the curve of error over cost has gaps.

::

    known     the students of the section `distil`; then the ends of the range, in every family
    gaps      the middle of the widest gap between neighbours of the curve, again and again
    drawn     where no gap is worth it, what Optuna's sampler for several objectives draws
    publish   the students on the curve

Each is made as by `aimass compress distil`, whose finished stages are used, and judged by the
multiply-adds for a second of sound and the error on dev. The study stands in
``AIMASS_HOME/builds/NAME/search.db``, so that a search that was stopped goes on.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, no_progress
from aimass.base.digests import of_value
from aimass.base.errors import RequestError
from aimass.base.randomness import torch_seed
from aimass.base.settings import Settings, settings
from aimass.lifecycle.distil import (
    Made,
    Student,
    jobs_of_students,
    make,
    planned,
    publish,
    teacher_of,
)
from aimass.lifecycle.gaps import Gap, Size, Tried, front, gaps, middle
from aimass.lifecycle.jobs import passes_of
from aimass.lifecycle.members import inputs_of
from aimass.lifecycle.prepare import prepare, spoken
from aimass.lifecycle.scenario import Member, Scenario
from aimass.lifecycle.stages import Stages
from aimass.lifecycle.study import opened_study
from aimass.models.model import LARGEST, SMALLEST
from aimass.registry.store import Registry

DATABASE, PUBLISHED = "search.db", "published"
FAMILIES = ("conv", "recurrent", "attention")
LEAST_WORTH = 0.01  # a gap of a smaller share of the curve is left to the sampler
MISSES = 20  # draws in a row of what was tried, after which there is nothing new to draw
STARTUP = 4


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """What to search.

    Args:
        trials: students in all, those of earlier runs counted.
        least, most: parameters that may be proposed.
        families: to try beside those of the scenario's students.
    """

    trials: int = 10
    least: int = SMALLEST
    most: int = 280_000
    families: tuple[str, ...] = ()

    def allows(self, size: Size) -> bool:
        """Whether a size may be proposed."""
        return self.least <= size[1] <= self.most


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search gives.

    Args:
        students: from the cheapest to the costliest; those on the curve are published.
        gaps: that are worth a student, the widest first, and the size that would stand in each.
        proposed: the size to try next; None where it would be drawn.
    """

    students: tuple[tuple[Tried, Made], ...]
    gaps: tuple[tuple[Gap, Size], ...]
    proposed: Size | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "teacher": self.students[0][1].teacher,
            "students": [_row(tried, student) for tried, student in self.students],
            "gaps": [
                {"from": gap.left.name, "to": gap.right.name, "worth": gap.worth} | _told(size)
                for gap, size in self.gaps
            ],
            "next": self.proposed and _told(self.proposed),
        }


def search(
    scenario: str | Path,
    spec: SearchSpec | None = None,
    *,
    teacher: str | None = None,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Searched:
    """Make students where the curve has gaps, and publish those on the curve.

    Args:
        teacher: any model; that of the scenario, else its own model, when None.

    Raises:
        RequestError: a search that cannot be, no teacher, or a task without students.
        ScenarioError, DataError, AudioError, UnknownModel, TrainingError: as `distil`.
    """
    spec, config = spec or SearchSpec(), config or settings()
    _refuse(spec)
    plan = planned(scenario, teacher=teacher)
    model, plan = teacher_of(plan, config), spoken(plan)
    stages = Stages(config.home / "builds" / plan.name)
    with stages.lock():
        prepared = prepare(plan, config, stages, progress)
        shared = model, prepared, stages, config, progress

        def inputs(student: Member) -> list[Any]:
            return inputs_of(jobs_of_students(_with_one(plan, student), *shared)[0])

        def made(student: Member) -> Made:
            return make(_with_one(plan, student), *shared)[0]

        begun = _Search(plan, spec, inputs, made)
        with opened_study(stages.folder / DATABASE, begun.name, ("minimize",) * 2) as study:
            begun.run(study, progress)
            begun.publish(study, config)
        shutil.rmtree(passes_of(prepared, stages), ignore_errors=True)
        return begun.found()


class _Search:
    """The students that were tried, and which one is next."""

    def __init__(
        self,
        plan: Scenario,
        spec: SearchSpec,
        inputs: Callable[[Member], list[Any]],
        make: Callable[[Member], Made],
    ) -> None:
        self._plan, self._spec, self._inputs, self._make = plan, spec, inputs, make
        self._known: dict[Size, Member] = {}
        for one in plan.students():
            self._known.setdefault((one.family, one.parameters), one)
        self._families = sorted({family for family, _ in self._known} | set(spec.families))
        ends = [(family, end) for end in (spec.least, spec.most) for family in self._families]
        self._first: list[Size] = [*self._known, *ends]
        self._students: dict[Size, Made] = {}
        self._digests: dict[Size, str] = {}

    @property
    def name(self) -> str:
        """The digest of all that decides the students but their sizes."""
        kinds = [self._inputs(self._like(one, self._spec.least)) for one in self._families]
        for inputs in kinds:
            del inputs[1]["channels"], inputs[1]["blocks"]
        return of_value(kinds)[:16]

    def run(self, study: Any, progress: Progress) -> None:
        """Find the students that a study knows, and make those that it lacks."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        for trial in study.get_trials():
            if trial.state == TrialState.COMPLETE:
                size = self._size(trial)
                self._students[size] = self._make(self._member(size))
            elif trial.state == TrialState.RUNNING:  # a stop cut it short
                study.tell(trial.number, state=TrialState.FAIL)
                self._first[:0] = [self._size(trial)] if "parameters" in trial.params else []
        # A resumed search must not draw again what it drew before.
        seed = torch_seed(self._plan.training.seed, "search", len(study.get_trials())) % (1 << 32)
        study.sampler = TPESampler(seed=seed, n_startup_trials=STARTUP)
        misses, trials = 0, self._spec.trials
        while (done := len(self._students)) < trials and misses < MISSES:
            progress("search", done, trials)
            trial = self._asked(study)
            size = self._size(trial)
            if not self._new(size):
                study.tell(trial, state=TrialState.FAIL)
                misses += 1
                continue
            self._students[size] = self._make(self._member(size))
            one = _measured(size, self._students[size])
            study.tell(trial, [one.cost, one.error])
            misses = 0
        progress("search", done, trials)

    def publish(self, study: Any, config: Settings) -> None:
        """Publish the students on the curve; withdraw those that an earlier run found on it."""
        own = []
        for one in front(self._tried):
            student = publish(self._students[one.size], self._plan, config)
            self._students[one.size] = student
            if one.size not in self._known:  # those of the file are published by others too
                own.append([one.name, student.bundle.digest])
        for name, digest in study.user_attrs.get(PUBLISHED, []):
            if [name, digest] not in own:
                Registry(config.home, config.registry_url).withdraw(name, digest)
        study.set_user_attr(PUBLISHED, own)

    def found(self) -> Searched:
        """All of it."""
        rows = sorted(self._tried, key=lambda one: (one.cost, one.error))
        students = tuple((one, self._students[one.size]) for one in rows)
        return Searched(students, tuple(self._gaps), self._next())

    @property
    def _tried(self) -> list[Tried]:
        return [_measured(size, student) for size, student in self._students.items()]

    @property
    def _gaps(self) -> list[tuple[Gap, Size]]:
        """The gaps worth a student, and a size for each that may be and that nobody had."""
        tried, found = self._tried, []
        for gap in gaps(tried):
            sizes = [one for one in middle(gap, tried) if self._spec.allows(one) and self._new(one)]
            if gap.worth > LEAST_WORTH and sizes:
                found.append((gap, sizes[0]))
        return found

    def _next(self) -> Size | None:
        """The size to try next; None where it is to be drawn."""
        first = next(filter(self._new, self._first), None)
        return first or next((size for _, size in self._gaps), None)

    def _asked(self, study: Any) -> Any:
        """A trial of the next size, proposed or drawn."""
        least, most, wanted = self._spec.least, self._spec.most, self._next()
        if wanted is not None:
            study.enqueue_trial({"family": wanted[0], "parameters": wanted[1]})
            least, most = min(least, wanted[1]), max(most, wanted[1])
        trial = study.ask()
        if len(self._families) > 1:
            trial.suggest_categorical("family", self._families)
        trial.suggest_int("parameters", least, most, log=True)
        return trial

    def _new(self, size: Size) -> bool:
        """Whether no student that was tried is the very model of this size."""
        for one in (size, *self._students):
            if one not in self._digests:
                self._digests[one] = of_value(self._inputs(self._member(one)))
        return all(self._digests[size] != self._digests[one] for one in self._students)

    def _member(self, size: Size) -> Member:
        return self._known.get(size) or self._like(*size)

    def _like(self, family: str, parameters: int) -> Member:
        """A student like the scenario's first of that family, else like its first."""
        known = list(self._known.values())
        like = next((one for one in known if one.family == family), known[0])
        name = f"student-{family}-{parameters}"
        return like.model_copy(update={"name": name, "family": family, "parameters": parameters})

    def _size(self, trial: Any) -> Size:
        return trial.params.get("family", self._families[0]), trial.params["parameters"]


def _with_one(plan: Scenario, student: Member) -> Scenario:
    assert plan.distil is not None
    about = plan.distil.model_copy(update={"students": (student,)})
    return plan.model_copy(update={"distil": about})


def _refuse(spec: SearchSpec) -> None:
    unknown = sorted(set(spec.families) - set(FAMILIES))
    bounds = SMALLEST <= spec.least <= spec.most <= LARGEST
    span = f"from {SMALLEST} to {LARGEST}, --least not above --most"
    for key, wrong, found, expected in (
        ("trials", spec.trials < 1, f"a search of {spec.trials} students", "at least 1"),
        ("least", not bounds, f"sizes from {spec.least} to {spec.most} parameters", span),
        ("family", unknown, f"the family {', '.join(unknown)}", f"one of {', '.join(FAMILIES)}"),
    ):
        if wrong:
            raise RequestError(found, expected=expected, fix=f"Correct --{key}", param=key)


def _measured(size: Size, student: Made) -> Tried:
    about = student.bundle.manifest
    return Tried(about.name, size, about.scores["multiply_adds"], student.cards["dev"].error_rate)


def _row(tried: Tried, student: Made) -> dict[str, Any]:
    return _told(tried.size) | {
        "model": tried.name,
        "version": student.published.version if isinstance(student, Student) else None,
        "multiply_adds": tried.cost,
        "dev": tried.error,
        "test": student.cards["test"].summary(),
        "on_curve": isinstance(student, Student),
    }


def _told(size: Size) -> dict[str, Any]:
    return {"family": size[0], "parameters": size[1]}
