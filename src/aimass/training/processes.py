"""Several processes that train one model: each takes a share of every batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aimass.base.errors import TrainingError
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
        Exception: what stopped the first process that failed; the others are ended.
        TrainingError: a process that was killed.
    """
    context = get_context("spawn")
    with TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        ends = [context.Pipe(duplex=False) for _ in range(size)]
        processes = [
            context.Process(
                target=_join, args=(Group(rank, size), meeting, tell, function, arguments)
            )
            for rank, (_, tell) in enumerate(ends)
        ]
        try:
            for process, (_, tell) in zip(processes, ends, strict=True):
                process.start()
                tell.close()
            _wait([told for told, _ in ends])
        finally:
            for process in processes:
                process.kill()
                process.join()


def _wait(waiting: list[Connection]) -> None:
    """Until every process said that it is done."""
    while waiting:
        for told in wait(waiting):
            assert isinstance(told, Connection)
            try:
                error = told.recv()
            except EOFError:
                error = TrainingError(
                    "a process that trained was killed",
                    expected="all of them to come to the end",
                    fix="See whether memory ran out; train in fewer processes or smaller batches",
                )
            if error is not None:
                raise error
            waiting.remove(told)


def _join(
    group: Group,
    meeting: Path,
    tell: Connection,
    function: Callable[..., object],
    arguments: tuple[Any, ...],
) -> None:
    """The life of one process; it tells its error first, since the others wait for it in vain."""
    where = f"file://{meeting}"
    try:
        dist.init_process_group("gloo", init_method=where, rank=group.rank, world_size=group.size)
        function(group, *arguments)
    except Exception as error:
        tell.send(error)
    else:
        tell.send(None)
