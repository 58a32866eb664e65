"""`aimass compress distil`, and the students of a build: small models that learn from a teacher.

::

    said      recordings that nobody labelled; where answers teach, what the teacher answers
    train     the student hears passes, and what the teacher says of the very same sound
    export, pack   as any member
    heed      the teacher on the same test data
    student   the bundle with its teacher's digest, held against it -> published as NAME-student
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, Task, no_progress
from aimass.base.errors import RequestError
from aimass.base.settings import Settings, settings
from aimass.data import corpus as corpora
from aimass.data.corpus import Clip, Corpus
from aimass.data.measure import measure
from aimass.data.split import Splits, refuse_leaks
from aimass.evaluation.compare import Comparison, compare
from aimass.evaluation.gates import judge
from aimass.evaluation.scorecard import Scorecard
from aimass.evaluation.scorecard import read as read_card
from aimass.evaluation.scorecard import write as write_card
from aimass.lifecycle import said
from aimass.lifecycle.due import keep_card
from aimass.lifecycle.jobs import passes_of, unplaced
from aimass.lifecycle.lesson import By, Lesson, opened, pinned
from aimass.lifecycle.members import Job, inputs_of
from aimass.lifecycle.pack import CARDS, card_of, export_member, metric_of, pack_member
from aimass.lifecycle.prepare import prepare, spoken
from aimass.lifecycle.scenario import Distil, Member, Scenario, load, parse, read
from aimass.lifecycle.stages import Stages, fingerprint
from aimass.lifecycle.workers import train_members
from aimass.registry import bundle as bundles
from aimass.registry.store import CANDIDATE, PRODUCTION, Published, Registry
from aimass.runtime.evaluate import evaluate
from aimass.runtime.load import Model, resolve
from aimass.training.distil import DistilSpec

BUNDLE, TEACHER = "bundle", "teacher.json"
MOST_NAME = 64


@dataclass(frozen=True, slots=True)
class Made:
    """A student that was trained, packed and measured, and its teacher.

    Args:
        cards: its scorecards by split.
        teacher: the name and version that it learned from.
        taught: the scorecard of the teacher on the same test data.
        comparison: of the student with its teacher; below 0 where the student is better.
        unlabelled: clips without labels that it heard.
    """

    bundle: bundles.Bundle
    cards: dict[str, Scorecard]
    teacher: str
    taught: Scorecard
    comparison: Comparison
    unlabelled: int


@dataclass(frozen=True, slots=True)
class Student(Made):
    """A student that was published."""

    published: Published

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.published.name,
            "version": self.published.version,
            "folder": str(self.published.folder),
            "digest": self.bundle.digest,
            "aliases": list(self.published.aliases),
            "parameters": self.bundle.manifest.parameters,
            "precision": self.bundle.form.precision,
            "unlabelled": self.unlabelled,
            "teacher": {"model": self.teacher} | self.taught.summary(),
            "comparison": self.comparison.to_dict(),
        } | {split: card.summary() for split, card in self.cards.items()}


def distil(
    scenario: str | Path | Scenario,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> list[Student]:
    """Train the students of a scenario after a teacher that is there already, and publish them.

    Raises:
        ScenarioError, DataError, AudioError: what is wrong with the file, labels or sound.
        RequestError: no teacher named, or one that cannot teach this.
        UnknownModel: no such teacher.
        TrainingError: training or export failed.
    """
    plan = spoken(scenario if isinstance(scenario, Scenario) else read(Path(scenario)))
    config = config or settings()
    teacher = teacher_of(plan, config)
    stages = Stages(config.home / "builds" / plan.name)
    with stages.lock():
        prepared = prepare(plan, config, stages, progress)
        return students(plan, teacher, prepared, stages, config, progress)


def teacher_of(plan: Scenario, config: Settings) -> Model:
    """The teacher that a scenario names, else the scenario's own model.

    Raises:
        RequestError: none is named, and nothing was built.
        UnknownModel: no model of the name.
    """
    if plan.distil and plan.distil.teacher is not None:
        return resolve(plan.distil.teacher, config)
    registry = Registry(config.home, config.registry_url)
    for alias in (PRODUCTION, CANDIDATE):
        if registry.exists and registry.resolve(plan.name, alias):
            return resolve(f"{plan.name}@{alias}", config)
    raise RequestError(
        f"students of the scenario '{plan.name}', which names no teacher and was not built",
        expected="the name of a model, or a build of the scenario",
        fix="Give --teacher NAME (aimass models list shows them), or type: aimass build SCENARIO",
        param="teacher",
    )


def students(
    plan: Scenario,
    teacher: Model,
    prepared: Path,
    stages: Stages,
    config: Settings,
    progress: Progress,
) -> list[Student]:
    """Train, pack, measure and publish every student of a plan.

    Args:
        prepared: the folder of the stage.
    """
    found = make(plan, teacher, prepared, stages, config, progress)
    shutil.rmtree(passes_of(prepared, stages), ignore_errors=True)
    return [publish(one, plan, config) for one in found]


def make(
    plan: Scenario,
    teacher: Model,
    prepared: Path,
    stages: Stages,
    config: Settings,
    progress: Progress,
) -> list[Made]:
    """Train, pack and measure every student of a plan; what is finished is found."""
    jobs = jobs_of_students(plan, teacher, prepared, stages, config, progress)
    lesson = jobs[0].lesson
    assert lesson is not None
    trained = _trained(jobs, stages, progress)
    taught = _taught(plan, lesson, prepared, stages, progress)
    found = []
    dev = corpora.read(prepared / "dev.jsonl.gz")
    for job, weights in zip(jobs, trained, strict=True):
        graphs = export_member(weights, dev, stages)
        packed = pack_member(job, weights, graphs, stages, progress)
        found.append(_made(job, packed, taught, stages))
    return found


def publish(student: Made, plan: Scenario, config: Settings) -> Student:
    """Publish a student under its own name: in production where it passes the gates."""
    card = student.cards["test"]
    keep_card(config.home, student.bundle.digest, card)
    alias = PRODUCTION if judge(card, plan.gates, None).passed else CANDIDATE
    published = Registry(config.home, config.registry_url).publish(student.bundle, alias)
    own = {field.name: getattr(student, field.name) for field in fields(Made)}
    return Student(**own, published=published)


def jobs_of_students(
    plan: Scenario,
    teacher: Model,
    prepared: Path,
    stages: Stages,
    config: Settings,
    progress: Progress,
) -> list[Job]:
    """What the students are trained from; a teacher whose answers teach is asked for them."""
    if plan.task is Task.EMBED:
        raise RequestError(
            f"students of '{plan.name}', which is for voiceprints",
            expected="a task with labels or words, which a teacher can speak of",
            fix="Train a smaller member instead",
            param="task",
        )
    lesson = _lesson(plan, teacher, prepared, stages, config, progress)
    return [_job(plan, one, lesson, prepared, stages, config) for one in plan.students()]


def planned(
    scenario: str | Path,
    parameters: Sequence[int] = (),
    family: str | None = None,
    epochs: int | None = None,
    **changes: Any,
) -> Scenario:
    """A scenario file with what a person typed in place of what its section ``distil`` says.

    Args:
        parameters: a student of each size, otherwise as the first of the section.
        changes: other keys of the section; what is None stays as it is.

    Raises:
        ScenarioError: a file, or a value, that is wrong.
    """
    path = Path(scenario)
    content = load(path)
    about = content.get("distil")
    about = dict(about) if isinstance(about, dict) else {}
    students = about.get("students") or [{"parameters": 60_000}]
    if parameters and isinstance(students[0], dict):
        first = {key: value for key, value in students[0].items() if key != "name"}
        students = [first | {"parameters": size} for size in parameters]
        if len(students) > 1:
            students = [one | {"name": f"student-{one['parameters']}"} for one in students]
    if family is not None:
        students = [one | {"family": family} for one in students]
    if epochs is not None:
        given = about.get("training") or content.get("training") or {}
        about["training"] = dict(given) | {"epochs": epochs}
    about |= {key: value for key, value in changes.items() if value is not None}
    return parse(content | {"distil": about | {"students": students}}, path)


def _lesson(
    plan: Scenario,
    teacher: Model,
    prepared: Path,
    stages: Stages,
    config: Settings,
    progress: Progress,
) -> Lesson:
    """The teacher with the stage `said`."""
    about = plan.distil or Distil()
    digest = pinned(teacher)
    by: By = about.targets or ("answers" if plan.task is Task.TRANSCRIBE else "posteriors")
    given = None if plan.data.unlabelled is None else _unlabelled(plan, plan.data.unlabelled)
    asked = [digest, about.confidence, about.n_best] if by == "answers" and about.alpha else None
    inputs = [
        prepared.name,
        None if given is None else fingerprint(given),
        plan.data.margin,
        plan.language,
        asked,
    ]

    def work(folder: Path) -> None:
        silent = _audible(given, prepared, plan, config, progress) if given else []
        if asked is None:
            said.write(map(said.Told, silent), folder / said.FILE)
            return
        clips = [*corpora.read(prepared / "train.jsonl.gz").clips, *silent]
        engine = opened(teacher, config.home)
        scratch = stages.scratch("said", inputs)
        told = said.ask(
            engine,
            clips,
            plan.task,
            plan.language,
            scratch,
            most=about.n_best,
            progress=progress,
        )
        engine.close()
        said.write(said.sure(told, about.confidence), folder / said.FILE)
        shutil.rmtree(scratch)

    heard = stages.run("said", inputs, work)
    spec = DistilSpec(about.alpha, about.temperature, about.keep)
    store = stages.folder / f"teachers-{prepared.name}"
    return Lesson(teacher, digest, by, spec, heard, store, config.home)


def _unlabelled(plan: Scenario, source: Path) -> Corpus:
    return said.unlabelled(source, plan.data.columns if source.is_file() else None)


def _audible(
    given: Corpus, prepared: Path, plan: Scenario, config: Settings, progress: Progress
) -> list[Clip]:
    """The clips that nobody labelled and that can be heard, none of them of dev or test."""
    cache = config.home / "cache/measurements"
    clips, measured = said.audible(given, cache, plan.data.margin, progress)
    held = {split: corpora.read(prepared / f"{split}.jsonl.gz").clips for split in CARDS}
    others = [clip for own in held.values() for clip in own]
    of_others = measure(others, cache, progress=progress).of
    digests = {
        clip.path.resolve(): found[clip.id].file
        for own, found in ((given.clips, measured), (others, of_others))
        for clip in own
    }
    refuse_leaks(Splits(tuple(clips), held["dev"], held["test"]), digests.__getitem__)
    return clips


def _job(
    plan: Scenario,
    member: Member,
    lesson: Lesson,
    prepared: Path,
    stages: Stages,
    config: Settings,
) -> Job:
    """What a student is trained from; the name that it is published under is its plan's."""
    name = f"{plan.name[: MOST_NAME - 1 - len(str(member.name))]}-{member.name}"
    start = None if member.start_from is None else resolve(member.start_from, config)
    named = plan.model_copy(update={"name": name})
    return replace(unplaced(named, member, start, prepared, stages, config), lesson=lesson)


