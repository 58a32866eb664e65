"""The training loop: CTC, AdamW, one cosine cycle, averaged weights, exact resumption."""

import copy
import json
import math
from collections.abc import Iterator, Sequence
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
from aimass.models.causal_conv import CausalConv
from aimass.training.checkpoint import Position, load_run, save_run
from aimass.training.examples import Batch, TrainingSet

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """How long and how hard to train.

    Args:
        epochs: passes over the data.
        batch_size: utterances in a step.
        learning_rate: the highest, reached after ``warmup`` of all steps.
        average_decay: of the exponential average of weights (Polyak and Juditsky 1992), which
            is the model that is kept.
    """

    epochs: int = 80
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    clip_norm: float = 2.0
    average_decay: float = 0.995
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for lineage."""
        return asdict(self)


@contextmanager
def _one_thread() -> Iterator[None]:
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


@_one_thread()
def train(
    model: CausalConv,
    data: TrainingSet,
    spec: TrainSpec,
    folder: Path,
    progress: Progress = no_progress,
) -> CausalConv:
    """Train `model` and give the averaged one; goes on from a checkpoint in `folder`.

    Every draw is a function of the seed and the step, so a run that was stopped anywhere and
    resumed ends with the weights of an undisturbed one, bit for bit on the CPU.

    Raises:
        TrainingError: a loss that is no number, or a checkpoint of another model.
    """
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=spec.learning_rate, weight_decay=spec.weight_decay
    )
    position = Position()
    if (folder / CHECKPOINT).is_file():
        position = load_run(folder / CHECKPOINT, model, average, optimizer)
    else:
        _set_moments(model, average, data)
    total = sum(len(data.plan(epoch)) for epoch in range(spec.epochs))
    model.train()
    while position.epoch < spec.epochs:
        losses = []
        plan = data.plan(position.epoch)
        for batch in _prefetched(data, position.epoch, plan):
            rate = spec.learning_rate * _cycle(position.step / total, spec.warmup)
            losses.append(_step(model, optimizer, batch, spec, rate, position.step))
            position.step += 1
            _average(average, model, min(spec.average_decay, position.step / (position.step + 10)))
            progress("train", position.step, total)
        position.epoch += 1
        # The log first: a line too many is replaced after a crash, one too few is lost.
        _log(folder / LOG, position, sum(losses) / len(losses))
        save_run(folder / CHECKPOINT, position, model, average, optimizer)
    return average.eval()


def _set_moments(model: CausalConv, average: CausalConv, data: TrainingSet) -> None:
    mean, deviation = data.moments
    for each in (model, average):
        each.mean.copy_(torch.from_numpy(mean))
        each.scale.copy_(1 / torch.from_numpy(deviation))


def _step(
    model: CausalConv,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    spec: TrainSpec,
    learning_rate: float,
    step: int,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(spec.seed, "dropout", step))
        log_probs, _ = model(torch.from_numpy(batch.features), model.start(len(batch.lengths)))
        loss = ctc_loss(log_probs, batch)
    if not math.isfinite(loss.item()):
        raise TrainingError(
            f"the loss became {loss.item()} at step {step}",
            expected="a finite number",
            fix="Lower the learning rate, or look for clips whose text is longer than the sound",
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), spec.clip_norm)
    optimizer.step()
    return loss.item()


def ctc_loss(log_probs: Tensor, batch: Batch) -> Tensor:
    """CTC loss per token (Graves et al. 2006); utterances too short for their text weigh nothing.

    Args:
        log_probs: ``(batch, frames, outputs)``, blank last.
    """
    return nn.functional.ctc_loss(
        log_probs.transpose(0, 1),
        torch.from_numpy(batch.tokens),
        torch.from_numpy(batch.lengths),
        torch.from_numpy(batch.token_lengths),
        blank=log_probs.shape[2] - 1,
        zero_infinity=True,
    )


def _prefetched(
    data: TrainingSet, epoch: int, plan: Sequence[Sequence[tuple[int, ...]]]
) -> Iterator[Batch]:
    """The epoch's batches, the next one made while the last one is trained on."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(data.batch, epoch, plan[0])
        for groups in plan[1:]:
            ready, waiting = waiting, pool.submit(data.batch, epoch, groups)
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


def _log(path: Path, position: Position, loss: float) -> None:
    """Append one epoch; lines of epochs that a crash made us repeat are replaced."""
    lines = path.read_text().splitlines()[: position.epoch - 1] if path.is_file() else []
    lines.append(json.dumps({"epoch": position.epoch, "step": position.step, "loss": loss}))
    write_bytes(path, ("\n".join(lines) + "\n").encode())
