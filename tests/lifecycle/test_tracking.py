"""MLflow has what the log has, whatever is stopped or fails."""

import json
import logging
import sqlite3
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from aimass.base.files import write_json
from aimass.lifecycle.tracking import RUN, Pruned, Tracking, flat, keep_scores, tracked
from aimass.registry.store import Registry

from .conftest import Journey
from .folders import log_of
from .test_journey import runs_of


def history(home: Path, run: str, name: str) -> dict[int, float]:
    found = Registry(home).client.get_metric_history(run, name)
    assert len({one.step for one in found}) == len(found)
    return {one.step: one.value for one in found}


def test_members_in_processes_of_their_own_lose_nothing(journey: Journey) -> None:
    runs: dict[str, Any] = {run.info.run_name: run for run in runs_of(journey.home)}
    assert sorted(runs) == ["first", "second"]
    for folder in journey.builds.glob("train-*"):
        run = json.loads((folder / RUN).read_text())["run"]
        rows = log_of(folder)
        for name in rows[0].keys() - {"epoch"}:
            assert history(journey.home, run, name) == {
                int(row["epoch"]): row[name] for row in rows
            }


def test_a_run_says_what_was_trained_and_on_what(journey: Journey) -> None:
    first = next(run for run in runs_of(journey.home) if run.info.run_name == "first")
    assert first.info.status == "FINISHED"
    data = first.data
    assert data.params["member.family"] == "conv"
    assert data.params["features.bins"] == "40"
    assert data.params["augment.policy.name"] == "light"
    assert data.params["training.epochs"] == "30"
    prepared = next(journey.builds.glob("prepare-*"))
    assert data.params["data"] == json.loads((prepared / "content.json").read_text())
    assert {"environment.torch", "environment.python", "environment.cores"} <= set(data.tags)
    assert data.metrics["packed_test"] == journey.said["scorecard"]["error_rate"]
    assert {"loss", "dev", "learning_rate", "seconds", "utterances_per_second"} <= set(data.metrics)
    client = Registry(journey.home).client
    kept = {one.path for one in client.list_artifacts(first.info.run_id)}
    assert kept == {"log.jsonl", "dev.json", "test.json", "report"}
    assert list((journey.home / "artifacts/three").iterdir())


def write_log(folder: Path, epochs: int) -> None:
    rows = [json.dumps({"epoch": n, "loss": 1 / n, "dev": 0.5 / n}) for n in range(1, epochs + 1)]
    (folder / "log.jsonl").write_text("\n".join(rows) + "\n")


def train(home: Path, folder: Path, first: int, last: int, fault: BaseException | None) -> None:
    """What a training looks like from here: rows of a log, and perhaps an end before the end."""
    folder.mkdir(exist_ok=True)
    place = Tracking(home, None, "three")
    with tracked(place, folder, folder / "log.jsonl", "one", {"a": {"b": [1]}}) as copy:
        for epoch in range(first, last + 1):
            write_log(folder, epoch)
            copy()
        if fault is not None:
            raise fault


@pytest.mark.parametrize(
    ("fault", "status"),
    [(KeyboardInterrupt(), "KILLED"), (Pruned(), "KILLED"), (ValueError(), "FAILED")],
)
def test_a_stopped_run_goes_on(
    home: Path, tmp_path: Path, fault: BaseException, status: str
) -> None:
    folder = tmp_path / "scratch"
    with pytest.raises(type(fault)):
        train(home, folder, 1, 3, fault)
    (run,) = runs_of(home)
    assert run.info.status == status
    write_log(folder, 4)  # a row that was written and not sent
    train(home, folder, 4, 6, None)  # epoch 4 again, as after a kill before the checkpoint
    (run,) = runs_of(home)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"a.b": "[1]"}
    assert history(home, run.info.run_id, "dev") == {n: 0.5 / n for n in range(1, 7)}


def test_a_run_that_somebody_deleted_begins_anew(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    train(home, folder, 1, 2, None)
    Registry(home).client.delete_run(json.loads((folder / RUN).read_text())["run"])
    train(home, folder, 3, 3, None)
    (run,) = runs_of(home)
    assert sorted(history(home, run.info.run_id, "dev")) == [1, 2, 3]


def test_a_locked_database_is_waited_for(home: Path, tmp_path: Path) -> None:
    other = sqlite3.connect(home / "registry.db", check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    release = Timer(1.0, other.rollback)
    release.start()
    train(home, tmp_path / "scratch", 1, 2, None)
    release.join()
    (run,) = runs_of(home)
    assert sorted(history(home, run.info.run_id, "dev")) == [1, 2]


def test_an_mlflow_that_fails_is_told_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Tracking(tmp_path, f"sqlite:///{tmp_path}/none/x.db", "three")
    (tmp_path / "none").write_text("a file where a folder should be")
    write_log(tmp_path, 1)
    with (
        caplog.at_level(logging.WARNING, "aimass.tracking"),
        tracked(nowhere, tmp_path, tmp_path / "log.jsonl", "one", {}) as copy,
    ):
        copy()
        copy()
    told = [one for one in caplog.records if one.name == "aimass.tracking"]
    assert len(told) == 1 and "training goes on" in told[0].getMessage()
    write_json(tmp_path / RUN, {"run": "0" * 32})
    keep_scores(nowhere, tmp_path, {"dev": 0.1}, [tmp_path / "log.jsonl"])  # nor does this


def test_without_a_place_nothing_is_kept(tmp_path: Path) -> None:
    with tracked(None, tmp_path, tmp_path / "log.jsonl", "one", {}) as copy:
        copy()
    keep_scores(None, tmp_path, {"dev": 0.1}, [])
    assert not list(tmp_path.iterdir())


def test_parameters_are_flat() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [1, "x"], "e": None, "f": "y"}) == {
        "a.b": "1", "a.c": "{}", "d": '[1, "x"]', "e": "null", "f": "y",
    }  # fmt: skip
    assert len(flat({"a": "x" * 10_000})["a"]) == 6000
