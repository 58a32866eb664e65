"""A build of several members: the massive model, with models of others in it, from end to end."""

import json
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aimass.lifecycle.build import build
from aimass.registry import bundle as bundles

from .folders import AIMASS, aimass, aimass_json, config, environment, log_of, tiny_scenario
from .test_members import until

SMALL = {"parameters": 30000, "subsampling": "stack"}
SECTIONS: dict[str, Any] = {
    "training": {"epochs": 4, "batch_size": 8, "learning_rate": 0.008, "cycles": 2},
    "members": [
        {"name": "words", **SMALL},
        {"name": "letters", **SMALL, "family": "recurrent", "tokens": {"kind": "characters"}},
        {"name": "ten", "engine": "digits"},
    ],
}
"""Two members of different tokens, of two snapshots each, beside the model that ships."""


@dataclass(frozen=True)
class Massive:
    """A home after the build, and what the build said."""

    home: Path
    scenario: Path
    said: dict[str, Any]

    @property
    def builds(self) -> Path:
        return self.home / "builds/three"


@pytest.fixture(scope="module")
def massive(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Massive:
    folder = tmp_path_factory.mktemp("massive")
    scenario = tiny_scenario(folder, **SECTIONS)
    (folder / "home").mkdir()
    shutil.copy(tables, folder / "home")
    said = aimass_json(folder / "home", "build", scenario)
    return Massive(folder / "home", scenario, said)


def test_the_massive_model_is_published(massive: Massive) -> None:
    said = massive.said
    assert said["selected"] == "massive" and said["failed"] == []
    assert list(said["members"]) == ["words-cycle1", "words", "letters-cycle1", "letters", "ten"]
    lowest = min(cards["dev"]["error_rate"] for cards in said["members"].values())
    # Those of our own learned next to nothing; the model that ships was trained for it.
    assert lowest == said["members"]["ten"]["dev"]["error_rate"]
    assert said["members"][said["member"]]["dev"]["error_rate"] > said["massive"]["dev_error_rate"]
    bundle = bundles.load(Path(said["folder"]))
    assert bundle.digest == said["digest"] and bundle.massive is not None
    names = [member.name for member in bundle.massive.members]
    assert names == [member["name"] for member in said["massive"]["members"]]
    assert "ten" in names
    assert said["scorecard"]["error_rate"] == said["massive"]["test"]["error_rate"]
    for page in said["reports"].values():
        assert (Path(page) / "index.html").is_file()
    text = (Path(said["folder"]) / bundles.MANIFEST).read_text()
    assert str(massive.home.parent) not in text


def test_other_tokens_can_only_vote(massive: Massive) -> None:
    (ways,) = (json.loads(path.read_text()) for path in massive.builds.glob("choose-*/ways.json"))
    names = {way["name"] for way in ways}
    assert {"geometric", "arithmetic", "vote", "mbr", "choose"} <= names
    heard = {way["name"]: sum(w > 0 for w in way["combination"]["weights"]) for way in ways}
    assert heard["geometric"] <= 2 and heard["arithmetic"] <= 2  # those of one token set
    assert [way["error_rate"] for way in ways] == sorted(way["error_rate"] for way in ways)


def test_it_serves_as_any_other_model(massive: Massive) -> None:
    clips = sorted((massive.scenario.parent / "words/audio").glob("6_*_0.flac"))
    said = aimass(massive.home, "transcribe", *clips, "--model", "three").splitlines()
    assert len(said) == len(clips)
    data = massive.scenario.parent / "words"
    card = aimass_json(massive.home, "eval", "--data", data, "--model", "three", "--members")
    assert card["error_rate"] == massive.said["scorecard"]["error_rate"]
    kept = [member["name"] for member in massive.said["massive"]["members"]]
    assert [member["name"] for member in card["members"]] == kept
    assert "is whole" in aimass(massive.home, "models", "verify", "three")


def test_every_stage_resumes_to_the_same_model(massive: Massive) -> None:
    made = {path.name for path in massive.builds.iterdir()}
    hears = [path for path in sorted(made) if path.startswith("hear-")]
    assert len(hears) == 2 * len(massive.said["members"])
    for name in [*hears[:3], *(n for n in made if n.startswith(("choose-", "massive-")))]:
        shutil.rmtree(massive.builds / name)
    said = aimass_json(massive.home, "build", massive.scenario)
    assert said["digest"] == massive.said["digest"] and said["version"] == 1
    assert {path.name for path in massive.builds.iterdir()} == made
    assert said["reused"] == ["prepare", "train", "export", "pack", "hear", "dial"]


def test_a_page_for_people(massive: Massive) -> None:
    printed = aimass(massive.home, "build", massive.scenario)
    assert "massive *" in printed and "letters-cycle1" in printed
    assert f"of {len(massive.said['massive']['members'])} members" in printed


def test_killed_between_members_and_resumed(tables: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(tables, home)
    late = {"name": "late", **SMALL, "training": {"epochs": 60, "batch_size": 16}}
    scenario = tiny_scenario(tmp_path, members=[{"name": "early", **SMALL}, late])
    builds = home / "builds/three"
    with subprocess.Popen(
        [*AIMASS, "build", str(scenario)],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        until(lambda: list(builds.glob("train-*")) and _epochs(builds) >= 3)
        child.send_signal(signal.SIGKILL)
    (early,) = builds.glob("train-*")
    made, done = early.stat().st_mtime_ns, _epochs(builds)
    assert 3 <= done < 60
    built = build(scenario, config=config(home))
    assert built.reused == ("prepare",) and not built.failed
    assert early.stat().st_mtime_ns == made
    (folder,) = set(builds.glob("train-*")) - {early}
    assert [row["epoch"] for row in log_of(folder)] == list(range(1, 61))
    assert built.massive is not None and set(built.members) == {"early", "late"}


def _epochs(builds: Path) -> int:
    logs = list(builds.glob("unfinished/train-*/log.jsonl"))
    return max((len(log.read_text().splitlines()) for log in logs), default=0)


def test_models_that_are_there_already_are_members_enough(home: Path, tmp_path: Path) -> None:
    members = [{"engine": "digits"}, {"name": "again", "engine": "digits"}]
    built = build(tiny_scenario(tmp_path, members=members), config=config(home))
    assert built.member is None and built.massive is not None
    assert built.massive.error_rate == built.members["again"]["dev"].error_rate
    assert built.bundle.massive is not None and not built.failed
