"""`aimass compress`: a tiny build quantised, pruned and measured."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from aimass.base.errors import RequestError
from aimass.compression.choose import LOSS
from aimass.lifecycle.compress import bound
from aimass.registry import bundle as bundles
from aimass.registry.store import Registry
from aimass.runtime.bundled import BundleEngine
from lifecycle.folders import aimass, aimass_json, command, tiny_scenario


@dataclass(frozen=True)
class Built:
    home: Path
    scenario: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("compress")
    scenario = tiny_scenario(folder)
    aimass_json(folder / "home", "build", scenario)
    return Built(folder / "home", scenario)


def test_quantize_publishes_what_was_measured(built: Built) -> None:
    said = aimass_json(
        built.home, "compress", "quantize", built.scenario, "--epochs", "1", "--kilobytes", "80"
    )
    by_name = {one["name"]: one for one in said["candidates"]}
    kinds = {"float", "stored", "dynamic", "aware"}
    assert by_name.keys() == kinds | {f"static-{m}" for m in ("minmax", "percentile", "entropy")}
    chosen = by_name[said["chosen"]["name"]]
    assert chosen["bytes"] <= 80_000
    assert "80000 bytes" in said["chosen"]["reason"]
    assert chosen["error"] <= by_name["float"]["error"] + LOSS
    assert all(by_name[name]["bytes"] < by_name["float"]["bytes"] / 2 for name in by_name.keys()
               - {"float"})  # fmt: skip
    published = Registry(built.home).resolve("three", "quantized")
    assert published is not None
    bundle = bundles.load(published.folder)
    assert bundle.manifest.lineage["quantised"] == said["chosen"]["name"]
    assert bundle.graph.stat().st_size == chosen["bytes"]
    BundleEngine(bundle)  # the golden input gives the golden output


def test_prune_trains_what_is_left(built: Built) -> None:
    said = aimass_json(
        built.home, "compress", "prune", built.scenario, "--parameters", "16000", "--epochs", "1"
    )
    before, after = said["parameters"]
    assert after <= 16_000 < before
    published = Registry(built.home).resolve("three", "pruned")
    assert published is not None
    bundle = bundles.load(published.folder)
    assert bundle.manifest.parameters == after
    assert bundle.manifest.lineage["model"]["channels"] < 40
    again = aimass(
        built.home, "compress", "prune", built.scenario, "--parameters", "16000", "--epochs", "1"
    )
    assert said["model"] in again  # nothing is trained twice


def test_an_unknown_member_is_refused(built: Built) -> None:
    code, _ = command(built.home, "compress", "prune", built.scenario, "--parameters", "16000",
                      "--member", "nobody")  # fmt: skip
    assert code == 2


def test_bound_needs_a_graph(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no graph of its own"):
        bound(str(tmp_path / "none.onnx"))


def test_bound_tells_how_near_the_peak(built: Built) -> None:
    said = aimass(built.home, "compress", "bound", "three", "--batch", "1", "--frames", "32")
    assert "of the peak" in said
    assert "At batch 1: " in said
