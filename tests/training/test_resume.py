"""A run that is stopped anywhere and started again ends with the weights of an undisturbed one."""

import json
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from aimass.base.errors import TrainingError
from aimass.models.spec import ModelSpec
from aimass.training import loop
from aimass.training.checkpoint import Position, Run, load_run, mean_of, save_run
from aimass.training.loop import CHECKPOINT, LOG, TrainSpec, optimizers

from . import tiny

EPOCHS, STEPS = 8, 24


class Stopped(Exception):
    """Raised from the progress callback, as an interrupt would be."""


def stopped_at(
    folder: Path, step: int, shape: ModelSpec = tiny.SHAPE, spec: TrainSpec = tiny.SPEC
) -> bool:
    """Train until a step; false when the run ended before."""

    def told(done: int) -> None:
        if done == step:
            raise Stopped

    try:
        tiny.weights(folder, told, shape=shape, spec=spec)
    except Stopped:
        return True
    return False


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name


def rows_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.fixture
def saving_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step, and so one within each epoch."""
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)


def test_a_run_repeats_itself(undisturbed: dict[str, Tensor], tmp_path: Path) -> None:
    assert_same(tiny.weights(tmp_path), undisturbed)
    assert [row["step"] for row in rows_of(tmp_path)][-1] == STEPS
    start = tiny.fresh_model().state_dict()
    assert not torch.equal(start["stack.project.weight"], undisturbed["stack.project.weight"])


@pytest.mark.parametrize("seed", range(3))
def test_stopped_by_an_exception(undisturbed: dict[str, Tensor], tmp_path: Path, seed: int) -> None:
    stops = sorted(random.Random(seed).sample(range(1, STEPS + 1), 3))
    assert [stopped_at(tmp_path, step) for step in stops] == [True] * 3
    assert_same(tiny.weights(tmp_path), undisturbed)


@pytest.mark.usefixtures("saving_always")
def test_stopped_after_every_second_step(undisturbed: dict[str, Tensor], tmp_path: Path) -> None:
    stops = range(2, STEPS, 2)
    assert all(stopped_at(tmp_path, step) for step in stops)
    assert_same(tiny.weights(tmp_path), undisturbed)
    assert [row["epoch"] for row in rows_of(tmp_path)] == list(range(1, EPOCHS + 1))


SHAPES = [
    ModelSpec("recurrent", "classify", 40, 3, channels=8, blocks=1),
    ModelSpec("attention", "embed", 40, 6, channels=8, blocks=1, kernel=3, context=4),
]


@pytest.mark.usefixtures("saving_always")
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.family}-{shape.head}")
def test_every_family_resumes_within_an_epoch(tmp_path: Path, shape: ModelSpec) -> None:
    spec = replace(tiny.SPEC, epochs=3)
    for step in (2, 4, 8):
        assert stopped_at(tmp_path / "run", step, shape=shape, spec=spec)
    own = load_file(tmp_path / "run" / CHECKPOINT).keys() & {"aim.centres"}
    assert bool(own) == (shape.head == "embed")
    found = tiny.weights(tmp_path / "run", shape=shape, spec=spec)
    assert_same(found, tiny.weights(tmp_path / "undisturbed", shape=shape, spec=spec))


@pytest.mark.usefixtures("saving_always")
def test_losses_of_an_epoch_that_was_stopped_are_whole(tmp_path: Path) -> None:
    tiny.weights(tmp_path / "undisturbed")
    assert stopped_at(tmp_path / "run", 4) and stopped_at(tmp_path / "run", 8)
    tiny.weights(tmp_path / "run")
    logs = [
        [(row["epoch"], row["step"], row["loss"], row["dev"]) for row in rows_of(tmp_path / name)]
        for name in ("undisturbed", "run")
    ]
    assert logs[0] == logs[1]


def kill(folder: Path, spec: TrainSpec, rng: random.Random, save_seconds: float) -> None:
    """Train in a child and kill it at a random moment."""
    told, telling = tiny.context().Pipe(duplex=False)
    child = tiny.child(tiny.train_and_tell, folder, spec, save_seconds, telling)
    for _ in range(rng.randrange(1, 9)):
        told.recv()
    time.sleep(rng.uniform(0, 0.01))
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("save_seconds", "times"), [(0.0, 10), (60.0, 4)], ids=["each step", "each epoch"]
)
def test_killed_at_random(tmp_path: Path, save_seconds: float, times: int) -> None:
    rng, spec = random.Random(7), replace(tiny.SPEC, epochs=30)
    for _ in range(times):
        kill(tmp_path / "run", spec, rng, save_seconds)
    assert position(tmp_path / "run")["step"] >= 3
    wanted = tiny.weights(tmp_path / "undisturbed", spec=spec)
    assert_same(tiny.weights(tmp_path / "run", spec=spec), wanted)
    assert [row["epoch"] for row in rows_of(tmp_path / "run")] == list(range(1, 31))


def position(folder: Path) -> dict[str, float]:
    with safe_open(folder / CHECKPOINT, "pt") as file:
        found: dict[str, float] = json.loads(file.metadata()["position"])
    return found


def test_a_finished_run_is_not_trained_again(
    undisturbed: dict[str, Tensor], tmp_path: Path
) -> None:
    tiny.weights(tmp_path)
    assert not stopped_at(tmp_path, 1)
    assert_same(tiny.weights(tmp_path), undisturbed)


def test_the_log_survives_a_stop_between_it_and_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = 0

    def fails(path: Path, run: Run) -> None:
        nonlocal saves
        saves += 1
        if saves == 3:
            raise Stopped
        save_run(path, run)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(loop, "save_run", fails)
        tiny.weights(tmp_path)
    tiny.weights(tmp_path)
    assert [row["epoch"] for row in rows_of(tmp_path)] == list(range(1, EPOCHS + 1))


def test_a_pass_that_is_gone_is_made_again(undisturbed: dict[str, Tensor], tmp_path: Path) -> None:
    assert stopped_at(tmp_path, 13)
    for path in (tmp_path / "passes").glob("pass-*/*"):
        path.unlink()
    for path in (tmp_path / "passes").glob("pass-*"):
        path.rmdir() if path.is_dir() else path.unlink()
    assert_same(tiny.weights(tmp_path), undisturbed)


def a_checkpoint(folder: Path) -> Path:
    assert stopped_at(folder, 8)
    return folder / CHECKPOINT


def fresh_run(shape: ModelSpec = tiny.SHAPE) -> Run:
    model, aim = tiny.fresh_model(shape), tiny.fresh_aim(shape)
    return Run(model, aim, tiny.fresh_model(shape), optimizers(model, aim, tiny.SPEC))


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path, run = a_checkpoint(tmp_path), fresh_run()
    load_run(path, run)
    save_run(tmp_path / "again", run)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert (run.position.epoch, run.position.step, len(run.position.errors)) == (2, 6, 2)
    assert sorted(run.best) == [0, 1]


@pytest.mark.parametrize("change", [{"channels": 8}, {"blocks": 3}, {"outputs": 9}])
def test_a_checkpoint_of_another_model(tmp_path: Path, change: dict[str, int]) -> None:
    path = a_checkpoint(tmp_path)
    other = fresh_run(replace(tiny.SHAPE, **change))  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=r"cannot be used.*this very model.*build again"):
        load_run(path, other)


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


def changed(path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    meta = {"position": json.dumps(position(path.parent))}
    save_file(change(load_file(path)), path, meta)


WRONG = torch.zeros(2, 3)


@pytest.mark.parametrize(
    "name", ["optimizer.0.x.exp_avg", "optimizer.0.0", "optimizer.0.0.exp_avg", "model.head.bias"]
)
def test_a_checkpoint_with_a_wrong_tensor(tmp_path: Path, name: str) -> None:
    changed(a_checkpoint(tmp_path), lambda tensors: tensors | {name: WRONG})
    with pytest.raises(TrainingError, match="cannot be used"):
        tiny.weights(tmp_path)


@pytest.mark.parametrize(
    "kind", ["model.", "average.", "optimizer.0.0.exp_avg", "optimizer.1.0.momentum"]
)
def test_a_checkpoint_that_lacks_a_part(tmp_path: Path, kind: str) -> None:
    def without(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        assert any(name.startswith(kind) for name in tensors)
        return {name: values for name, values in tensors.items() if not name.startswith(kind)}

    changed(a_checkpoint(tmp_path), without)
    with pytest.raises(TrainingError, match="cannot be used"):
        tiny.weights(tmp_path)


@pytest.mark.parametrize("meta", [None, {}, {"position": "7"}, {"position": '{"epochs": 1}'}])
def test_a_checkpoint_without_a_position(tmp_path: Path, meta: dict[str, str] | None) -> None:
    path = a_checkpoint(tmp_path)
    save_file(load_file(path), path, meta)
    with pytest.raises(TrainingError, match="cannot be used"):
        tiny.weights(tmp_path)


def test_a_new_run_has_done_nothing() -> None:
    assert Position() == Position(epoch=0, step=0, batch=0, losses=0.0, errors=[], first=0.0)


def test_the_mean_of_weights() -> None:
    several = [{"a": torch.tensor([1.0, k])} for k in (1.0, 2.0, 6.0)]
    assert mean_of(several)["a"].tolist() == [1.0, 3.0]
    one = {"a": torch.rand(5)}
    assert torch.equal(mean_of([one] * 3)["a"], one["a"])
