"""Several processes that train one model: each takes a share of every batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aimass.training.examples import Batch


@dataclass(frozen=True, slots=True)
class Group:
    """One process among those that train a model; alone by default.

    Gradients are summed over the processes before the step, so that all hold the same weights, and
    a batch that is shared gives the step of the whole batch within rounding (Li et al. 2020,
    "PyTorch distributed"). Communication is gloo's on CPUs.

    Args:
        rank: which one this is.
        size: how many there are; `torch.distributed` must be ready when they are several.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes checkpoints and the log."""
        return self.rank == 0

    def share(self, batch: Batch) -> Batch:
        """The utterances of a batch that are this process' own; may be none."""
        return batch if self.size == 1 else batch.part(slice(self.rank, None, self.size))

    def add(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Sum loss and gradients over all processes; gives the loss."""
        if self.size == 1:
            return loss
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([loss.reshape(1), *(gradient.reshape(-1) for gradient in gradients)])
        dist.all_reduce(flat)
        loss, *parts = torch.split(flat, [1, *(p.numel() for p in parameters)])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.reshape_as(parameter)
        return loss[0]


ALONE = Group()
