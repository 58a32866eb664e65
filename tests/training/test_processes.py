"""Several processes that share every batch take the steps of one."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from aimass.base.errors import TrainingError
from aimass.training.loop import CHECKPOINT, LOG, train
from aimass.training.processes import ALONE, Group, launch

from . import tiny

SHAPE = replace(tiny.SHAPE, dropout=0.0)
# AdamW alone: the orthogonal steps of Muon make much of the last bits. Batches of one leave the
# second process without a share.
SPEC = replace(tiny.SPEC, epochs=3, batch_size=11, matrix_rate=0.0)


def trained(group: Group, folder: Path) -> None:
    data = tiny.data(folder, batch_size=SPEC.batch_size)
    model, aim = tiny.fresh_model(SHAPE), tiny.fresh_aim(SHAPE)
    best = train(model, aim, data, tiny.dev(), SPEC, folder, group=group)
    save_file(best.state_dict(), folder / f"rank-{group.rank}.safetensors")


def trained_until_it_fails(group: Group, folder: Path, why: str) -> None:
    trained(group, folder)
    group.add(torch.zeros(1), [])  # both have come so far
    if group.rank == 1:
        raise TrainingError(why, expected="nothing of the kind", fix="Try again")
    group.add(torch.zeros(1), [])  # waits for the other


def killed(group: Group) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def result(folder: Path, rank: int = 0) -> dict[str, Tensor]:
    return load_file(folder / f"rank-{rank}.safetensors")


def test_two_processes_train_as_one_and_fail_as_one(tmp_path: Path) -> None:
    both, alone = tmp_path / "both", tmp_path / "alone"
    for folder in (both, alone):
        folder.mkdir()
    with pytest.raises(TrainingError, match="the sky fell") as caught:
        launch(2, trained_until_it_fails, both, "the sky fell")
    assert caught.value.fix == "Try again"  # the cause, not what followed from it
    trained(ALONE, alone)
    sizes = {len(b) for e in range(3) for b in tiny.data(alone, batch_size=11).plan(e)}
    assert 1 in sizes  # and so one process had nothing to do
    first, second, wanted = result(both), result(both, 1), result(alone)
    start = tiny.fresh_model(SHAPE).state_dict()
    for name, tensor in wanted.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(first[name], tensor, atol=1e-4), name
    assert any((wanted[name] - start[name]).abs().max() > 1e-2 for name in wanted)
    logs = [(folder / LOG).read_text().splitlines() for folder in (both, alone)]
    assert len(logs[0]) == len(logs[1]) == 3
    assert (both / CHECKPOINT).is_file()


def test_a_process_that_is_killed() -> None:
    with pytest.raises(TrainingError, match="a process that trained was killed") as caught:
        launch(1, killed)
    assert "memory" in caught.value.fix
