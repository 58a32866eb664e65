"""Joint training: which members may learn side by side, and how one process trains them all."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, Task
from aimass.base.digests import of_value
from aimass.lifecycle.members import (
    Job,
    Noted,
    Together,
    augment_of,
    features_of,
    inputs_of,
    keep,
    ready,
    sampler_of,
    symbols_of,
    training_of,
)
from aimass.lifecycle.tracking import tracked
from aimass.training.joint import Joint, train_jointly
from aimass.training.loop import LOG


def side_by_side(jobs: Sequence[Job], weight: float) -> list[Job]:
    """The jobs, each with whom it is trained; what no other fits is trained alone."""
    groups: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        shared = None if weight == 0 else _shared(job)
        groups["" if shared is None else of_value(shared)].append(job)
    alone = {job.name for job in groups.pop("", [])}
    alone |= {group[0].name for group in groups.values() if len(group) == 1}
    of_each = {
        job.name: Together(weight, of_value([inputs_of(one) for one in group]))
        for group in groups.values()
        for job in group
    }
    return [job if job.name in alone else replace(job, together=of_each[job.name]) for job in jobs]


def _shared(job: Job) -> list[Any] | None:
    """What members must have in common to take the same steps; None for one that is apart."""
    member, training = job.member, training_of(job)
    assert member.training is not None
    apart = member.family == "whisper" or member.frozen or member.training.processes > 1
    if apart or job.plan.task is Task.EMBED:
        return None
    augment = augment_of(job).to_dict()
    shared = [
        symbols_of(job).symbols,
        [training.epochs, training.cycles, training.batch_size],
        sampler_of(job).to_dict(),
    ]
    if job.plan.task is Task.TRANSCRIBE:  # frames are compared one by one
        return [*shared, augment, member.stack * features_of(job).frame_shift]
    return [*shared, {key: value for key, value in augment.items() if key != "policy"}]


def train_together(jobs: Sequence[tuple[Job, Path]], progress: Progress) -> None:
    """Train members jointly and leave each in its folder, as `train_member` does."""
    first, _ = jobs[0]
    assert first.together is not None
    members = [ready(job, progress) for job, _ in jobs]
    own = {job.name: first.scratch / job.name for job, _ in jobs}
    noted = Noted(progress)
    with ExitStack() as records:
        copies = {}
        for member in members:
            job, folder = member.job, own[member.job.name]
            folder.mkdir(parents=True, exist_ok=True)
            record = tracked(job.tracking, folder, folder / LOG, job.name, member.told)
            copies[job.name] = records.enter_context(record)

        def told(name: str, row: dict[str, float]) -> None:
            noted.epoch(row)
            copies[name]()

        best = train_jointly(
            [member.trained for member in members],
            [member.aim for member in members],
            [member.data for member in members],
            [member.dev for member in members],
            [member.spec for member in members],
            first.scratch,
            joint=Joint(first.together.weight),
            names=list(own),
            progress=noted,
            report=told,
        )
    for member, model, (job, folder) in zip(members, best, jobs, strict=True):
        keep(member, model.cpu(), own[job.name], folder)