def _trained(jobs: Sequence[Job], stages: Stages, progress: Progress) -> list[Path]:
    """The folder of each trained student; what stopped one stops all, and stays to go on from."""
    jobs = [job.at(stages.scratch("train", inputs_of(job))) for job in jobs]
    folders = [stages.target("train", inputs_of(job)) for job in jobs]
    todo = {folder: job for job, folder in zip(jobs, folders, strict=True) if not folder.is_dir()}
    stopped = train_members([(job, folder) for folder, job in todo.items()], progress)
    for error in stopped.values():
        raise error
    if not todo:
        stages.reused.append("train")
    for job in jobs:
        shutil.rmtree(job.scratch, ignore_errors=True)
    return folders


def _taught(
    plan: Scenario, lesson: Lesson, prepared: Path, stages: Stages, progress: Progress
) -> Scorecard:
    """The teacher on the test data."""

    def work(folder: Path) -> None:
        engine = opened(lesson.teacher, lesson.home)
        test = corpora.read(prepared / "test.jsonl.gz")
        write_card(
            evaluate(engine, test, metric=metric_of(plan), progress=progress), folder / TEACHER
        )
        engine.close()

    about = [lesson.digest, prepared.name, str(metric_of(plan))]
    return read_card(stages.run("heed", about, work) / TEACHER)


def _made(job: Job, packed: Path, taught: Scorecard, stages: Stages) -> Made:
    """A packed student with its teacher in the lineage of its bundle."""
    assert job.lesson is not None
    lesson = job.lesson

    def work(folder: Path) -> None:
        shutil.copytree(packed / BUNDLE, folder / BUNDLE)
        own = bundles.load(folder / BUNDLE)
        content = own.manifest.model_dump(mode="json", exclude={"format", "files"})
        lineage = content["lineage"] | {"distilled": lesson.lineage}
        bundles.write(own.folder, content | {"lineage": lineage}, own.golden())

    folder = stages.run("student", [packed.name, lesson.lineage], work)
    bundle = bundles.load(folder / BUNDLE)
    cards = {split: card_of(packed, split) for split in CARDS}
    return Made(
        bundle,
        cards,
        lesson.teacher.reference,
        taught,
        compare(cards["test"], taught),
        len(lesson.unlabelled),
    )
