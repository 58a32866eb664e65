"""What one model is trained from, as a build and the students of a teacher both ask for it."""

from pathlib import Path

from aimass.base.settings import Settings
from aimass.lifecycle.members import Job
from aimass.lifecycle.scenario import Member, Scenario
from aimass.lifecycle.stages import Stages
from aimass.lifecycle.tracking import Tracking
from aimass.registry import bundle as bundles
from aimass.registry import pretrained
from aimass.runtime.load import Model


def unplaced(
    plan: Scenario,
    member: Member,
    start: Model | None,
    prepared: Path,
    stages: Stages,
    config: Settings,
) -> Job:
    """A job that has no scratch folder yet; its record of training is named after its plan.

    Args:
        start: the model that ``start_from`` names.
        prepared: the folder of the stage.
    """
    return Job(
        plan,
        member,
        prepared,
        scratch=Path(),
        passes=passes_of(prepared, stages),
        cache=config.home / "cache/features",
        start=None if start is None else start.folder,
        terms=None if start is None else f"{member.start_from}: {_licence(start)}",
        tracking=Tracking(config.home, config.registry_url, plan.name),
    )


def passes_of(prepared: Path, stages: Stages) -> Path:
    """Where the augmented passes that models share stand while they are trained."""
    return stages.folder / "unfinished" / f"passes-{prepared.name}"


def _licence(start: Model) -> str:
    """The licence of a model's weights."""
    if start.kind == "bundle":
        return bundles.load(start.folder).manifest.licences.get("weights", "unknown")
    return pretrained.verify(start.folder).licence
