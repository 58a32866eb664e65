"""A run of several cycles: its learning rate, its snapshots, and that a stop leaves no trace."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file

from aimass.base.errors import TrainingError
from aimass.models.spec import ModelSpec
from aimass.training import loop
from aimass.training.checkpoint import mean_of
from aimass.training.loop import CHECKPOINT, TrainSpec, snapshot_path
from aimass.training.schedule import Schedule, cycle

from . import tiny
from .test_loop import planned
from .test_resume import assert_same, rows_of, stopped_at

TWO = replace(tiny.SPEC, epochs=5, cycles=2)  # epochs 0 and 1, then 2 to 4


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.floats(0, 0.5))
def test_every_cycle_goes_the_whole_way(
    epochs: int, cycles: int, steps: int, warmup: float
) -> None:
    cycles = min(cycles, epochs)
    made = Schedule(lambda count: count * steps, epochs, cycles=cycles, warmup=warmup)
    assert made.total == epochs * steps
    assert len(made.ends) == cycles and made.ends[-1] == epochs
    lengths = [end - begun for begun, end in zip([0, *made.ends], made.ends, strict=False)]
    assert max(lengths) - min(lengths) <= 1 and min(lengths) > 0
    for epoch in range(epochs):
        number = made.number(epoch)
        assert made.first(epoch) <= epoch < made.ends[number]
        begun, length = made.first(epoch) * steps, lengths[number] * steps
        for step in range(epoch * steps, (epoch + 1) * steps):
            assert made.factor(step) == cycle((step - begun) / length, warmup)
            assert made.since(step) == step - begun


def test_one_cycle_is_the_whole_run() -> None:
    made = Schedule(lambda count: 7 * count, 9, cycles=1, warmup=0.1)
    assert [made.factor(step) for step in range(64)] == [
        cycle(step / 63, 0.1) for step in range(64)
    ]


@pytest.mark.parametrize(("epochs", "cycles"), [(5, 0), (5, -1), (5, 6)])
def test_no_cycles(epochs: int, cycles: int) -> None:
    with pytest.raises(TrainingError, match=f"{cycles} cycles in {epochs} epochs"):
        TrainSpec(epochs=epochs, cycles=cycles)


def test_one_cycle_goes_without_saying() -> None:
    assert "cycles" not in tiny.SPEC.to_dict()
    assert TrainSpec(**tiny.SPEC.to_dict()) == tiny.SPEC
    assert TWO.to_dict()["cycles"] == 2


def test_a_snapshot_for_each_cycle(tmp_path: Path) -> None:
    errors = [3, 2, 1, 8, 7, 6]  # two cycles of three epochs; the second one is worse
    dev, best = planned(tmp_path, [*errors[:3], 0, *errors[3:], 0], epochs=6, cycles=2, keep=2)
    first, last = (load_file(snapshot_path(tmp_path, number)) for number in (1, 2))
    assert_same(first, mean_of([dev.seen[1], dev.seen[2]]))
    assert_same(last, mean_of([dev.seen[5], dev.seen[6]]))  # the fourth one judged the snapshot
    assert_same(best.state_dict(), last)
    assert not snapshot_path(tmp_path, 3).exists()
    with safe_open(snapshot_path(tmp_path, 1), "pt") as file:
        assert ModelSpec.from_dict(json.loads(file.metadata()["spec"])) == tiny.SHAPE
    held = {name.split(".")[1] for name in load_file(tmp_path / CHECKPOINT) if name[:5] == "best."}
    assert held == {"4", "5"}


def test_one_cycle_leaves_no_snapshot(tmp_path: Path) -> None:
    tiny.weights(tmp_path, spec=replace(tiny.SPEC, epochs=2))
    assert not list(tmp_path.glob("snapshot*"))


def test_the_average_starts_anew_with_a_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    spec = replace(tiny.SPEC, epochs=2, cycles=2, average_decay=0.1)
    kept = []
    for step in (3, 4, 5):
        assert stopped_at(tmp_path, step, spec=spec)  # the checkpoint is of the step before
        kept.append(load_file(tmp_path / CHECKPOINT))
    name = "head.output.weight"
    for decay, (before, after) in zip((0.1, 1 / 11), pairwise(kept), strict=True):
        wanted = before[f"average.{name}"].lerp(after[f"model.{name}"], 1 - decay)
        assert torch.equal(after[f"average.{name}"], wanted)


@pytest.mark.parametrize(
    ("errors", "wanted"),
    [
        ([1, 2, 3, 4, 0, 5, 4, 3, 2, 0], 8),  # nothing new in the first cycle alone
        ([1, 2, 3, 4, 0, 2, 3, 4, 5, 0], 7),  # nothing new in the last one
    ],
)
def test_patience_is_of_the_last_cycle(
    tmp_path: Path, errors: Sequence[float], wanted: int
) -> None:
    planned(tmp_path, errors, epochs=8, cycles=2, patience=2)
    assert len(rows_of(tmp_path)) == wanted
    assert snapshot_path(tmp_path, 2).is_file()


@pytest.mark.parametrize("save_seconds", [0.0, 60.0], ids=["each step", "each epoch"])
def test_a_stop_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_seconds: float
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", save_seconds)
    wanted = tiny.weights(tmp_path / "undisturbed", spec=TWO)
    total = int(rows_of(tmp_path / "undisturbed")[-1]["step"])
    for step in (2, 6, 7, total):
        assert stopped_at(tmp_path / "run", step, spec=TWO)
    assert_same(tiny.weights(tmp_path / "run", spec=TWO), wanted)
    for number in (1, 2):
        paths = [snapshot_path(tmp_path / run, number) for run in ("run", "undisturbed")]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    rows = [[row["learning_rate"] for row in rows_of(tmp_path / "run")]]
    assert rows[0][1] == rows[0][4] == 0 < rows[0][2]


def test_snapshots_differ(tmp_path: Path) -> None:
    tiny.weights(tmp_path, spec=TWO)
    one, other = (load_file(snapshot_path(tmp_path, number)) for number in (1, 2))
    name = "head.output.weight"
    assert not torch.equal(one[name], other[name])
