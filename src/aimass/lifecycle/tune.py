"""`aimass tune`: search over the ranges that a scenario declares, judged on dev alone.

::

    prepare               as for a build, and shared with it
    for each trial:       values from Optuna -> members trained as a build would
        after each epoch  the dev error; below the median of earlier trials the trial ends
    the best values       -> NAME.tuned.yaml beside the scenario

The study stands in ``AIMASS_HOME/tune/NAME.db`` and a trial's training in the scenario's builds,
so that a search that was stopped goes on, even within an epoch, and a build of the tuned scenario
finds its members trained. The test data is never read here.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from aimass.base.contract import Progress, no_progress
from aimass.base.digests import of_value
from aimass.base.errors import AimassError, ScenarioError, TrainingError
from aimass.base.files import write_bytes
from aimass.base.randomness import torch_seed
from aimass.base.settings import Settings, settings
from aimass.lifecycle.build import job_of
from aimass.lifecycle.members import Job, inputs_of, train_member
from aimass.lifecycle.prepare import prepare, spoken
from aimass.lifecycle.scenario import DIAL, Scenario, load, parse
from aimass.lifecycle.search import Range, members_in, placed
from aimass.lifecycle.stages import Stages
from aimass.lifecycle.study import opened_study
from aimass.lifecycle.tracking import Pruned
from aimass.lifecycle.workers import named
from aimass.training.loop import LOG

MADE, ERROR, VALUES = "made", "error", "values"


@dataclass(frozen=True, slots=True)
class TuneSpec:
    """How long to search.

    Args:
        trials: of the whole study, those of earlier runs counted.
        minutes: after which this run ends; what it was at goes on in the next.
        startup: trials that are drawn at random and never ended early.
    """

    trials: int = 20
    minutes: float | None = None
    startup: int = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of values and what came of it.

    Args:
        state: complete, pruned or failed.
        dev: the lowest dev error, the mean over members; None where nothing was measured.
        epochs: that were trained, of all members together.
        error: why it failed.
    """

    number: int
    state: str
    dev: float | None
    epochs: int
    values: dict[str, Any]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search gives: the scenario file it wrote, the best trial, and all of them."""

    path: Path
    best: Trial
    trials: tuple[Trial, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        trials = [asdict(trial) for trial in self.trials]
        return {"scenario": str(self.path), "best": asdict(self.best), "trials": trials}


class _OutOfTime(Pruned):
    """The minutes are over."""


def tune(
    scenario: str | Path,
    spec: TuneSpec | None = None,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Tuned:
    """Search, and write the scenario with the best values as a new file beside it.

    Raises:
        ScenarioError: a scenario that declares no ranges, trains members jointly, or is wrong.
        TrainingError: no trial came to an end.
    """
    path, spec, config = Path(scenario), spec or TuneSpec(), config or settings()
    content = load(path)
    plan = parse(content, path)
    if not plan.tune:
        raise ScenarioError(
            f"{path} declares nothing to tune",
            expected="a section 'tune' of ranges",
            fix="Write, for example: tune: {training.learning_rate: {low: 0.001, high: 0.01, "
            "log: true}}",
            param="tune",
        )
    if plan.joint:
        raise ScenarioError(
            f"{path} has 'joint: {plan.joint:g}', and a search trains each member alone",
            expected="members that do not learn from each other while values are sought",
            fix="Remove 'joint', tune, and write it into the tuned scenario for the build",
            param="joint",
        )
    plan = spoken(plan)
    stages = Stages(config.home / "builds" / plan.name)
    with stages.lock():
        prepared = prepare(plan, config, stages, progress)
        with _study(plan, prepared, spec, config) as study:
            _Search(path, content, plan, prepared, stages, config, study).run(spec, progress)
            trials = tuple(_told(trial) for trial in study.get_trials() if _ended(trial))
            best = _best(study)
    if best is None:
        raise _fruitless(trials)
    return Tuned(_write(path, content, best, len(trials)), _told(best), trials)


class _Search:
    """A study and all that its trials share."""

    def __init__(
        self,
        path: Path,
        content: dict[str, Any],
        plan: Scenario,
        prepared: Path,
        stages: Stages,
        config: Settings,
        study: Any,
    ) -> None:
        self._path = path
        self._content = {key: value for key, value in content.items() if key != "tune"}
        self._plan = plan
        self._prepared = prepared
        self._stages = stages
        self._config = config
        self._study = study

    def run(self, spec: TuneSpec, progress: Progress) -> None:
        """Run the trials that the study lacks, in the time there is."""
        deadline = None if spec.minutes is None else time.monotonic() + 60 * spec.minutes
        self._take_up()
        passes: Path | None = None
        while (done := sum(map(_ended, self._study.get_trials()))) < spec.trials:
            progress("tune", done, spec.trials)
            if deadline is not None and time.monotonic() > deadline:
                return
            passes = self._try(self._study.ask(), deadline, progress) or passes
        progress("tune", done, spec.trials)
        if passes is not None:
            shutil.rmtree(passes, ignore_errors=True)

    def _take_up(self) -> None:
        """Begin with the values of a trial that a stop cut short; its checkpoint is there."""
        from optuna.trial import TrialState

        for trial in self._study.get_trials(states=[TrialState.RUNNING]):
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.enqueue_trial(trial.params)

    def _try(self, trial: Any, deadline: float | None, progress: Progress) -> Path | None:
        """Train with the values of one trial; gives where its augmented passes stand."""
        from optuna.trial import TrialState

        values = {path: _drawn(trial, path, one) for path, one in self._plan.tune.items()}
        trial.set_user_attr(VALUES, values)
        jobs: list[Job] = []
        watch = _Watch(trial, deadline)
        try:
            jobs += self._jobs(values)
            for job in jobs:
                self._train(job, trial, watch, progress)
        except _OutOfTime:
            return jobs[0].passes  # still running as the study sees it, so the next run takes it up
        except Pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        except AimassError as error:  # values that diverge, or do not fit each other
            trial.set_user_attr(ERROR, str(error))
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, watch.value)
        self._clean(jobs)
        return jobs[0].passes if jobs else None

    def _jobs(self, values: dict[str, Any]) -> list[Job]:
        """The members that some values concern, with these values."""
        plan = spoken(parse(placed(self._content, values), self._path))
        every = plan.resolved()
        return [
            job_of(plan, every[number], self._prepared, self._stages, self._config)
            for number in members_in(values, len(every))
            if every[number].engine is None
        ]

    def _train(self, job: Job, trial: Any, watch: "_Watch", progress: Progress) -> None:
        folder = self._stages.target("train", inputs_of(job))
        told = partial(named, progress, f"trial {trial.number + 1} {job.name}")
        if folder.is_dir():
            watch.member(_rows(folder))
            return
        watch.member(_rows(job.scratch))
        assert job.tracking is not None
        tags = (("aimass.trial", str(trial.number)),)
        train_member(
            replace(job, tracking=replace(job.tracking, tags=tags)), folder, told, watch.epoch
        )
        trial.set_user_attr(MADE, [*trial.user_attrs.get(MADE, []), folder.name])

    def _clean(self, jobs: list[Job]) -> None:
        """Keep of all that trials trained the members of the best one."""
        for job in jobs:
            shutil.rmtree(job.scratch, ignore_errors=True)
        best = _best(self._study)
        kept = set() if best is None else set(best.user_attrs.get(MADE, []))
        for trial in self._study.get_trials():
            for name in set(trial.user_attrs.get(MADE, [])) - kept:
                shutil.rmtree(self._stages.folder / name, ignore_errors=True)


class _Watch:
    """Tells a study how a trial does, and ends the trial where that is not well enough."""

    def __init__(self, trial: Any, deadline: float | None) -> None:
        self._trial = trial
        self._deadline = deadline
        self._lowest: list[float] = []
        self._epoch = 0  # of the current member
        self._epochs = 0  # of all

    @property
    def value(self) -> float:
        """The mean over members of the lowest dev error of each."""
        return fmean(self._lowest)

    def member(self, rows: list[dict[str, float]]) -> None:
        """Go on with the next member, of which so much was trained before."""
        self._lowest.append(float("inf"))
        self._epoch = 0
        for row in rows:
            self._note(row)

    def epoch(self, row: dict[str, float]) -> None:
        """Note the row of an epoch. Raises: Pruned to end the trial."""
        self._note(row)
        if self._trial.should_prune():
            raise Pruned
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise _OutOfTime

    def _note(self, row: dict[str, float]) -> None:
        if row["epoch"] <= self._epoch:  # the log was one epoch ahead of the checkpoint
            return
        self._epoch = int(row["epoch"])
        self._lowest[-1] = min(self._lowest[-1], row["dev"])
        self._epochs += 1
        self._trial.report(self.value, self._epochs)


@contextmanager
def _study(plan: Scenario, prepared: Path, spec: TuneSpec, config: Settings) -> Iterator[Any]:
    """The study of a scenario's settings and data; other settings are another study."""
    import optuna

    asked = plan.model_dump(mode="json", exclude={"gates", "data", *DIAL})
    name = of_value([asked, prepared.name])[:16]
    with opened_study(config.home / "tune" / f"{plan.name}.db", name) as study:
        # A resumed search must not draw again what it drew before.
        seed = torch_seed(plan.training.seed, "tune", len(study.get_trials())) % (1 << 32)
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=spec.startup)
        study.pruner = optuna.pruners.MedianPruner(
            n_startup_trials=spec.startup, n_warmup_steps=plan.training.epochs // 5
        )
        yield study


