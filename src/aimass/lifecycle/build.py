"""`aimass build`: from raw recordings to a published model, stage by stage.

::

    prepare   recordings and labels -> checked Lhotse manifests, token set, report
    train     manifests -> averaged weights of each member (checkpoints inside)
    export    weights -> streaming ONNX graphs, float and int8
    pack      graphs + scorecards -> a bundle of each member
    hear      each member over dev and test, once
    choose    the best way to combine the members, on dev
    massive   the members that it keeps -> one bundle, measured
    students  where the scenario has some: small models that learn from the massive model, or
              from the best member where that is as good on dev; as `aimass compress distil`
    dial      what serves, with its students beside it -> its operating points, measured here
    publish   registry name@version; alias production where the gates are passed
"""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, Task, no_progress
from aimass.base.errors import (
    AimassError,
    BundleError,
    DataError,
    RequestError,
    ScenarioError,
    TrainingError,
)
from aimass.base.settings import Settings, settings
from aimass.data import corpus as corpora
from aimass.data.corpus import Corpus
from aimass.ensemble.ways import WaysSpec
from aimass.evaluation.gates import Verdict, judge, select
from aimass.evaluation.scorecard import Scorecard
from aimass.lifecycle.combine import Combined, Purpose, combine, part
from aimass.lifecycle.dial import Dialled, dialled
from aimass.lifecycle.distil import Student, students, teacher_of
from aimass.lifecycle.due import keep_card
from aimass.lifecycle.jobs import unplaced
from aimass.lifecycle.joint import side_by_side
from aimass.lifecycle.members import Job, inputs_of, snapshot_of, training_of
from aimass.lifecycle.pack import (
    CARDS,
    card_of,
    export_member,
    metric_of,
    pack_member,
)
from aimass.lifecycle.prepare import prepare, spoken
from aimass.lifecycle.scenario import Member, Scenario, read
from aimass.lifecycle.stages import Stages
from aimass.lifecycle.workers import noted, train_members
from aimass.registry import bundle as bundles
from aimass.registry.massive import MemberModel, voice_of
from aimass.registry.store import CANDIDATE, PRODUCTION, Published, Registry
from aimass.runtime.dial import pick
from aimass.runtime.evaluate import evaluate
from aimass.runtime.load import Model, resolve
from aimass.runtime.massive import as_it_is, open_bundle

MASSIVE, STUDENTS = "massive", "students"

Folders = dict[str, Path]
Failures = dict[str, Exception]


@dataclass(frozen=True, slots=True)
class Built:
    """What a build gives.

    Args:
        failed: what stopped each member that is not among `members`.
        scorecard: of what was published, on the test data.
        students: small models that learned from it, published under names of their own.
        member: the best one; None where all of them were models of others.
        members: the scorecard of each on dev and on test.
        massive: all members as one; None of a single member, or of voiceprints.
        verdict: whether the scenario's gates are passed, and if not, why.
        report: the pages of data and of what was published.
        reused: the stages that were taken from an earlier build.
    """

    published: Published
    bundle: bundles.Bundle
    scorecard: Scorecard
    students: tuple[Student, ...]
    member: str | None
    massive: Combined | None
    members: dict[str, dict[str, Scorecard]]
    failed: Failures
    verdict: Verdict
    report: dict[str, Path]
    reused: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        form = self.bundle.manifest.graph
        return {
            "model": self.published.name,
            "version": self.published.version,
            "folder": str(self.published.folder),
            "digest": self.bundle.digest,
            "aliases": list(self.published.aliases),
            "parameters": self.bundle.manifest.parameters,
            "precision": None if form is None else form.precision,
            "selected": MASSIVE if self.bundle.massive else self.member,
            "member": self.member,
            "massive": None if self.massive is None else self.massive.to_dict(),
            "members": {
                name: {split: card.summary() for split, card in cards.items()}
                for name, cards in self.members.items()
            },
            "students": [one.to_dict() for one in self.students],
            "points": [
                point.model_dump(mode="json") for point in self.bundle.manifest.points or ()
            ],
            "failed": [
                {"name": name, "reason": reason_of(error)} for name, error in self.failed.items()
            ],
            "gates": {"passed": self.verdict.passed, "reasons": list(self.verdict.reasons)},
            "reports": {name: str(path) for name, path in self.report.items()},
            "reused": list(self.reused),
            "scorecard": self.scorecard.to_dict(),
        }


