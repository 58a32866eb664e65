"""The journey of a user: recordings to a model to words, stopped and started on the way."""

import json
import random
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aimass.base.errors import ServiceError
from aimass.base.settings import Settings
from aimass.lifecycle.build import build
from aimass.lifecycle.stages import Stages
from aimass.registry import bundle as bundles

from .folders import AIMASS, CHANCE, WORDS, aimass, aimass_json, environment, tiny_scenario

STAGES = ["prepare", "train", "export", "pack"]


@dataclass(frozen=True)
class Journey:
    home: Path
    scenario: Path
    said: dict[str, Any]

    @property
    def builds(self) -> Path:
        return self.home / "builds/three"


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    folder = tmp_path_factory.mktemp("journey")
    scenario = tiny_scenario(folder)
    return Journey(
        folder / "home", scenario, aimass_json(folder / "home", "build", scenario, "--json")
    )


def test_a_build_says_what_it_published(journey: Journey) -> None:
    said = journey.said
    assert list(said) == ["model", "version", "folder", "digest", "reused", "scorecard"]
    assert (said["model"], said["version"], said["reused"]) == ("three", 1, [])
    bundle = bundles.load(Path(said["folder"]))
    assert bundle.digest == said["digest"]
    assert bundle.folder.parent == journey.home / "bundles"
    assert bundle.manifest.language == "en"
    assert bundle.manifest.features.sample_rate == 8000
    assert "CC BY-SA" not in bundle.manifest.licences["data"]  # this folder states none
    assert bundle.symbols().symbols == tuple(f"▁{word}" for word in sorted(WORDS))


def test_the_model_has_learnt(journey: Journey) -> None:
    card = journey.said["scorecard"]
    assert (card["utterances"], card["speakers"]) == (18, 6)
    assert card["error_rate"] <= CHANCE / 2
    low, high = card["interval"]
    assert low <= card["error_rate"] <= high


def test_the_manifest_says_where_it_comes_from(journey: Journey) -> None:
    manifest = bundles.load(Path(journey.said["folder"])).manifest
    assert manifest.lineage["training"] == {
        "epochs": 45, "batch_size": 4, "learning_rate": 8e-3, "seed": 0,
    }  # fmt: skip
    packed = manifest.scores[manifest.graph.precision]["test"]["error_rate"]
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
    card = aimass_json(journey.home, "eval", "--data", data, "--model", "three", "--json")
    assert list(card)[:11] == [
        "metric", "error_rate", "interval", "errors", "utterances", "speakers",
        "per_speaker", "rtf", "peak_memory_mb", "audio_seconds", "worst",
    ]  # fmt: skip
    built = journey.said["scorecard"]
    for key in ("metric", "error_rate", "interval", "errors", "per_speaker", "worst"):
        assert card[key] == built[key], key


def test_building_again_reuses_every_stage(journey: Journey) -> None:
    before = {path: path.stat().st_mtime_ns for path in journey.builds.rglob("*.onnx")}
    said = aimass_json(journey.home, "build", journey.scenario, "--json")
    assert said.pop("reused") == STAGES
    assert said == {key: value for key, value in journey.said.items() if key != "reused"}
    assert before == {path: path.stat().st_mtime_ns for path in journey.builds.rglob("*.onnx")}


def test_a_model_is_shown(journey: Journey) -> None:
    shown = aimass_json(journey.home, "models", "show", "three@production")
    assert (shown["model"], shown["digest"]) == ("three@1", journey.said["digest"])


class Stopped(Exception):
    """Raised once training begins."""


def test_a_new_clip_is_prepared_and_trained_on(journey: Journey) -> None:
    data = journey.scenario.parent / "words"
    table = data / "metadata.tsv"
    before = table.read_text()
    stages_before = sorted(path.name for path in journey.builds.glob("*-*"))
    shutil.copy(data / "audio/6_theo_5.flac", data / "audio/new.flac")
    table.write_text(f"{before}audio/new.flac\ttheo\tsix\ttrain\n")
    told: list[str] = []

    def progress(what: str, done: int, total: int | None) -> None:
        told.append(what)
        if what == "train":
            raise Stopped

    try:
        with pytest.raises(Stopped):
            build(journey.scenario, config=Settings(home=journey.home), progress=progress)
    finally:
        table.write_text(before)
        (data / "audio/new.flac").unlink()
    assert list(dict.fromkeys(told)) == ["manifest", "load", "train"]
    new = {path.name for path in journey.builds.glob("*-*")} - set(stages_before)
    assert len(new) == 1 and new.pop().startswith("prepare-")
    assert len(list((journey.builds / "unfinished").iterdir())) == 1
    again = build(journey.scenario, config=Settings(home=journey.home))
    assert again.bundle.digest == journey.said["digest"]  # and the old clips are not new


def test_two_builds_of_a_scenario_do_not_mix(journey: Journey) -> None:
    with (
        Stages(journey.builds).lock(),
        pytest.raises(ServiceError, match="another build of this scenario is running"),
    ):
        build(journey.scenario, config=Settings(home=journey.home))


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


def test_killed_and_started_again_elsewhere(journey: Journey, tmp_path: Path) -> None:
    scenario = tiny_scenario(tmp_path, data="other/place")
    home = tmp_path / "another home"
    killed_in_training(home, scenario, random.Random(3).randrange(3, 12))
    builds = home / "builds/three"
    (checkpoint,) = builds.glob("unfinished/train-*/checkpoint.safetensors")
    assert not list(builds.glob("train-*"))
    (builds / ".train-half").mkdir()  # what a kill within the last moment of a stage leaves
    done = len((checkpoint.parent / "log.jsonl").read_text().splitlines())

    said = aimass_json(home, "build", scenario, "--json")
    assert said["reused"] == ["prepare"]
    assert said["digest"] == journey.said["digest"]  # content alone decides, not place or history
    (folder,) = builds.glob("train-*")
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, 46))
    assert 3 <= done < 45
    assert not list((builds / "unfinished").iterdir())
    assert not list(builds.glob(".*-*"))
