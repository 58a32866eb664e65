"""Members that train side by side, in processes of their own."""

import os
import signal
import subprocess
import time
from pathlib import Path

from .folders import AIMASS, environment, tiny_scenario

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
