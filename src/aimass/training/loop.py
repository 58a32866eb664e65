"""The training loop: Muon and AdamW, one cosine cycle, averaged weights, exact resumption.

::

    for each epoch, from where the checkpoint stands:
        for each batch:  loss -> gradient -> clip -> step -> moving average of the weights
        dev error of the average; the best epochs are kept; a checkpoint
    the mean of the best epochs, or the best one where that is better
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aimass.base.contract import Progress, no_progress
from aimass.base.errors import TrainingError
from aimass.base.files import write_bytes
from aimass.base.randomness import torch_seed
from aimass.models.model import SpeechModel
from aimass.models.stem import Normalise
from aimass.training.checkpoint import Position, Run, load_run, mean_of, save_run
from aimass.training.dev import DevSet
from aimass.training.examples import Batch, TrainingSet
from aimass.training.processes import ALONE, Group

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"
SAVE_SECONDS = 60.0  # between two checkpoints within an epoch
PRETRAINED = 0.01  # of the learning rate: what a fine-tuned Whisper bears beside new layers
EXPLODED = 50.0  # times the first loss: no batch of a run that learns is that bad

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
        patience: epochs without a new best one after which training stops; 0 never stops.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for lineage."""
        return asdict(self)


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
    run = _started(model, aim, data, spec, folder)
    saves = _Every(SAVE_SECONDS)
    total = data.steps(spec.epochs)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(data.prepare, run.position.epoch).result()
        while run.position.epoch < spec.epochs and not _stale(run.position.errors, spec.patience):
            upcoming = pool.submit(data.prepare, min(run.position.epoch + 1, spec.epochs - 1))
            speed = _Speed()
            for size in _steps(run, data, spec, pool, group):
                speed.utterances += size
                progress("train", run.position.step, total)
                if group.first and saves.due():
                    save_run(folder / CHECKPOINT, run)
            loss = _end_epoch(run, dev, spec.keep)
            upcoming.result()
            if group.first:
                # The log first: a line too many is replaced after a crash, one too few is lost.
                rate = spec.learning_rate * _cycle(run.position.step / total, spec.warmup)
                told = {"learning_rate": rate} | speed.to_dict()
                report(_log(folder / LOG, run.position, loss, told))
                save_run(folder / CHECKPOINT, run)
    return _best(run, dev)


def _started(
    model: SpeechModel, aim: nn.Module, data: TrainingSet, spec: TrainSpec, folder: Path
) -> Run:
    front = model.front
    if not (folder / CHECKPOINT).is_file() and isinstance(front, Normalise) and front.fresh:
        front.measure(torch.from_numpy(data.sample()))
    run = Run(model, aim, copy.deepcopy(model), optimizers(model, aim, spec))
    if (folder / CHECKPOINT).is_file():
        load_run(folder / CHECKPOINT, run)
    return run


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


def _steps(
    run: Run, data: TrainingSet, spec: TrainSpec, pool: ThreadPoolExecutor, group: Group
) -> Iterator[int]:
    """What is left of the current epoch, one step at a time; gives the utterances of each."""
    position = run.position
    total = data.steps(spec.epochs)
    run.model.train()
    for batch in _prefetched(
        data, position.epoch, data.plan(position.epoch)[position.batch :], pool
    ):
        for optimizer in run.optimizers:
            for parameters in optimizer.param_groups:
                parameters["lr"] = optimizer.defaults["lr"] * _cycle(
                    position.step / total, spec.warmup
                )
        loss = _step(run, batch, spec, group)
        position.first = position.first or loss
        position.step += 1
        position.batch += 1
        position.losses += loss
        decay = min(spec.average_decay, position.step / (position.step + 10))
        _average(run.average, run.model, decay)
        yield len(batch.lengths)


def _step(run: Run, batch: Batch, spec: TrainSpec, group: Group) -> float:
    """One step of the optimizers; gives the mean loss of the whole batch."""
    own = group.share(batch)
    for optimizer in run.optimizers:
        optimizer.zero_grad(set_to_none=True)
    start = run.model.start(len(own.lengths))
    loss = start.new_zeros(())
    if len(own.lengths):  # of a small batch some processes have no share
        with torch.random.fork_rng(devices=[]), _precision(start.device):
            torch.manual_seed(torch_seed(spec.seed, "dropout", run.position.step, group.rank))
            outputs, _ = run.model(torch.from_numpy(own.features).to(start.device), start)
            losses = run.aim(outputs, own)
        _refuse_diverged(losses, own, run.position)
        loss = losses.sum() / len(batch.lengths)
        loss.backward()
    loss = group.add(loss.detach(), run.trained)
    norm = nn.utils.clip_grad_norm_(run.trained, spec.clip_norm)
    if not math.isfinite(norm):  # a loss may be finite where its slope is not
        raise _diverged("gradient", float(norm), run.position, "a finite length", own.names)
    for optimizer in run.optimizers:
        optimizer.step()
    return loss.item()


