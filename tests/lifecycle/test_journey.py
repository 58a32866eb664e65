"""The journey of a user: recordings to a model to words, stopped and started on the way."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from aimass.base.errors import ServiceError
from aimass.lifecycle.build import build
from aimass.lifecycle.stages import Stages
from aimass.registry import bundle as bundles
from aimass.registry.store import Registry

from .conftest import LEARNS, Journey
from .folders import (
    AIMASS,
    CHANCE,
    aimass,
    aimass_json,
    config,
    content_of,
    environment,
    log_of,
    scenario_file,
    tiny_scenario,
)

STAGES = ["prepare", "train", "export", "pack", "hear", "choose", "massive", "dial"]


def test_a_build_says_what_it_published(journey: Journey) -> None:
    said = journey.said
    assert list(said) == [
        "model", "version", "folder", "digest", "aliases", "parameters", "precision",
        "selected", "member", "massive", "members", "students", "points", "failed", "gates",
        "reports", "reused", "scorecard",
    ]  # fmt: skip
    assert (said["model"], said["version"], said["reused"]) == ("three", 1, [])
    assert said["aliases"] == ["production"]
    assert said["gates"] == {"passed": True, "reasons": []}
    bundle = bundles.load(Path(said["folder"]))
    assert bundle.digest == said["digest"]
    assert bundle.folder.parent == journey.home / "bundles"
    assert bundle.manifest.language == "en"
    assert bundle.features.sample_rate == 8000
    for page in said["reports"].values():
        assert (Path(page) / "index.html").is_file()


def test_the_best_member_on_dev_is_published(journey: Journey) -> None:
    members = journey.said["members"]
    assert list(members) == ["first", "second"]
    assert journey.said["member"] == "first"
    assert members["first"]["dev"]["error_rate"] < members["second"]["dev"]["error_rate"]
    card = journey.said["scorecard"]
    assert card["error_rate"] == members["first"]["test"]["error_rate"]
    assert len(list(journey.builds.glob("pack-*"))) == 2


def test_the_model_has_learnt(journey: Journey) -> None:
    card = journey.said["scorecard"]
    assert (card["utterances"], card["speakers"]) == (18, 6)
    assert card["error_rate"] <= CHANCE / 2
    low, high = card["interval"]
    assert low <= card["error_rate"] <= high


def test_the_manifest_says_where_it_comes_from(journey: Journey) -> None:
    bundle = bundles.load(Path(journey.said["folder"]))
    manifest = bundle.manifest
    training = manifest.lineage["training"]
    assert (training["epochs"], training["batch_size"]) == (30, 8)
    assert manifest.lineage["augment"]["policy"]["name"] == "light"
    packed = manifest.scores[bundle.form.precision]["test"]["error_rate"]
    assert packed == journey.said["scorecard"]["error_rate"]
    text = (Path(journey.said["folder"]) / bundles.MANIFEST).read_text()
    assert str(journey.home.parent) not in text  # no machine's paths travel with a model


def test_words_by_name(journey: Journey) -> None:
    clips = sorted((journey.scenario.parent / "words/audio").glob("6_*_0.flac"))
    said = aimass(journey.home, "transcribe", *clips, "--model", "three").splitlines()
    assert len(said) == len(clips) == 6
    wrong = {row["utterance_id"] for row in journey.said["scorecard"]["worst"]}
    for clip, line in zip(clips, said, strict=True):
        assert line.startswith(f"{clip}: ")
        assert line.endswith(": six") == (f"audio/{clip.name}" not in wrong)


def test_measured_by_name(journey: Journey) -> None:
    data = journey.scenario.parent / "words"
    card = aimass_json(journey.home, "eval", "--data", data, "--model", "three")
    built = journey.said["scorecard"]
    for key in ("metric", "error_rate", "interval", "errors", "per_speaker", "worst"):
        assert card[key] == built[key], key


def test_building_again_reuses_every_stage(journey: Journey) -> None:
    before = {path: path.stat().st_mtime_ns for path in journey.builds.rglob("*.onnx")}
    said = aimass_json(journey.home, "build", journey.scenario)
    assert said.pop("reused") == STAGES
    assert said == {key: value for key, value in journey.said.items() if key != "reused"}
    assert before == {path: path.stat().st_mtime_ns for path in journey.builds.rglob("*.onnx")}


def test_gates_that_fail_leave_production_as_it_is(journey: Journey) -> None:
    gates = {"error_rate": 0.0, "upper": 0.0}
    strict = scenario_file(journey.scenario.parent, "strict.yaml", **LEARNS, gates=gates)
    other = {**LEARNS, "members": LEARNS["members"][1:]}  # trained already: only gates are judged
    weak = scenario_file(journey.scenario.parent, "weak.yaml", **other, gates=gates)
    built = build(weak, config=config(journey.home))
    assert not built.verdict.passed and len(built.verdict.reasons) == 2
    assert "above 0.00%" in built.verdict.reasons[0]
    assert built.published.aliases == ("candidate",)
    assert built.reused == tuple(STAGES[:4])
    production = Registry(journey.home).resolve("three", "production")
    assert production is not None and production.digest == journey.said["digest"]
    said = aimass(journey.home, "build", strict)
    assert "kept as candidate, not published" in said and "Gate: the upper end" in said


def test_a_model_is_shown(journey: Journey) -> None:
    shown = aimass(journey.home, "models", "show", "three@production")
    assert journey.said["digest"] in shown


def test_two_builds_of_a_scenario_do_not_mix(journey: Journey) -> None:
    with (
        Stages(journey.builds).lock(),
        pytest.raises(ServiceError, match="another build of this scenario is running"),
    ):
        build(journey.scenario, config=config(journey.home))


def killed_in_training(home: Path, scenario: Path, epochs: int) -> None:
    """Build in a child process and kill it once so many epochs are done."""
    with subprocess.Popen(
        [*AIMASS, "build", str(scenario)],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        while child.poll() is None:
            logs = list((home / "builds/three/unfinished").glob("train-*/log.jsonl"))
            if logs and len(logs[0].read_text().splitlines()) >= epochs:
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
    assert child.returncode == -signal.SIGKILL


def test_killed_and_started_again_elsewhere(journey: Journey, home: Path, tmp_path: Path) -> None:
    only_first = {**LEARNS, "members": LEARNS["members"][:1]}
    scenario = tiny_scenario(tmp_path, "other/place", **only_first)
    killed_in_training(home, scenario, 4)
    builds = home / "builds/three"
    (checkpoint,) = builds.glob("unfinished/train-*/checkpoint.safetensors")
    assert not list(builds.glob("train-*"))
    done = len(log_of(checkpoint.parent))
    (builds / ".train-half").mkdir()  # what a kill within the last moment of a stage leaves

    built = build(scenario, config=config(home))
    assert built.reused == ("prepare",)
    made, before = (content_of(one) for one in (built.bundle, journey.bundle))
    assert made == before  # content decides, not place or history
    (folder,) = builds.glob("train-*")
    assert [row["epoch"] for row in log_of(folder)] == list(range(1, 31))
    assert 4 <= done < 30
    assert not list((builds / "unfinished").iterdir())
    assert not list(builds.glob(".*-*"))
    (run,) = runs_of(home)
    steps = [one.step for one in Registry(home).client.get_metric_history(run.info.run_id, "dev")]
    assert steps == list(range(1, 31))  # one run, each epoch once


def runs_of(home: Path) -> list[Any]:
    """The runs that MLflow has of the scenario."""
    client = Registry(home).client
    experiment = client.get_experiment_by_name("three")
    return list(client.search_runs([experiment.experiment_id]))
