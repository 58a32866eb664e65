"""The loop: its learning rate, what it keeps, and when it stops or gives up."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from aimass.base.errors import TrainingError
from aimass.models.model import SpeechModel
from aimass.training.checkpoint import mean_of
from aimass.training.dev import DevSet
from aimass.training.examples import Batch, TrainingSet
from aimass.training.loop import CHECKPOINT, LOG, _stale, optimizers, train
from aimass.training.schedule import cycle

from . import tiny


class Planned(DevSet):
    """A dev set with errors as we plan them; keeps the weights that it was asked about."""

    def __init__(self, errors: Sequence[float]) -> None:
        super().__init__(*tiny.held_out())
        self.errors: Iterator[float] = chain(errors, repeat(9.0))
        self.seen: list[dict[str, Tensor]] = []

    def error(self, model: SpeechModel) -> float:
        self.seen.append({name: values.clone() for name, values in model.state_dict().items()})
        return next(self.errors)


def planned(folder: Path, errors: Sequence[float], **changes: float) -> tuple[Planned, SpeechModel]:
    """A run whose dev errors are these."""
    dev, spec = Planned(errors), replace(tiny.SPEC, **changes)  # type: ignore[arg-type]
    best = train(tiny.fresh_model(), tiny.fresh_aim(), tiny.data(folder), dev, spec, folder)
    return dev, best


def epochs(folder: Path) -> int:
    return len((folder / LOG).read_text().splitlines())


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("errors", "patience", "wanted"),
    [
        ([5, 4, 3, 4, 4, 1, 1], 2, 5),
        ([5, 4, 3, 4, 4, 1, 1], 3, 8),
        ([5, 5, 5, 5, 5, 5, 5, 5], 1, 2),
        ([8, 7, 6, 5, 4, 3, 2, 1], 1, 8),
        ([1, 2, 3, 4, 5, 6, 7, 8], 0, 8),
    ],
)
def test_it_stops_when_dev_gets_no_better(
    tmp_path: Path, errors: list[float], patience: int, wanted: int
) -> None:
    planned(tmp_path, errors, patience=patience)
    assert epochs(tmp_path) == wanted
    planned(tmp_path, [0], patience=patience)  # and stays so when it is asked again
    assert epochs(tmp_path) == wanted


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(0, 6))
def test_patience(errors: list[int], patience: int) -> None:
    best = [n for n, error in enumerate(errors) if all(error < e for e in errors[:n])]
    waited = len(errors) - 1 - best[-1] if best else 0
    assert _stale(errors, patience) == (0 < patience <= waited)


ERRORS = [9, 4, 7, 3, 8, 5, 3, 9]  # of eight epochs


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_mean_of_the_best_is_kept(tmp_path: Path, keep: int) -> None:
    dev, best = planned(tmp_path, [*ERRORS, 2], keep=keep)
    chosen = sorted(range(8), key=lambda epoch: (ERRORS[epoch], -epoch))[:keep]
    assert equal(best.state_dict(), mean_of([dev.seen[epoch] for epoch in sorted(chosen)]))
    held = {name.split(".")[1] for name in load_file(tmp_path / CHECKPOINT) if name[:5] == "best."}
    assert held == {str(epoch) for epoch in chosen}
    assert not best.training


def test_the_best_one_is_kept_where_the_mean_is_worse(tmp_path: Path) -> None:
    dev, best = planned(tmp_path, [*ERRORS, 3.5])
    assert equal(best.state_dict(), dev.seen[3])


def test_dev_hears_the_average(tmp_path: Path) -> None:
    dev, _ = planned(tmp_path, [1], epochs=1, average_decay=0.5)
    tensors = load_file(tmp_path / CHECKPOINT)
    name = "head.output.weight"
    assert torch.equal(dev.seen[0][name], tensors[f"average.{name}"])
    assert not torch.equal(tensors[f"average.{name}"], tensors[f"model.{name}"])


def test_it_learns(tmp_path: Path) -> None:
    shape = replace(tiny.SHAPE, head="classify", outputs=3, channels=16)
    tiny.weights(tmp_path, shape=shape, spec=replace(tiny.SPEC, epochs=25))
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]
    assert min(row["dev"] for row in rows) <= 1 / 3


def test_each_epoch_is_reported(tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    steps: list[tuple[str, int, int | None]] = []
    train(
        tiny.fresh_model(),
        tiny.fresh_aim(),
        tiny.data(tmp_path),
        tiny.dev(),
        replace(tiny.SPEC, epochs=3),
        tmp_path,
        progress=lambda *row: steps.append(row),
        report=told.append,
    )
    assert told == [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["epoch"] for row in told] == [1, 2, 3]
    assert steps == [("train", n, int(told[-1]["step"])) for n in range(1, len(steps) + 1)]
    assert told[0]["learning_rate"] > told[1]["learning_rate"] > told[2]["learning_rate"] == 0
    assert all(row["utterances_per_second"] > 0 and row["seconds"] > 0 for row in told)


class Sick(TrainingSet):
    """Gives something else than sound for one example, from its second epoch on."""

    value = np.nan
    example = tiny.examples()[7].name

    def batch(self, epoch: int, utterances: Sequence[int]) -> Batch:
        made = super().batch(epoch, utterances)
        if epoch:
            for features, names in zip(made.features, made.names, strict=True):
                if self.example in names:
                    features[:] = self.value
        return made


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_sick_utterance_is_named_and_the_run_can_go_on(
    tmp_path: Path, value: float, undisturbed: dict[str, Tensor]
) -> None:
    passes = tiny.passes(tmp_path / "passes")
    data = Sick(passes, batch_size=tiny.SPEC.batch_size, stack=4, seed=5)
    data.value = value
    with pytest.raises(TrainingError, match="the loss became nan at step") as caught:
        train(tiny.fresh_model(), tiny.fresh_aim(), data, tiny.dev(), tiny.SPEC, tmp_path)
    first = caught.value.found.split("utterances: ")[1].split("; ")[0]
    assert Sick.example in first.split("+")
    assert "a finite number" in caught.value.expected
    assert "Listen to these" in caught.value.fix
    assert equal(tiny.weights(tmp_path), undisturbed)  # healed


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    model = tiny.fresh_model()
    with torch.no_grad():
        model.stack.project.weight[0, 0] = value
    with pytest.raises(TrainingError, match="the loss became nan at step 0"):
        train(model, tiny.fresh_aim(), tiny.data(tmp_path), tiny.dev(), tiny.SPEC, tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()  # nothing of it is kept


@pytest.mark.parametrize("rates", [(1e30, 0.0), (3e-3, 1e30)], ids=["AdamW", "Muon"])
def test_a_learning_rate_that_breaks_the_weights(
    tmp_path: Path, rates: tuple[float, float]
) -> None:
    spec = replace(tiny.SPEC, learning_rate=rates[0], matrix_rate=rates[1], warmup=0.01)
    with pytest.raises(TrainingError, match=r"the loss became .* at step [1-9]") as caught:
        tiny.weights(tmp_path, spec=spec)
    assert "lower learning_rate" in caught.value.fix


def test_a_loss_that_explodes_is_stopped_while_it_is_still_a_number(tmp_path: Path) -> None:
    passes = tiny.passes(tmp_path / "passes")
    data = Sick(passes, batch_size=tiny.SPEC.batch_size, stack=4, seed=5)
    data.value = 0.0
    aim = tiny.fresh_aim()
    counted = aim.forward

    def exploding(outputs: Tensor, batch: Batch) -> Tensor:
        silent = torch.tensor([not row.any() for row in batch.features])
        losses: Tensor = counted(outputs, batch)
        return losses + 1e6 * silent

    aim.forward = exploding
    with pytest.raises(TrainingError, match=r"the loss became \d") as caught:
        train(tiny.fresh_model(), aim, data, tiny.dev(), tiny.SPEC, tmp_path)
    assert Sick.example in caught.value.found.split("; ")[0]
    assert "at most" in caught.value.expected


def test_an_error_in_a_batch_comes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny.data(tmp_path)
    made, calls = data.batch, 0

    def fails(epoch: int, utterances: Sequence[int]) -> Batch:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise OSError("the disk is gone")
        return made(epoch, utterances)

    monkeypatch.setattr(data, "batch", fails)
    with pytest.raises(OSError, match="the disk is gone"):
        train(tiny.fresh_model(), tiny.fresh_aim(), data, tiny.dev(), tiny.SPEC, tmp_path)


def test_onecycle() -> None:
    factors = [cycle(done / 1000, 0.1) for done in range(1001)]
    assert factors[0] == 0
    assert factors[100] == 1
    assert factors[:101] == sorted(factors[:101])
    assert factors[100:] == sorted(factors[100:], reverse=True)
    assert factors[-1] == pytest.approx(0, abs=1e-12)
    assert cycle(0.0, 0.0) == 1


def test_every_weight_has_one_optimizer() -> None:
    shape = replace(tiny.SHAPE, head="embed")
    model, aim = tiny.fresh_model(shape), tiny.fresh_aim(shape)
    adam, muon = optimizers(model, aim, tiny.SPEC)
    held = [[id(p) for group in one.param_groups for p in group["params"]] for one in (adam, muon)]
    wanted = [id(p) for p in (*model.parameters(), *aim.parameters())]
    assert sorted(held[0] + held[1]) == sorted(wanted)
    matrices = {name for name, p in model.named_parameters() if id(p) in held[1]}
    assert "stack.project.weight" in matrices
    assert all(name.startswith(("stack.", "encoder.")) for name in matrices)
    (alone,) = optimizers(model, aim, replace(tiny.SPEC, matrix_rate=0.0))
    assert isinstance(alone, torch.optim.AdamW)
    model.encoder.requires_grad_(False)
    model.stack.requires_grad_(False)
    (rest,) = optimizers(model, aim, tiny.SPEC)
    assert all(p.requires_grad for p in rest.param_groups[0]["params"])


def test_nothing_of_the_process_is_changed(tmp_path: Path) -> None:
    torch.manual_seed(11)
    wanted = torch.rand(3)
    torch.manual_seed(11)
    torch.set_num_threads(2)
    try:
        tiny.weights(tmp_path, spec=replace(tiny.SPEC, epochs=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert torch.equal(torch.rand(3), wanted)


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    one = tiny.weights(tmp_path / "one", spec=replace(tiny.SPEC, epochs=1))
    other = tiny.weights(tmp_path / "other", spec=replace(tiny.SPEC, epochs=1, seed=6))
    assert not torch.equal(one["head.output.weight"], other["head.output.weight"])
