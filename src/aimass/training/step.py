"""One step of a model: forward, backward, and no further where numbers stop being numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aimass.base.errors import TrainingError
from aimass.base.randomness import torch_seed
from aimass.models.spec import Head
from aimass.training.checkpoint import Position, Run
from aimass.training.examples import Batch
from aimass.training.processes import Group

EXPLODED = 50.0  # times the first loss: no batch of a run that learns is that bad


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model made of a batch.

    Args:
        head: of the model.
        outputs: ``(utterances, frames, outputs)``.
        losses: of each utterance, ``(utterances,)``.
        batch: the utterances that are this process' own.
        whole: utterances of the batch over all processes.
    """

    head: Head
    outputs: Tensor
    losses: Tensor
    batch: Batch
    whole: int


def forward(run: Run, batch: Batch, seed: int, group: Group) -> Answers:
    """What a model makes of a batch, ready for the way back.

    Raises:
        TrainingError: a loss that explodes or is no number, with the utterances of the batch.
    """
    own = group.share(batch)
    for optimizer in run.optimizers:
        optimizer.zero_grad(set_to_none=True)
    head, start = run.model.spec.head, run.model.start(len(own.lengths))
    if not len(own.lengths):  # of a small batch some processes have no share
        return Answers(head, start, start.new_zeros(0), own, len(batch.lengths))
    with torch.random.fork_rng(devices=[]), _precision(start.device):
        torch.manual_seed(torch_seed(seed, "dropout", run.position.step, group.rank))
        outputs, _ = run.model(torch.from_numpy(own.features).to(start.device), start)
        losses = run.aim(outputs, own)
    _refuse_diverged(losses, own, run.position)
    return Answers(head, outputs, losses, own, len(batch.lengths))


def descend(run: Run, answers: Answers, losses: Tensor, clip_norm: float, group: Group) -> float:
    """One step of the optimizers down `losses` ``(utterances,)``; gives their mean.

    Raises:
        TrainingError: a gradient that is no number.
    """
    loss = losses.sum() / answers.whole
    if len(losses):
        torch.autograd.backward(loss)
    loss = group.add(loss.detach(), run.trained)
    norm = nn.utils.clip_grad_norm_(run.trained, clip_norm)
    if not math.isfinite(norm):  # a loss may be finite where its slope is not
        names = answers.batch.names
        raise _diverged("gradient", float(norm), run.position, "a finite length", names)
    for optimizer in run.optimizers:
        optimizer.step()
    return loss.item()


@torch.no_grad()
def average(mean: nn.Module, latest: nn.Module, decay: float) -> None:
    """Move the weights of `mean` towards the latest ones."""
    for slow, new in zip(mean.parameters(), latest.parameters(), strict=True):
        slow.lerp_(new, 1 - decay)


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
