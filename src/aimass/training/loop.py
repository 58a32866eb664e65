"""The training loop: Muon and AdamW, cosine cycles, averaged weights, exact resumption.

::

    for each epoch, from where the checkpoint stands:
        for each batch:  loss -> gradient -> clip -> step -> moving average of the weights
        dev error of the average; the best epochs are kept; a checkpoint
    the mean of the best epochs, or the best one where that is better

One model takes it alone, or several side by side (`aimass.training.joint`). A run of several
cycles leaves such a mean at the end of each: a snapshot.
"""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from aimass.base.contract import Progress, no_progress
from aimass.base.errors import TrainingError
from aimass.base.files import write_bytes
from aimass.models.model import SpeechModel
from aimass.models.stem import Normalise
from aimass.training.checkpoint import Run, load_run, mean_of, save_run
from aimass.training.dev import DevSet
from aimass.training.examples import Batch, TrainingSet
from aimass.training.journal import Every, Speed, log
from aimass.training.processes import ALONE, Group
from aimass.training.schedule import Schedule
from aimass.training.step import Answers, average, descend, forward

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
SNAPSHOT = "snapshot-{}.safetensors"  # numbered from 1
SAVE_SECONDS = 60.0  # between two checkpoints within an epoch
PRETRAINED = 0.01  # of the learning rate: what a fine-tuned Whisper bears beside new layers

