"""Members before their first step, and side by side in processes of their own."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from aimass.base.contract import no_progress
from aimass.base.errors import TrainingError
from aimass.lifecycle.build import job_of
from aimass.lifecycle.members import Ready, ready
from aimass.lifecycle.prepare import prepare
from aimass.lifecycle.scenario import read
from aimass.lifecycle.stages import Stages
from aimass.training.objective import CtcObjective
from data.folders import digits_folder

from .folders import AIMASS, config, environment, scenario_file, tiny_scenario

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PATIENCE = 120  # seconds for children to come or go on a busy machine


def children(process: int) -> set[int]:
    """The processes that a process has started."""
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        return {int(child) for task in tasks for child in (task / "children").read_text().split()}
    except FileNotFoundError:
        return set()


def alive(process: int) -> bool:
    """Whether a process runs; one that ended and was not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except FileNotFoundError:
        return False


def until(condition: object) -> None:
    """Wait for something to become true."""
    assert callable(condition)
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_a_build_that_is_killed_takes_its_workers_with_it(tmp_path: Path) -> None:
    scenario = tiny_scenario(
        tmp_path,
        training={"epochs": 5000, "batch_size": 16},
        members=[
            {"name": "one", "parameters": 30000},
            {"name": "two", "parameters": 30000, "seed": 1},
        ],
    )
    with subprocess.Popen(
        [*AIMASS, "build", scenario],
        env=environment(tmp_path / "home") | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as build:
        checkpoints = tmp_path / "home/builds/three/unfinished"
        until(lambda: len(list(checkpoints.glob("train-*/checkpoint.safetensors"))) == 2)
        workers = children(build.pid)
        assert len(workers) >= 2
        os.kill(build.pid, signal.SIGKILL)
    until(lambda: not any(map(alive, workers)))


def prepared(home: Path, folder: Path, words: Sequence[str], **member: Any) -> Ready:
    """A member that spells words as they were recorded, before its first step."""
    digits_folder(folder / "words", words)
    scenario = scenario_file(
        folder,
        tokens={"kind": "characters"},
        augment={"policy": "clean", "joined": 1, "ramp": 0, "passes": 1, "pause": [0, 0]},
        members=[{"name": "small", "parameters": 30000, "subsampling": "stack"} | member],
    )
    plan, stages = read(scenario), Stages(folder / "builds")
    found = prepare(plan, config(home), stages, no_progress)
    return ready(job_of(plan, plan.resolved()[0], found, stages, config(home)), no_progress)


def without_loss(member: Ready) -> set[str]:
    """The examples that train nothing, whatever the outputs are."""
    names = set()
    for utterances in member.data.plan(0):
        batch = member.data.batch(0, utterances)
        shape = (len(batch.lengths), int(batch.lengths.max()), member.shape.outputs)
        losses = CtcObjective()(torch.zeros(shape).log_softmax(dim=2), batch)
        names |= {name for (name,), loss in zip(batch.names, losses, strict=True) if loss == 0}
    return names


def test_texts_that_train_nothing_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "aimass.build"):
        member = prepared(tmp_path / "home", tmp_path, DIGITS, stack=16)
    (record,) = (one for one in caplog.records if one.name == "aimass.build")
    names = without_loss(member)
    assert names
    told = f"'stack: 16' the texts of {len(names)} of {len(member.data.passes.examples)} training"
    assert told in record.getMessage() and "'small'" in record.getMessage()
    assert any(f"such as {name};" in record.getMessage() for name in names)


def test_texts_that_fit_their_sound_are_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    member = prepared(tmp_path / "home", tmp_path, ("three",), stack=4)
    assert not caplog.records and not without_loss(member)


def test_a_stack_that_leaves_no_room_for_texts(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"texts of \d+ of \d+ training clips need") as caught:
        prepared(tmp_path / "home", tmp_path, ("three", "two"), stack=16)
    assert "'stack'" in caught.value.fix and "'tokens'" in caught.value.fix


def test_the_frames_of_dev_are_found_again_where_data_was_moved(tmp_path: Path) -> None:
    cache = tmp_path / "home/cache/features"
    prepared(tmp_path / "home", tmp_path / "one", ("zero",))
    kept = sorted(cache.rglob("*.npy"))
    prepared(tmp_path / "home", tmp_path / "two", ("zero",))
    assert kept and sorted(cache.rglob("*.npy")) == kept
