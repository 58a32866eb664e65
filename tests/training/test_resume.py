"""A run that is stopped anywhere and started again ends with the weights of an undisturbed one."""

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from aimass.base.errors import TrainingError
from aimass.training.checkpoint import Position, load_average, load_run, save_run
from aimass.training.loop import CHECKPOINT, LOG

from . import tiny


class Stopped(Exception):
    """Raised from the progress callback, as an interrupt would be."""


def stopped_at(folder: Path, step: int) -> bool:
    """Train until a step; false when the run ended before."""

    def progress(what: str, done: int, total: int | None) -> None:
        if done == step:
            raise Stopped

    try:
        tiny.weights(folder, progress)
    except Stopped:
        return True
    return False


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


def test_a_run_repeats_itself(undisturbed: dict[str, Tensor], tmp_path: Path) -> None:
    assert_same(tiny.weights(tmp_path), undisturbed)
    start = tiny.fresh_model().state_dict()
    assert not torch.equal(start["stem.weight"], undisturbed["stem.weight"])


@pytest.mark.parametrize("seed", range(4))
def test_stopped_by_an_exception(undisturbed: dict[str, Tensor], tmp_path: Path, seed: int) -> None:
    stops = sorted(random.Random(seed).sample(range(1, tiny.steps() + 1), 3))
    assert [stopped_at(tmp_path, step) for step in stops] == [True] * 3
    assert_same(tiny.weights(tmp_path), undisturbed)


def killed_after(folder: Path, steps: int, seconds: float) -> None:
    """Train in a child process and kill it some time after so many steps."""
    command = [sys.executable, tiny.__file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(steps):
            assert child.stdout.readline().startswith("train ")
        time.sleep(seconds)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL


def test_killed(undisturbed: dict[str, Tensor], tmp_path: Path) -> None:
    rng = random.Random(7)
    for steps in (rng.randrange(1, 5), rng.randrange(4, 11)):
        killed_after(tmp_path, steps, rng.uniform(0, 0.02))
    assert_same(tiny.weights(tmp_path), undisturbed)


def test_a_finished_run_is_not_trained_again(
    undisturbed: dict[str, Tensor], tmp_path: Path
) -> None:
    tiny.weights(tmp_path)
    assert not stopped_at(tmp_path, 1)
    assert_same(tiny.weights(tmp_path), undisturbed)


def test_the_averaged_weights_can_be_taken_out(
    undisturbed: dict[str, Tensor], tmp_path: Path
) -> None:
    tiny.weights(tmp_path)
    model = tiny.fresh_model()
    load_average(tmp_path / CHECKPOINT, model)
    assert_same(model.state_dict(), undisturbed)


def test_the_log_has_each_epoch_once(tmp_path: Path) -> None:
    assert stopped_at(tmp_path, 20)
    assert stopped_at(tmp_path, 25)
    tiny.weights(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_log_survives_a_stop_between_it_and_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = 0

    def fails(*args: object) -> None:
        nonlocal saves
        saves += 1
        if saves == 3:
            raise Stopped
        save_run(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("aimass.training.loop.save_run", fails)
        tiny.weights(tmp_path)
    tiny.weights(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 13))


def a_checkpoint(folder: Path) -> Path:
    assert stopped_at(folder, 8)
    return folder / CHECKPOINT


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = a_checkpoint(tmp_path)
    model, average = tiny.fresh_model(), tiny.fresh_model()
    optimizer = torch.optim.AdamW(model.parameters())
    position = load_run(path, model, average, optimizer)
    save_run(tmp_path / "again", position, model, average, optimizer)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert position.epoch == 2


def planted(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return tensors | {name: torch.zeros(2, 3)}


def test_a_checkpoint_of_another_model(tmp_path: Path) -> None:
    path = a_checkpoint(tmp_path)
    other = tiny.fresh_model(replace(tiny.SHAPE, channels=8))
    with pytest.raises(TrainingError, match=r"cannot be used.*this very model.*build again"):
        load_run(path, other, other, torch.optim.AdamW(other.parameters()))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x10\0\0\0\0\0\0\0{}"])
def test_a_checkpoint_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(TrainingError, match="cannot be used"):
        tiny.weights(tmp_path)


def test_a_checkpoint_that_was_cut(tmp_path: Path) -> None:
    path = a_checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="cannot be used"):
        tiny.weights(tmp_path)


META = {"position": json.dumps({"epoch": 2, "step": 7})}


@pytest.mark.parametrize(
    "name", ["optimizer.x.exp_avg", "optimizer.0", "optimizer.0.exp_avg", "model.head.bias"]
)
def test_a_checkpoint_with_a_wrong_tensor(tmp_path: Path, name: str) -> None:
    path = a_checkpoint(tmp_path)
    save_file(planted(load_file(path), name), path, META)
    with pytest.raises(TrainingError, match="cannot be used"):
        tiny.weights(tmp_path)


@pytest.mark.parametrize("kind", ["model.", "average.", "optimizer.0.exp_avg"])
def test_a_checkpoint_that_lacks_a_part(tmp_path: Path, kind: str) -> None:
    path = a_checkpoint(tmp_path)
    save_file({k: v for k, v in load_file(path).items() if not k.startswith(kind)}, path, META)
    with pytest.raises(TrainingError, match="cannot be used"):
        tiny.weights(tmp_path)


@pytest.mark.parametrize("meta", [None, {}, {"position": "7"}, {"position": '{"epochs": 1}'}])
def test_a_checkpoint_without_a_position(tmp_path: Path, meta: dict[str, str] | None) -> None:
    path = a_checkpoint(tmp_path)
    save_file(load_file(path), path, meta)
    with pytest.raises(TrainingError, match="cannot be used"):
        tiny.weights(tmp_path)


def test_a_position_says_what_is_done() -> None:
    assert Position() == Position(epoch=0, step=0)