def _drawn(trial: Any, path: str, allowed: Range) -> Any:
    """A value for one path. Choices go by their text, for they may be lists."""
    if allowed.choices:
        texts = [json.dumps(choice) for choice in allowed.choices]
        return json.loads(trial.suggest_categorical(path, texts))
    whole = isinstance(allowed.low, int) and isinstance(allowed.high, int)
    draw: Callable[..., Any] = trial.suggest_int if whole else trial.suggest_float
    return draw(path, allowed.low, allowed.high, log=allowed.log)


def _rows(folder: Path) -> list[dict[str, float]]:
    """The log of a training, as far as it goes."""
    log = folder / LOG
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def _ended(trial: Any) -> bool:
    """Whether a trial gave a result; one that was cut short did not, and is run again."""
    state = trial.state.name
    return state in ("COMPLETE", "PRUNED") or (state == "FAIL" and ERROR in trial.user_attrs)


def _best(study: Any) -> Any:
    done = [trial for trial in study.get_trials() if trial.state.name == "COMPLETE"]
    return min(done, key=lambda trial: (trial.value, trial.number), default=None)


def _told(trial: Any) -> Trial:
    values = trial.intermediate_values
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name]
    return Trial(
        number=trial.number,
        state=state,
        dev=trial.value if state == "complete" else min(values.values(), default=None),
        epochs=len(values),
        values=trial.user_attrs.get(VALUES, {}),
        error=trial.user_attrs.get(ERROR),
    )


def _fruitless(trials: tuple[Trial, ...]) -> TrainingError:
    errors = [trial.error for trial in trials if trial.error]
    found = f"no trial of {len(trials)} came to an end"
    return TrainingError(
        f"{found}: {errors[-1]}" if errors else found,
        expected="at least one whole trial",
        fix="Correct the ranges" if errors else "Give more --minutes; the search goes on",
    )


def _write(path: Path, content: dict[str, Any], best: Any, count: int) -> Path:
    """Write the tuned scenario: the file as it was, but for the values and without `tune`."""
    rest = {key: value for key, value in content.items() if key != "tune"}
    text = yaml.safe_dump(
        placed(rest, best.user_attrs[VALUES]), sort_keys=False, allow_unicode=True
    )
    head = f"# {path.name} with the best of {count} trials: dev error {best.value:.2%}.\n"
    target = path.with_name(f"{path.stem}.tuned.yaml")
    write_bytes(target, (head + text).encode())
    return target
