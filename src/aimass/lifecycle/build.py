"""`aimass build`: from raw recordings to a published model, stage by stage.

::

    prepare   recordings and labels -> checked Lhotse manifests, token set, report
    train     manifests -> averaged weights of each member (checkpoints inside)
    export    weights -> streaming ONNX graphs, float and int8
    pack      graphs + scorecards -> a bundle of each member
    select    the best member on dev
    publish   its bundle -> registry name@version; alias production where the gates are passed
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, Task, no_progress
from aimass.base.errors import ScenarioError
from aimass.base.settings import Settings, settings
from aimass.data import corpus as corpora
from aimass.evaluation.gates import Verdict, judge, select
from aimass.evaluation.scorecard import Scorecard
from aimass.lifecycle.due import keep_card
from aimass.lifecycle.members import Job, inputs_of, train_members
from aimass.lifecycle.pack import card_of, export_member, pack_member, voiceprint_card
from aimass.lifecycle.prepare import prepare
from aimass.lifecycle.scenario import Member, Scenario, read
from aimass.lifecycle.stages import Stages
from aimass.lifecycle.tracking import Tracking
from aimass.registry import bundle as bundles
from aimass.registry import pretrained
from aimass.registry.store import PRODUCTION, Published, Registry
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.evaluate import evaluate
from aimass.runtime.load import Model, resolve

CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class Built:
    """What a build gives.

    Args:
        scorecard: of the selected member's packed graph on the test data.
        member: the selected one.
        members: the scorecard of each on dev and on test.
        verdict: whether the scenario's gates are passed, and if not, why.
        report: the pages of data and of the selected member.
        reused: the stages that were taken from an earlier build.
    """

    published: Published
    bundle: bundles.Bundle
    scorecard: Scorecard
    member: str
    members: dict[str, dict[str, Scorecard]]
    verdict: Verdict
    report: dict[str, Path]
    reused: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.published.name,
            "version": self.published.version,
            "folder": str(self.published.folder),
            "digest": self.bundle.digest,
            "aliases": list(self.published.aliases),
            "parameters": self.bundle.manifest.parameters,
            "precision": self.bundle.manifest.graph.precision,
            "member": self.member,
            "members": {
                name: {split: card.summary() for split, card in cards.items()}
                for name, cards in self.members.items()
            },
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
    """Build a scenario's members and publish the best, going on where an earlier build stopped.

    Raises:
        ScenarioError, DataError, AudioError: what is wrong with the file, labels or sound.
        TrainingError: training or export failed.
    """
    plan = scenario if isinstance(scenario, Scenario) else read(Path(scenario))
    config = config or settings()
    stages = Stages(config.home / "builds" / plan.name)
    with stages.lock():
        prepared = prepare(plan, config, stages, progress)
        jobs = [job_of(plan, member, prepared, stages, config) for member in plan.resolved()]
        trained = _train(jobs, stages, progress)
        packed = {
            job.name: pack_member(job, weights, export_member(weights, stages), stages, progress)
            for job, weights in zip(jobs, trained, strict=True)
        }
        cards = {
            name: {split: card_of(folder, split) for split in ("dev", "test")}
            for name, folder in packed.items()
        }
        best = select({name: own["dev"] for name, own in cards.items()})
        bundle = bundles.load(packed[best] / "bundle")
        registry = Registry(config.home, config.registry_url)
        card = cards[best]["test"]
        verdict = judge(card, plan.gates, _baseline(plan, bundle, prepared, registry))
        keep_card(config.home, bundle.digest, card)
        published = registry.publish(bundle, PRODUCTION if verdict.passed else CANDIDATE)
    report = {"data": prepared / "report", "scorecard": packed[best] / "report"}
    return Built(
        published, bundle, card, best, cards, verdict, report, tuple(dict.fromkeys(stages.reused))
    )


def job_of(plan: Scenario, member: Member, prepared: Path, stages: Stages, config: Settings) -> Job:
    """What one member is trained from, with the scratch folder where that goes on."""
    start = None if member.start_from is None else resolve(member.start_from, config)
    if start is not None:
        _refuse_unfit(member, start)
    job = Job(
        plan,
        member,
        prepared,
        scratch=Path(),
        passes=stages.folder / "unfinished" / f"passes-{prepared.name}",
        cache=config.home / "cache/features",
        start=None if start is None else start.folder,
        terms=None if start is None else f"{member.start_from}: {_licence(start)}",
        tracking=Tracking(config.home, config.registry_url, plan.name),
    )
    return job.at(stages.scratch("train", inputs_of(job)))


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


def _licence(start: Model) -> str:
    """The licence of a model's weights."""
    if start.kind == "bundle":
        return bundles.load(start.folder).manifest.licences.get("weights", "unknown")
    return pretrained.verify(start.folder).licence


def _train(jobs: list[Job], stages: Stages, progress: Progress) -> list[Path]:
    """The folder of each member; those that are not there yet are trained side by side."""
    folders = [stages.target("train", inputs_of(job)) for job in jobs]
    todo = {folder: job for job, folder in zip(jobs, folders, strict=True) if not folder.is_dir()}
    train_members([(job, folder) for folder, job in todo.items()], progress)
    if not todo:
        stages.reused.append("train")
    for job in jobs:
        shutil.rmtree(job.scratch, ignore_errors=True)
    shutil.rmtree(jobs[0].passes, ignore_errors=True)
    return folders


def _baseline(
    plan: Scenario, bundle: bundles.Bundle, prepared: Path, registry: Registry
) -> Scorecard | None:
    """The scorecard of the model to beat, on the same test data; None where there is none."""
    if plan.gates.better_than is None:
        return None
    known = registry.resolve(plan.name, plan.gates.better_than)
    if known is None or known.digest == bundle.digest:
        return None
    test = corpora.read(prepared / "test.jsonl.gz")
    engine = BundleEngine(bundles.load(known.folder))
    if plan.task is Task.EMBED:
        return voiceprint_card(engine, test.clips)
    return evaluate(engine, test)