def _precision(device: torch.device) -> torch.autocast:
    """Half precision where the device computes in it; bfloat16 needs no scaling of the loss."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def _refuse_diverged(losses: Tensor, batch: Batch, position: Position) -> None:
    """Stop with the names of the utterances before they spoil the weights."""
    values = losses.detach().float().cpu()
    limit = EXPLODED * max(position.first, 1.0) if position.step else math.inf
    if bool(torch.isfinite(values).all()) and values.mean().item() <= limit:
        return
    worst = torch.nan_to_num(values, nan=torch.inf).argsort(descending=True)[:5].tolist()
    expected = f"a finite number, at most {limit:.3g}"
    names = [batch.names[row] for row in worst]
    raise _diverged("loss", values.mean().item(), position, expected, names)


def _diverged(
    what: str,
    value: float,
    position: Position,
    expected: str,
    names: Sequence[tuple[str, ...]],
) -> TrainingError:
    named = "; ".join("+".join(joined) for joined in names[:5])
    return TrainingError(
        f"the {what} became {value:.3g} at step {position.step}, the worst of its utterances: "
        f"{named}",
        expected=expected,
        fix="Listen to these, see what `aimass data check` says of them, or lower learning_rate",
    )


def _end_epoch(run: Run, dev: DevSet, keep: int) -> float:
    """Measure the average and keep it if it is among the best; gives the mean loss."""
    position = run.position
    loss = position.losses / max(1, position.batch)
    position.errors.append(dev.error(run.average))
    run.best[position.epoch] = copy.deepcopy(run.average.state_dict())
    if len(run.best) > keep:
        del run.best[max(run.best, key=lambda epoch: (position.errors[epoch], -epoch))]
    position.epoch += 1
    position.batch = 0
    position.losses = 0.0
    return loss


def _stale(errors: Sequence[float], patience: int) -> bool:
    """Whether the last `patience` epochs brought no new lowest error."""
    return 0 < patience < len(errors) and min(errors[-patience:]) >= min(errors[:-patience])


def _best(run: Run, dev: DevSet) -> SpeechModel:
    """The mean of the best epochs, or the best one where that is better on dev."""
    model = run.average
    first = min(run.best, key=lambda epoch: (run.position.errors[epoch], epoch))
    model.load_state_dict(mean_of(list(run.best.values())))
    if dev.error(model) > run.position.errors[first]:
        model.load_state_dict(run.best[first])
    return model.eval()


def _prefetched(
    data: TrainingSet, epoch: int, plan: Sequence[Sequence[int]], pool: ThreadPoolExecutor
) -> Iterator[Batch]:
    """Batches, the next one made while the last one is trained on."""
    if not plan:
        return
    waiting = pool.submit(data.batch, epoch, plan[0])
    for utterances in plan[1:]:
        ready, waiting = waiting, pool.submit(data.batch, epoch, utterances)
        yield ready.result()
    yield waiting.result()


def _cycle(done: float, warmup: float) -> float:
    """Learning rate factor: up in a line, down in half a cosine."""
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mean, latest in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(latest, 1 - decay)


def _log(path: Path, position: Position, losses: float, told: dict[str, float]) -> dict[str, float]:
    """Append one epoch; lines of epochs that a crash made us repeat are replaced."""
    lines = path.read_text().splitlines()[: position.epoch - 1] if path.is_file() else []
    row = {
        "epoch": position.epoch,
        "step": position.step,
        "loss": losses,
        "dev": position.errors[-1],
        **told,
    }
    write_bytes(path, ("\n".join([*lines, json.dumps(row)]) + "\n").encode())
    return row


class _Speed:
    """Utterances and seconds of one epoch, or of what a resumed run had left of it."""

    def __init__(self) -> None:
        self.utterances = 0
        self._begun = time.monotonic()

    def to_dict(self) -> dict[str, float]:
        """For the log."""
        seconds = max(time.monotonic() - self._begun, 1e-9)
        return {"seconds": seconds, "utterances_per_second": self.utterances / seconds}


class _Every:
    """True once every so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def due(self) -> bool:
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True