Report = Callable[[dict[str, float]], None]
"""Told the row of the log of each epoch."""


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """How long and how hard to train.

    Args:
        epochs: passes over the data.
        batch_size: utterances in a step.
        learning_rate: the highest, reached after ``warmup`` of all steps.
        matrix_rate: the same for Muon, which steps the matrices inside the model; 0 leaves
            everything to AdamW.
        average_decay: of the exponential average of weights (Polyak and Juditsky 1992).
        keep: epochs with the lowest dev error whose averages are averaged again at the end.
        patience: epochs without a new best one after which training stops; 0 never stops. Of
            several cycles it is the last that may be cut short.
        cycles: in each of them the learning rate goes its whole way, and each leaves a snapshot
            (`snapshot_path`), the last one that of the model that `train` gives.

    Raises:
        TrainingError: more cycles than epochs, or none.
    """

    epochs: int = 80
    batch_size: int = 32
    learning_rate: float = 3e-3
    matrix_rate: float = 0.02
    weight_decay: float = 0.05
    warmup: float = 0.1
    clip_norm: float = 2.0
    average_decay: float = 0.995
    keep: int = 3
    patience: int = 0
    seed: int = 0
    cycles: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.cycles <= max(1, self.epochs):
            raise TrainingError(
                f"{self.cycles} cycles in {self.epochs} epochs",
                expected="at least one cycle, and an epoch for each",
                fix="Set fewer cycles, or more epochs",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for lineage; one cycle goes without saying, as before there were more."""
        return {k: v for k, v in asdict(self).items() if (k, v) != ("cycles", 1)}


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for the model, the other core for the batches: 1.5 times faster than two.

    The layers are so small that splitting each of them costs more than it saves (LOG.md), and
    the number of threads decides the last bits of a sum, so it must not depend on the machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class Trainee:
    """One model in training.

    Args:
        data: what it hears.
        dev: what it is judged by.
        folder: where its log and snapshots go.
    """

    run: Run
    data: TrainingSet
    dev: DevSet
    spec: TrainSpec
    folder: Path


Together = Callable[[Sequence[Answers], float], Sequence[Tensor]]
"""What models go down that learn side by side: their answers to one batch, and the share of the
run that is done, to the losses ``(utterances,)`` of each."""


def alone(answers: Sequence[Answers], done: float) -> list[Tensor]:
    """Each goes down its own loss."""
    return [one.losses for one in answers]


@one_thread()
def train(
    model: SpeechModel,
    aim: nn.Module,
    data: TrainingSet,
    dev: DevSet,
    spec: TrainSpec,
    folder: Path,
    *,
    progress: Progress = no_progress,
    report: Report = lambda row: None,
    group: Group = ALONE,
) -> SpeechModel:
    """Train `model` and give the best averaged one; goes on from a checkpoint in `folder`.

    Every draw is a function of the seed and the step, so a run that was stopped anywhere and
    resumed ends with the weights of an undisturbed one, bit for bit on the CPU.

    Args:
        aim: the objective (`aimass.training.objective`).
        report: told the row of each epoch.
        group: the processes that share the work; each calls this function.

    Raises:
        TrainingError: a loss that explodes or is no number, with the utterances of its batch, or
            a checkpoint of another model.
    """
    path = folder / CHECKPOINT
    run = started(model, aim, data, spec, resumed=path.is_file())
    if path.is_file():
        load_run(path, run)
    one = Trainee(run, data, dev, spec, folder)
    go(
        [one],
        lambda: save_run(path, run),
        progress=progress,
        report=lambda _, row: report(row),
        group=group,
    )
    return finished(one, group)


def started(
    model: SpeechModel, aim: nn.Module, data: TrainingSet, spec: TrainSpec, *, resumed: bool
) -> Run:
    """A run before its first step; what is `resumed` need not measure its data again."""
    front = model.front
    if not resumed and isinstance(front, Normalise) and front.fresh:
        front.measure(torch.from_numpy(data.sample()))
    return Run(model, aim, copy.deepcopy(model), optimizers(model, aim, spec))


def go(
    trainees: Sequence[Trainee],
    save: Callable[[], None],
    *,
    progress: Progress,
    report: Callable[[int, dict[str, float]], None],
    group: Group = ALONE,
    together: Together = alone,
) -> None:
    """Take models through what is left of their epochs, step by step side by side.

    They hear the batches that the first of them plans.

    Args:
        save: writes a checkpoint of all of them.
        report: told the number of a trainee and the row of its epoch.
        together: what each of them goes down.
    """
    first, saves = trainees[0], Every(SAVE_SECONDS)
    position, spec = first.run.position, first.spec
    schedule = Schedule(first.data.steps, spec.epochs, cycles=spec.cycles, warmup=spec.warmup)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(_prepare, trainees, position.epoch).result()
        while position.epoch < spec.epochs and not all(_settled(one) for one in trainees):
            upcoming = pool.submit(_prepare, trainees, min(position.epoch + 1, spec.epochs - 1))
            speed = Speed()
            for size in _steps(trainees, schedule, pool, group, together):
                speed.utterances += size
                progress("train", position.step, schedule.total)
                if group.first and saves.due():
                    save()
            losses = [_end_epoch(one, schedule, group) for one in trainees]
            upcoming.result()
            if group.first:
                # The log first: a line too many is replaced after a crash, one too few is lost.
                factor = schedule.factor(position.step)
                for number, (one, loss) in enumerate(zip(trainees, losses, strict=True)):
                    told = {"learning_rate": one.spec.learning_rate * factor} | speed.to_dict()
                    report(number, log(one.folder / LOG, one.run.position, loss, told))
                save()


def finished(one: Trainee, group: Group = ALONE) -> SpeechModel:
    """What a model has come to when its run is over."""
    model = _best(one)
    if one.spec.cycles > 1 and group.first:
        _save_snapshot(one, one.spec.cycles, model)
    return model


def snapshot_path(folder: Path, number: int) -> Path:
    """Where the weights at the end of a cycle stand, the first one's number being 1."""
    return folder / SNAPSHOT.format(number)


def optimizers(model: SpeechModel, aim: nn.Module, spec: TrainSpec) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov and Hutter 2019), and Muon for the matrices between layers.

    Muon (Jordan et al. 2024) makes the step of a matrix orthogonal. Small models are underfit for
    most of a run; on isolated words 6 epochs of it gave what AdamW needs 15 for (LOG.md).
    """
    inner = {
        id(p)
        for part in (model.stack, model.encoder)
        for p in part.parameters()
        if p.ndim == 2 and spec.matrix_rate
    }
    trained = [p for p in (*model.parameters(), *aim.parameters()) if p.requires_grad]
    gentle = {id(p) for p in model.front.parameters() if model.spec.whisper}
    rest = [p for p in trained if id(p) not in inner | gentle]
    found: list[torch.optim.Optimizer] = []
    for some, rate in ((rest, 1.0), ([p for p in trained if id(p) in gentle], PRETRAINED)):
        if some:
            lr = rate * spec.learning_rate
            found.append(torch.optim.AdamW(some, lr=lr, weight_decay=spec.weight_decay))
    matrices = [p for p in trained if id(p) in inner]
    if matrices:
        found.append(
            torch.optim.Muon(matrices, lr=spec.matrix_rate, weight_decay=spec.weight_decay)
        )
    return found


def _prepare(trainees: Sequence[Trainee], epoch: int) -> None:
    for one in trainees:
        one.data.prepare(epoch)


def _steps(
    trainees: Sequence[Trainee],
    schedule: Schedule,
    pool: ThreadPoolExecutor,
    group: Group,
    together: Together,
) -> Iterator[int]:
    """What is left of the current epoch, one step at a time; gives the utterances of each."""
    position = trainees[0].run.position
    plan = trainees[0].data.plan(position.epoch)[position.batch :]
    for one in trainees:
        one.run.model.train()
    for batches in _prefetched(trainees, position.epoch, plan, pool):
        step, factor = position.step, schedule.factor(position.step)
        answers = [
            forward(one.run, batch, one.spec.seed, group)
            for one, batch in zip(trainees, batches, strict=True)
        ]
        losses = together(answers, step / schedule.total)
        for one, own, loss in zip(trainees, answers, losses, strict=True):
            _step(one, own, loss, factor, group)
            done = schedule.since(step) + 1
            average(one.run.average, one.run.model, min(one.spec.average_decay, done / (done + 10)))
        yield len(batches[0].lengths)


def _step(one: Trainee, answers: Answers, losses: Tensor, factor: float, group: Group) -> None:
    """Move one model down its losses, and its position on."""
    for optimizer in one.run.optimizers:
        for parameters in optimizer.param_groups:
            parameters["lr"] = optimizer.defaults["lr"] * factor
    loss = descend(one.run, answers, losses, one.spec.clip_norm, group)
    position = one.run.position
    position.first = position.first or loss
    position.step += 1
    position.batch += 1
    position.losses += loss


def _end_epoch(one: Trainee, schedule: Schedule, group: Group) -> float:
    """Measure the average and keep it if it is among the best; gives the mean loss."""
    run, position = one.run, one.run.position
    loss = position.losses / max(1, position.batch)
    position.errors.append(one.dev.error(run.average))
    begun = schedule.first(position.epoch)
    run.best = {epoch: weights for epoch, weights in run.best.items() if epoch >= begun}
    run.best[position.epoch] = copy.deepcopy(run.average.state_dict())
    if len(run.best) > one.spec.keep:
        del run.best[max(run.best, key=lambda epoch: (position.errors[epoch], -epoch))]
    position.epoch += 1
    position.batch = 0
    position.losses = 0.0
    if group.first and position.epoch in schedule.ends[:-1]:
        _save_snapshot(one, schedule.number(position.epoch), _best(one))
    return loss


def _settled(one: Trainee) -> bool:
    """Whether the last cycle has long brought nothing better."""
    begun = one.spec.epochs * (one.spec.cycles - 1) // one.spec.cycles
    return _stale(one.run.position.errors[begun:], one.spec.patience)


def _stale(errors: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` epochs brought no new lowest error."""
    return 0 < patience < len(errors) and min(errors[-patience:]) >= min(errors[:-patience])


