"""A search keeps to its ranges, to dev, and to its bounds, and goes on where it was stopped."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from aimass.base.errors import ScenarioError, TrainingError
from aimass.lifecycle.build import build
from aimass.lifecycle.scenario import read
from aimass.lifecycle.tune import Tuned, TuneSpec, tune
from aimass.registry.store import Registry

from .folders import PLAIN, aimass, aimass_json, config, scenario_file, tiny_scenario
from .test_journey import runs_of

RANGES = {
    "training.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
    "members.0.kernel": {"choices": [5, 9]},
}


class Stopped(Exception):
    """Raised from the progress callback, as an interrupt would be."""


def trained(home: Path) -> set[str]:
    return {path.name for path in (home / "builds/three").glob("train-*")}


def test_a_search_that_is_stopped_goes_on(home: Path, tmp_path: Path) -> None:
    scenario = tiny_scenario(tmp_path, tune=RANGES, training={"epochs": 3, "batch_size": 16})

    def stops(what: str, done: int, total: int | None) -> None:
        if what.startswith("trial 2 small train") and ", loss" in what:  # its first epoch is done
            raise Stopped

    with pytest.raises(Stopped):
        tune(scenario, TuneSpec(trials=3), config=config(home), progress=stops)
    (prepared,) = (home / "builds/three").glob("prepare-*")
    (prepared / "test.jsonl.gz").unlink()  # what is not there cannot have been read
    assert len(trained(home)) == 1

    found = tune(scenario, TuneSpec(trials=3), config=config(home))
    numbers = [trial.number for trial in found.trials]
    assert len(numbers) == 3 and 1 not in numbers  # its values went on as the next trial
    assert [trial.state for trial in found.trials] == ["complete"] * 3
    assert found.best.dev == min(trial.dev for trial in found.trials if trial.dev is not None)
    for trial in found.trials:
        assert 1e-3 <= trial.values["training.learning_rate"] <= 1e-2
        assert trial.values["members.0.kernel"] in (5, 9)
    assert len({str(trial.values) for trial in found.trials}) == 3
    assert len(trained(home)) == 1  # the best; of the others only the record is left
    assert not list((home / "builds/three/unfinished").iterdir())
    assert len(runs_of(home)) == 3  # the trial that was stopped went on in its own
    for run in runs_of(home):
        history = Registry(home).client.get_metric_history(run.info.run_id, "dev")
        assert [one.step for one in history] == [1, 2, 3]
    again = tune(scenario, TuneSpec(trials=3), config=config(home))
    assert again == found


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Tuned]:
    folder = tmp_path_factory.mktemp("searched")
    rates = {"training.learning_rate": {"choices": [0.008, 1e-6]}}
    scenario = tiny_scenario(folder, tune=rates, training={"epochs": 5, "batch_size": 16})
    home = folder / "home"
    return home, scenario, tune(scenario, TuneSpec(trials=4, startup=1), config=config(home))


def test_hopeless_trials_end_early(searched: tuple[Path, Path, Tuned]) -> None:
    _, _, found = searched
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        assert trial.epochs < 5 and trial.dev is not None
    assert found.best.state == "complete"
    assert len(found.trials) == 4


def test_the_best_values_are_written_beside(searched: tuple[Path, Path, Tuned]) -> None:
    home, scenario, found = searched
    assert found.path == scenario.with_name("scenario.tuned.yaml")
    written = yaml.safe_load(found.path.read_text())
    assert written == PLAIN | {
        "training": {"epochs": 5, "batch_size": 16, **{
            "learning_rate": found.best.values["training.learning_rate"]
        }},
    }  # fmt: skip
    built = build(found.path, config=config(home))
    assert {"prepare", "train"} <= set(built.reused)  # the best trial's weights are there


def test_the_command(searched: tuple[Path, Path, Tuned]) -> None:
    home, scenario, found = searched
    assert aimass_json(home, "tune", scenario, "--trials", "4") == found.to_dict()
    said = aimass(home, "tune", scenario, "--trials", "1")
    assert "training.learning_rate" in said
    assert f"Try: aimass build {found.path}" in said


def test_time_is_a_bound_too(home: Path, tmp_path: Path) -> None:
    scenario = tiny_scenario(tmp_path, tune=RANGES)
    with pytest.raises(TrainingError, match="no trial of 0 came to an end") as caught:
        tune(scenario, TuneSpec(trials=3, minutes=1e-6), config=config(home))
    assert "--minutes" in caught.value.fix
    found = tune(scenario, TuneSpec(trials=1), config=config(home))
    assert len(found.trials) == 1


def test_values_that_cannot_be_trained_are_told(home: Path, tmp_path: Path) -> None:
    members = [{"name": "small", "parameters": 30000, "features": {"kind": "mfcc", "bins": 13}}]
    ranges = {"members.0.features.compression": {"choices": ["pcen"]}}
    scenario = tiny_scenario(tmp_path, members=members, tune=ranges)
    with pytest.raises(TrainingError, match=r"no trial of 1 came to an end: .*pcen"):
        tune(scenario, TuneSpec(trials=1), config=config(home))


def test_nothing_to_tune(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="declares nothing to tune"):
        tune(scenario_file(tmp_path), config=config(tmp_path))


def test_members_that_learn_jointly_are_not_tuned(tmp_path: Path) -> None:
    scenario = scenario_file(tmp_path, tune=RANGES, joint=0.5, members=[{}, {"seed": 1}])
    with pytest.raises(ScenarioError, match=r"'joint: 0\.5'.*trains each member alone") as caught:
        tune(scenario, config=config(tmp_path))
    assert caught.value.param == "joint" and "Remove 'joint'" in caught.value.fix


GOOD: list[dict[str, Any]] = [
    {"training.epochs": {"low": 1, "high": 3}},
    {"augment.policy": {"choices": ["light", "strong"]}},
    {"members.0.dilations": {"choices": [[1], [1, 2]]}},
    {"members.0.training.learning_rate": {"low": 1e-3, "high": 1e-2}},
    {"features.bins": {"low": 20, "high": 40}},
]


@pytest.mark.parametrize("ranges", GOOD)
def test_ranges(tmp_path: Path, ranges: dict[str, Any]) -> None:
    assert list(read(scenario_file(tmp_path, tune=ranges)).tune) == list(ranges)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"training.epoch": {"low": 1, "high": 3}}, "unknown key 'training.epoch'"),
    ({"training": {"low": 1, "high": 3}}, "a path such as"),
    ({"data.train": {"choices": ["a", "b"]}}, "a path such as"),
    ({"members.1.kernel": {"choices": [5]}}, "below 1"),
    ({"training.epochs": {"low": 1.5, "high": 3}}, "training.epochs: 1.5"),
    ({"training.learning_rate": {"low": 0.1, "high": 3.0}}, "3.0"),
    ({"training.learning_rate": {"low": 0.1}}, "'low' and 'high'"),
    ({"training.learning_rate": {"low": 0.1, "high": 0.1}}, "below 'high'"),
    ({"training.weight_decay": {"low": 0, "high": 0.1, "log": True}}, "above 0"),
    ({"training.learning_rate": {"low": 0.1, "high": 0.2, "choices": [1]}}, "either 'choices'"),
    ({"augment.policy": {"choices": ["light", "loud"]}}, "'loud'"),
    ({"training.epochs": {"low": 1, "hihg": 3}}, "unknown key"),
]


@pytest.mark.parametrize(("ranges", "words"), WRONG)
def test_wrong_ranges(tmp_path: Path, ranges: dict[str, Any], words: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(scenario_file(tmp_path, tune=ranges))
    assert words in str(caught.value)
    assert (caught.value.param or "").startswith("tune.")


def test_a_members_own_section_begins_as_the_scenarios(tmp_path: Path) -> None:
    from aimass.lifecycle.search import members_in, placed

    plain = {"training": {"epochs": 3}, "members": [{}, {}]}
    found = placed(plain, {"members.1.training.seed": 4})
    assert found["members"] == [{}, {"training": {"epochs": 3, "seed": 4}}]
    assert plain["members"] == [{}, {}]
    assert members_in({"members.1.kernel": 5}, 3) == [1]
    assert members_in({"members.1.kernel": 5, "augment.policy": "light"}, 3) == [0, 1, 2]
    assert placed({}, {"members.0.kernel": 5}) == {"members": [{"kernel": 5}]}
