"""`aimass ensemble`: plans in files, and massive models of models that are there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from aimass.base.settings import Settings
from aimass.data.corpus import read as read_corpus
from aimass.evaluation.scorecard import Scored, score
from aimass.lifecycle.gather import Data, published
from aimass.lifecycle.scenario import read
from aimass.registry import bundle as bundles
from aimass.registry.store import Registry
from aimass.runtime.load import shipped
from data.folders import digits_folder

from .conftest import Command, Said


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "here/x.yaml"
    path.parent.mkdir()
    path.write_text("name: x\ntask: classify\ndata: {train: words}\naugment: {noise: hum}\n")
    return path


@pytest.fixture
def words(tmp_path: Path) -> Path:
    return digits_folder(tmp_path / "words", ["zero", "one"])


@pytest.fixture
def twice(home: Path) -> Registry:
    """The model that ships, registered in two versions under two names."""
    registry = Registry(home)
    for name in ("one", "other"):
        folder = home.parent / name
        shutil.copytree(shipped()["digits"], folder)
        text = (folder / bundles.MANIFEST).read_text()
        (folder / bundles.MANIFEST).write_text(text.replace('name = "digits"', f'name = "{name}"'))
        registry.publish(bundles.load(folder))
    return registry


def told(said: Said) -> Any:
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_a_plan_is_written_to_be_edited(aimass: Command, scenario: Path) -> None:
    said = aimass("ensemble", "grow", scenario, "--members", 4)
    assert said.code == 0 and "recurrent-long" in said.out and "90% by speaker" in said.out
    grown = scenario.with_name("x.grown.yaml")
    assert f"aimass build {grown}" in said.out
    text = grown.read_text()
    assert text.startswith("# x.yaml with its 4 members spelled out.")
    assert len(yaml.safe_load(text)["members"]) == 4
    numbered = scenario.with_name("n.yaml")
    numbered.write_text(scenario.read_text() + "members: 4\n")
    assert read(grown) == read(numbered)  # a build of the number makes the same plan
    again = told(
        aimass("ensemble", "grow", numbered, "--output", grown.with_name("o.yaml"), "--json")
    )
    assert [one["name"] for one in again["members"]] == [
        one["name"] for one in yaml.safe_load(text)["members"]
    ]


def test_changes_are_not_lost(aimass: Command, scenario: Path) -> None:
    assert aimass("ensemble", "grow", scenario).code == 0
    grown = scenario.with_name("x.grown.yaml")
    assert aimass("ensemble", "grow", scenario).code == 0  # the same content
    grown.write_text(grown.read_text().replace("attention", "conv"))
    edited = grown.read_text()
    said = aimass("ensemble", "grow", scenario)
    assert said.code == 2 and "x.grown.yaml is there already" in said.err
    assert grown.read_text() == edited
    said = aimass("ensemble", "grow", grown)
    assert said.code == 4 and "spells its members out already" in said.err


def test_paths_lead_where_they_led(aimass: Command, scenario: Path, tmp_path: Path) -> None:
    target = tmp_path / "there/deep/y.yaml"
    target.parent.mkdir(parents=True)
    assert aimass("ensemble", "grow", scenario, "--output", target).code == 0
    plan = read(target)
    assert plan.data.train.resolve() == tmp_path / "here/words"
    noises = {m.augment.noise.resolve() for m in plan.resolved() if m.augment and m.augment.noise}
    assert noises == {tmp_path / "here/hum"}


def test_a_scenario_that_is_wrong_is_not_grown(aimass: Command, scenario: Path) -> None:
    scenario.write_text(scenario.read_text() + "trianing: {}\n")
    said = aimass("ensemble", "grow", scenario)
    assert said.code == 4 and "Did you mean 'training'?" in said.err
    assert not scenario.with_name("x.grown.yaml").exists()


def test_models_that_are_there_become_one(aimass: Command, twice: Registry, words: Path) -> None:
    methods = ["--method", "geometric", "--method", "vote"]
    made = told(
        aimass("ensemble", "combine", "both", "one", "other", "--data", words, "--split", "train",
               *methods, "--json")
    )  # fmt: skip
    assert [way["name"] for way in made["ways"]] == ["geometric", "vote"]
    assert [row["name"] for row in made["members"]] == ["one", "other"]
    (version,) = twice.versions("both")
    assert version.digest == made["digest"] and "production" in version.aliases
    alone = told(aimass("eval", "--data", words, "--model", "one", "--json"))
    whole = told(aimass("eval", "--data", words, "--model", "both", "--json"))
    assert whole["error_rate"] == alone["error_rate"]  # a copy of a model changes nothing
    assert whole["error_rate"] == made["test"]["error_rate"]

    report = words.parent / "report"
    weighed = told(
        aimass("ensemble", "weigh", "both", "--data", words, "--split", "train", "--report", report,
               "--json")
    )  # fmt: skip
    assert (report / "index.html").is_file()
    assert [row["marginal"] for row in weighed["weighing"]["members"]] == [0.0, 0.0]
    printed = aimass("ensemble", "weigh", "one", "other", "--data", words, "--split", "train")
    assert printed.code == 0 and "the best answer of any member" in printed.out

    pruned = aimass("ensemble", "prune", "both", "--data", words, "--split", "train")
    assert pruned.code == 0 and "both version 2 is published: geometric of 1 members" in pruned.out
    said = aimass("ensemble", "prune", "both", "--data", words, "--budget", 1e-9)
    refused(said, 2, "a budget of 1e-09 rtf")


def test_what_is_measured_on_is_not_fitted_on(words: Path) -> None:
    sets = Data(words).sets()  # no dev split
    assert {clip.id for clip in sets["dev"].clips}.isdisjoint(c.id for c in sets["test"].clips)
    assert len(sets["dev"].clips) + len(sets["test"].clips) == len(read_corpus(words).clips)
    assert list(Data(words, split="test").sets()) == ["dev"]


def test_what_serves_stays_where_the_new_model_is_worse(
    home: Path, twice: Registry, words: Path
) -> None:
    serving, new = (bundles.load(home.parent / name) for name in ("one", "other"))
    text = (new.folder / bundles.MANIFEST).read_text()
    text = text.replace('name = "other"', 'name = "one"').replace(
        "[licences]", "[licences]\nmore = '0'"
    )
    (new.folder / bundles.MANIFEST).write_text(text)
    new, config = bundles.load(new.folder), Settings(home=home)
    assert new.digest != serving.digest
    sets = {"dev": read_corpus(words).split("test").whole()}
    wrong = [Scored(clip.id, clip.speaker, clip.text, "nine") for clip in sets["dev"].clips]
    right = [replace(one, hypothesis=one.reference) for one in wrong]
    assert published(new, {"dev": score(wrong, "wer")}, sets, config).aliases == ("candidate",)
    found = twice.resolve("one", "production")
    assert found is not None and found.digest == serving.digest
    aliases = published(new, {"dev": score(right, "wer")}, sets, config).aliases
    assert aliases == ("candidate", "production")


def refused(said: Said, code: int, *words: str) -> None:
    assert said.code == code
    for word in words:
        assert word in said.err, said.err


def test_what_does_not_go_together(aimass: Command, home: Path, words: Path) -> None:
    data = ["--data", words, "--split", "train"]
    refused(aimass("ensemble", "combine", "a b", "digits", *data), 2, "'a b' as the name")
    refused(aimass("ensemble", "combine", "x", "digits", "none", *data), 5, "no model 'none'")
    refused(aimass("ensemble", "combine", "x", "digits", *data), 2, "two models or more")
    refused(aimass("ensemble", "prune", "digits", *data), 2, "'digits', a single model")
    refused(
        aimass("ensemble", "combine", "x", "digits", "digits", *data, "--method", "magic"),
        2,
        "one of",
    )
    refused(aimass("ensemble", "soup", "x", "digits", "none", *data), 5, "no model 'none'")
    refused(aimass("ensemble", "soup", "x", "digits", "digits", *data), 2, "no weights to average")
