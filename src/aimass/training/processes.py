"""Several processes that train one model: each takes a share of every batch."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aimass.base.errors import AimassError
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


def launch(size: int, function: Callable[..., object], *arguments: Any) -> None:
    """Call ``function(group, *arguments)`` in so many processes that train one model.

    Args:
        function: of a module, so that another process finds it; leaves its results in files.

    Raises:
        AimassError: what stopped the process that failed.
    """
    with TemporaryDirectory() as folder, ProcessPoolExecutor(size, get_context("spawn")) as pool:
        meeting = Path(folder) / "meeting"
        done = [
            pool.submit(_join, Group(rank, size), meeting, function, arguments)
            for rank in range(size)
        ]
        wait(done)
    errors = [error for one in done if (error := one.exception())]
    # When one process fails, the others fail for want of it; the cause is the one we know.
    errors.sort(key=lambda error: not isinstance(error, AimassError))
    if errors:
        raise errors[0]


def _join(
    group: Group, meeting: Path, function: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    where = f"file://{meeting}"
    dist.init_process_group("gloo", init_method=where, rank=group.rank, world_size=group.size)
    try:
        function(group, *arguments)
    finally:
        dist.destroy_process_group()
