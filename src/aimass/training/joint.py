"""Members that are trained side by side and pull each other towards what they say together.

Each member goes down its own loss and, with a weight that grows from nothing, towards the
renormalised geometric mean of all members' posteriors. While the weight is small they find their
own ways; later what one has learned reaches the others.

Sources: Zhang, Trmal, Povey and Khudanpur 2014, "Improving deep neural network acoustic models
using generalized maxout networks" (ensemble training, Kaldi's nnet2), where the mean of the
posteriors is a second label whose weight grows from 0.1 to 5; Zhang et al. 2018, "Deep mutual
learning", and Anil et al. 2018, "Large scale distributed neural network training through online
distillation", with a divergence in place of the label.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from aimass.base.contract import Progress, no_progress
from aimass.base.errors import TrainingError
from aimass.models.model import SpeechModel
from aimass.training.checkpoint import load_runs, save_runs
from aimass.training.dev import DevSet
from aimass.training.examples import TrainingSet
from aimass.training.loop import (
    CHECKPOINT,
    Trainee,
    TrainSpec,
    finished,
    go,
    one_thread,
    started,
)
from aimass.training.objective import divergence, posteriors
from aimass.training.step import Answers

JointReport = Callable[[str, dict[str, float]], None]
"""Told the name of a member and the row of its log of each epoch."""


@dataclass(frozen=True, slots=True)
class Joint:
    """How members pull each other.

    Args:
        weight: of the divergence from the common posteriors beside each member's own loss, at the
            end of the run; it grows from 0 in a line.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise TrainingError(
                f"joint training with a weight of {self.weight}",
                expected="a number, 0 or more",
                fix="Set 1",
            )

    def __call__(self, answers: Sequence[Answers], done: float) -> list[Tensor]:
        """What each member goes down, ``(utterances,)`` of each, at this share of the run.

        Raises:
            TrainingError: members that heard the same sound in different numbers of frames.
        """
        weight = self.weight * done
        if not weight or len(answers) == 1:
            return [one.losses for one in answers]
        rows = [posteriors(one.outputs, one.head, one.batch) for one in answers]
        _refuse_uneven(answers, rows)
        with torch.no_grad():
            common = torch.stack(rows).mean(dim=0).log_softmax(dim=-1)
        return [
            one.losses + weight * divergence(common, own, one.head, one.batch)
            for one, own in zip(answers, rows, strict=True)
        ]


EVENLY = Joint()


@one_thread()
def train_jointly(
    models: Sequence[SpeechModel],
    aims: Sequence[nn.Module],
    datas: Sequence[TrainingSet],
    devs: Sequence[DevSet],
    specs: Sequence[TrainSpec],
    folder: Path,
    *,
    joint: Joint = EVENLY,
    names: Sequence[str] = (),
    progress: Progress = no_progress,
    report: JointReport = lambda name, row: None,
) -> list[SpeechModel]:
    """Train members together in one process and give the best averaged one of each.

    All take the same utterances in a step, in the order of the first one's data; each has its own
    weights, front end, masks and dropout. A run goes on from its checkpoint, which holds all
    members, bit for bit. Each member's log and snapshots stand in a folder of its name.

    Args:
        models: of one head, ``ctc`` or ``classify``, and one set of outputs. For ``ctc`` they also
            need one frame rate.
        datas: of the same examples and, for ``ctc``, the same augmentation.
        specs: of the same epochs, cycles and batch size.
        names: of the members; their numbers from 0 when there are none.
        report: told each member's row of each epoch. Its loss holds the pull of the others.

    Raises:
        TrainingError: members that cannot be trained together, a loss that explodes or is no
            number, or a checkpoint of other members.
    """
    names = names or [str(number) for number in range(len(models))]
    _refuse_strangers(models, datas, specs, names)
    path = folder / CHECKPOINT
    trainees = []
    for model, aim, data, dev, spec, name in zip(
        models, aims, datas, devs, specs, names, strict=True
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        run = started(model, aim, data, spec, resumed=path.is_file())
        trainees.append(Trainee(run, data, dev, spec, folder / name))
    runs = [one.run for one in trainees]
    if path.is_file():
        load_runs(path, runs)
    go(
        trainees,
        lambda: save_runs(path, runs),
        progress=progress,
        report=lambda number, row: report(names[number], row),
        together=joint,
    )
    return [finished(one) for one in trainees]


def _refuse_uneven(answers: Sequence[Answers], rows: Sequence[Tensor]) -> None:
    first = answers[0].batch.lengths
    alike = all((one.batch.lengths == first).all() for one in answers)
    if answers[0].head == "ctc" and not (alike and len({own.shape for own in rows}) == 1):
        counts = ", ".join(str(int(one.batch.lengths.sum())) for one in answers)
        raise _strangers(
            f"members that hear one batch in {counts} frames",
            "one augmentation and frame rate, so that frames can be compared",
        )


def _refuse_strangers(
    models: Sequence[SpeechModel],
    datas: Sequence[TrainingSet],
    specs: Sequence[TrainSpec],
    names: Sequence[str],
) -> None:
    """Whatever keeps members from taking the same steps, before anything is computed."""
    if not models or len(set(names)) < len(names):
        raise _strangers(
            f"members named {list(names)}", "at least one, each with a name of its own"
        )
    wanted: dict[str, list[object]] = {
        "one head": [model.spec.head for model in models],
        "as many outputs": [model.spec.outputs for model in models],
        "as many epochs": [spec.epochs for spec in specs],
        "as many cycles": [spec.cycles for spec in specs],
        "batches of one size": [data.batch_size for data in datas],
        "one sampler": [data.sampler for data in datas],
        "the same examples": [[(e.name, e.targets) for e in d.passes.examples] for d in datas],
        "the same passes": [_joined(data, specs[0].epochs) for data in datas],
    }
    if models[0].spec.head == "ctc":
        wanted["one augmentation"] = [data.passes.augment for data in datas]
        wanted["frames of one length"] = [
            data.passes.features.frame_shift * model.spec.stack
            for data, model in zip(datas, models, strict=True)
        ]
    for what, values in wanted.items():
        if any(value != values[0] for value in values):
            raise _strangers(f"members that do not have {what}", f"{what} for all of them")
    if models[0].spec.head == "embed":
        raise _strangers("members that give voiceprints", "labels or tokens, which have posteriors")


def _joined(data: TrainingSet, epochs: int) -> list[object]:
    """Which examples each epoch joins."""
    numbers = [data.passes.augment.pass_of(epoch) for epoch in range(epochs)]
    return [numbers, [data.passes.groups(number) for number in sorted(set(numbers))]]


def _strangers(found: str, expected: str) -> TrainingError:
    return TrainingError(
        f"joint training of {found}",
        expected=expected,
        fix="Train these members apart, or make them alike in this",
    )