def build(
    scenario: str | Path | Scenario,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Built:
    """Build a scenario's members and what they are together, and publish the best of it.

    It goes on where an earlier build stopped. A member that fails is told, and the others go on.

    Raises:
        ScenarioError, DataError, AudioError: what is wrong with the file, labels or sound.
        TrainingError: training or export failed.
    """
    plan = spoken(scenario if isinstance(scenario, Scenario) else read(Path(scenario)))
    config = config or settings()
    others = {
        str(one.name): part(one.engine, plan.task, config)
        for one in plan.resolved()
        if one.engine is not None
    }
    stages = Stages(config.home / "builds" / plan.name)
    with stages.lock():
        prepared = prepare(plan, config, stages, progress)
        jobs = jobs_of(plan, prepared, stages, config)
        trained, failed = _train(jobs, stages, progress)
        packed, unpacked = _pack(jobs, trained, stages, progress)
        failed |= unpacked
        _refuse_too_few(jobs, failed)
        cards = {
            name: {split: card_of(folder, split) for split in CARDS}
            for name, folder in packed.items()
        }
        best = select({name: own["dev"] for name, own in cards.items()}) if cards else None
        massive = None
        try:
            massive = _massive(plan, packed, others, prepared, stages, config, progress)
        except (DataError, BundleError, RequestError) as error:
            if best is None:
                raise
            failed[MASSIVE] = noted(MASSIVE, error)  # the best member is there all the same
        if massive is not None:
            cards |= {name: massive.members[name] for name in others}
        lowest = min((cards[name]["dev"].error_rate for name in packed), default=math.inf)
        report = {"data": prepared / "report"}
        # On a small dev set both may be without error; others' voices are then the safer choice.
        if massive is not None and massive.error_rate <= lowest:
            bundle, card = massive.bundle, massive.cards["test"]
            report |= massive.reports
        else:
            assert best is not None  # else there were others alone, and they are several
            bundle, card = bundles.load(packed[best] / "bundle"), cards[best]["test"]
            report |= {"scorecard": packed[best] / "report"}
        registry = Registry(config.home, config.registry_url)
        taught = _taught(plan, bundle, prepared, stages, config, failed, progress)
        if plan.task is not Task.EMBED:
            dial = _with_dial(plan, bundle, taught, prepared, stages, config, failed, progress)
            bundle, report["dial"] = dial.bundle, dial.report
        verdict = judge(card, plan.gates, _baseline(plan, bundle, prepared, registry, config))
        verdict = _with_wish(verdict, plan, bundle)
        keep_card(config.home, bundle.digest, card)
        published = registry.publish(bundle, PRODUCTION if verdict.passed else CANDIDATE)
    reused = tuple(dict.fromkeys(stages.reused))
    return Built(
        published, bundle, card, taught, best, massive, cards, failed, verdict, report, reused
    )


def _taught(
    plan: Scenario,
    bundle: bundles.Bundle,
    prepared: Path,
    stages: Stages,
    config: Settings,
    failed: Failures,
    progress: Progress,
) -> tuple[Student, ...]:
    """The students of a scenario that has some; what stops them is no fault of their teacher."""
    if plan.distil is None:
        return ()
    own = Model(plan.name, plan.name, "bundle", "registry", bundle.folder, bundle.digest)
    try:
        teacher = teacher_of(plan, config) if plan.distil.teacher else own
        return tuple(students(plan, teacher, prepared, stages, config, progress))
    except Exception as error:  # whatever it is, their teacher is worth its training
        failed[STUDENTS] = noted(STUDENTS, error)
        return ()


def _with_dial(
    plan: Scenario,
    bundle: bundles.Bundle,
    taught: Sequence[Student],
    prepared: Path,
    stages: Stages,
    config: Settings,
    failed: Failures,
    progress: Progress,
) -> Dialled:
    """What serves, with its operating points; students stand beside members that they go with."""
    purpose, sets = _purpose(plan, prepared), _sets(prepared)
    beside = {one.published.name: one.bundle for one in taught} if bundle.massive else {}
    try:
        return dialled(bundle, beside, purpose, sets, plan.wish, stages, config, progress)
    except BundleError as error:
        if not beside:
            raise
        failed[STUDENTS] = noted(STUDENTS, error)
        return dialled(bundle, {}, purpose, sets, plan.wish, stages, config, progress)


def _with_wish(verdict: Verdict, plan: Scenario, bundle: bundles.Bundle) -> Verdict:
    """A verdict that also holds the operating point that will serve against wish and gates."""
    if not plan.wish or bundle.manifest.points is None:
        return verdict
    try:
        point = pick(bundle.manifest.points, plan.wish).point
    except RequestError as error:
        return Verdict(False, (*verdict.reasons, f"{error.found}; {error.expected}"))
    asked = (
        ("error", point.error_rate, plan.gates.error_rate),
        ("upper end of the interval", point.interval[1], plan.gates.upper),
    )
    reasons = [
        f"the {what} of the point '{point.name}', which serves, is {found:.2%}, above {most:.2%}"
        for what, found, most in asked
        if most is not None and found > most
    ]
    return Verdict(verdict.passed and not reasons, (*verdict.reasons, *reasons))


def _massive(
    plan: Scenario,
    packed: Folders,
    others: Mapping[str, MemberModel],
    prepared: Path,
    stages: Stages,
    config: Settings,
    progress: Progress,
) -> Combined | None:
    """All members as one; None of a single member, or of voiceprints, which do not combine."""
    own = {name: bundles.load(folder / "bundle") for name, folder in packed.items()}
    models: dict[str, MemberModel] = {**own, **others}
    if len(models) < 2 or plan.task is Task.EMBED:
        return None
    asked = plan.ensemble
    spec = WaysSpec(asked.methods, asked.budget, asked.unit, asked.prune)
    return combine(
        _purpose(plan, prepared), models, _sets(prepared), spec, stages, config, progress
    )


def _purpose(plan: Scenario, prepared: Path) -> Purpose:
    return Purpose(
        plan.name,
        plan.task,
        plan.language,
        metric_of(plan),
        prepared.name,
        (prepared / bundles.LICENCE).read_text(encoding="utf-8"),
    )


def _sets(prepared: Path) -> dict[str, Corpus]:
    return {split: corpora.read(prepared / f"{split}.jsonl.gz") for split in CARDS}


def jobs_of(plan: Scenario, prepared: Path, stages: Stages, config: Settings) -> list[Job]:
    """What the members to train are trained from, those that learn jointly with each other."""
    alone = [
        _unplaced(plan, member, prepared, stages, config)
        for member in plan.resolved()
        if member.engine is None
    ]
    return [_placed(job, stages) for job in side_by_side(alone, plan.joint)]


def job_of(plan: Scenario, member: Member, prepared: Path, stages: Stages, config: Settings) -> Job:
    """What one member is trained from, with the scratch folder where that goes on."""
    return _placed(_unplaced(plan, member, prepared, stages, config), stages)


def _placed(job: Job, stages: Stages) -> Job:
    """A job with its scratch folder; members that learn jointly share one."""
    inputs = inputs_of(job) if job.together is None else asdict(job.together)
    return job.at(stages.scratch("train", inputs))


def _unplaced(
    plan: Scenario, member: Member, prepared: Path, stages: Stages, config: Settings
) -> Job:
    start = None if member.start_from is None else resolve(member.start_from, config)
    if start is not None:
        _refuse_unfit(member, start)
    return unplaced(plan, member, start, prepared, stages, config)


def _refuse_unfit(member: Member, start: Model) -> None:
    fitting = ("bundle", "whisper") if member.family == "whisper" else ("bundle",)
    if start.kind not in fitting:
        raise ScenarioError(
            f"member '{member.name}' of the family {member.family} starts from "
            f"'{member.start_from}', a model of kind {start.kind}",
            expected=f"a model of kind {' or '.join(fitting)}",
            fix="See: aimass models list, or correct 'family'",
            param="members.start_from",
        )


def _train(jobs: list[Job], stages: Stages, progress: Progress) -> tuple[Folders, Failures]:
    """The folder of each trained member; those that are not there yet are trained side by side.

    What a member that failed left behind stays, so that a build run again goes on from there.
    """
    folders = {job.name: stages.target("train", inputs_of(job)) for job in jobs}
    todo = {folders[job.name]: job for job in jobs if not folders[job.name].is_dir()}
    for job in jobs:  # who learns jointly learns with all the others again
        if any(job.together and job.together == one.together for one in todo.values()):
            todo[folders[job.name]] = job
    stopped = train_members([(job, folder) for folder, job in todo.items()], progress)
    if jobs and not todo:
        stages.reused.append("train")
    failed = {  # two members may be one training
        name: stopped[todo[folder].name]
        for name, folder in folders.items()
        if folder in todo and todo[folder].name in stopped
    }
    for job in jobs:
        if job.name not in failed:
            shutil.rmtree(job.scratch, ignore_errors=True)
    if jobs and not failed:
        shutil.rmtree(jobs[0].passes, ignore_errors=True)
    return {name: folder for name, folder in folders.items() if name not in failed}, failed


def _pack(
    jobs: list[Job], trained: Folders, stages: Stages, progress: Progress
) -> tuple[Folders, Failures]:
    """The folder with bundle and scorecards of each trained member."""
    packed, failed = {}, {}
    for job, weights in _each(jobs, trained):
        try:
            dev = corpora.read(job.prepared / "dev.jsonl.gz")
            graphs = export_member(weights, dev, stages)
            packed[job.name] = pack_member(job, weights, graphs, stages, progress)
        except Exception as error:  # whatever it is, the other members are worth their training
            failed[job.name] = noted(job.name, error)
    return packed, failed


def _each(jobs: list[Job], trained: Folders) -> Iterator[tuple[Job, Path]]:
    """The members that were trained; each snapshot of a run of several cycles is one more."""
    for job in (job for job in jobs if job.name in trained):
        folder = trained[job.name]
        for number in range(1, training_of(job).cycles):
            name = f"{job.name}-cycle{number}"
            yield (
                replace(job, member=job.member.model_copy(update={"name": name})),
                snapshot_of(folder, number),
            )
        yield job, folder


def reason_of(error: Exception) -> str:
    """What stopped a member, in a line."""
    return str(error) if isinstance(error, AimassError) else f"{type(error).__name__}: {error}"


def _refuse_too_few(jobs: list[Job], failed: Failures) -> None:
    """Stop where more than half of the members failed; a member on its own says why itself."""
    if len(jobs) >= 2 * len(failed) and (not jobs or len(jobs) > len(failed)):
        return
    if len(jobs) == 1:
        raise failed[jobs[0].name]
    told = "; ".join(f"'{name}': {reason_of(error)}" for name, error in failed.items())
    raise TrainingError(
        f"{len(failed)} of {len(jobs)} members failed: {told}",
        expected="at least half of them trained",
        fix="Correct what is said of them and build again: what was trained is kept",
    )


def _baseline(
    plan: Scenario, bundle: bundles.Bundle, prepared: Path, registry: Registry, config: Settings
) -> Scorecard | None:
    """The scorecard of the model to beat, on the same test data; None where there is none."""
    if plan.gates.better_than is None:
        return None
    known = registry.resolve(plan.name, plan.gates.better_than)
    if known is None or voice_of(bundles.load_outside(known.folder)) == voice_of(bundle):
        return None
    test = corpora.read(prepared / "test.jsonl.gz")
    return evaluate(as_it_is(open_bundle(known.folder, home=config.home)), test)