def _best(one: Trainee) -> SpeechModel:
    """The mean of the best epochs, or the best one where that is better on dev."""
    run = one.run
    model = copy.deepcopy(run.average)
    first = min(run.best, key=lambda epoch: (run.position.errors[epoch], epoch))
    model.load_state_dict(mean_of(list(run.best.values())))
    if one.dev.error(model) > run.position.errors[first]:
        model.load_state_dict(run.best[first])
    return model.eval()


def _save_snapshot(one: Trainee, number: int, model: SpeechModel) -> None:
    tensors = {name: values.contiguous().cpu() for name, values in model.state_dict().items()}
    meta = {"spec": json.dumps(model.spec.to_dict())}
    write_bytes(snapshot_path(one.folder, number), save(tensors, meta))


def _prefetched(
    trainees: Sequence[Trainee],
    epoch: int,
    plan: Sequence[Sequence[int]],
    pool: ThreadPoolExecutor,
) -> Iterator[list[Batch]]:
    """The batches of all trainees, the next ones made while the last ones are trained on."""

    def make(utterances: Sequence[int]) -> list[Batch]:
        return [one.data.batch(epoch, utterances) for one in trainees]

    if not plan:
        return
    waiting = pool.submit(make, plan[0])
    for utterances in plan[1:]:
        ready, waiting = waiting, pool.submit(make, utterances)
        yield ready.result()
    yield waiting.result()
