"""The mean of the weights of models of one shape, from the command line."""

from pathlib import Path

from aimass.registry import bundle as bundles

from .conftest import Journey
from .folders import aimass, aimass_json


def test_a_model_and_itself_are_itself(journey: Journey) -> None:
    data = journey.scenario.parent / "words"
    names = ["three@1", "three@1"]
    arguments: list[str | Path] = [
        "ensemble",
        "soup",
        "mean",
        *names,
        "--data",
        data,
        "--split",
        "train",
    ]
    made = aimass_json(journey.home, *arguments)
    assert made["ingredients"] == ["three", "three-2"]
    assert made["test"]["error_rate"] == journey.said["scorecard"]["error_rate"]
    old, new = (bundles.load(Path(said["folder"])).manifest for said in (journey.said, made))
    assert (new.features, new.parameters, new.task) == (old.features, old.parameters, old.task)
    assert list(new.lineage["soup"]) == made["ingredients"]
    assert "mean@1 is whole" in aimass(journey.home, "models", "verify", "mean")
    assert aimass_json(journey.home, *arguments)["digest"] == made["digest"]
