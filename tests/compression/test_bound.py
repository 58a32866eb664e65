"""What bounds a graph, measured."""

from pathlib import Path

import pytest

from aimass.compression.bound import LEVELS, bound, loading, peak, profile, speed
from aimass.compression.export import export
from aimass.compression.quantise import dynamic, stored
from aimass.evaluation.cost import multiply_adds
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bound") / "float.onnx"
    export(SpeechModel(ModelSpec("recurrent", "classify", 40, 9, channels=32)).eval(), path)
    stored(path, path.with_name("stored.onnx"))
    dynamic(path, path.with_name("dynamic.onnx"))
    return path


def test_nothing_runs_above_the_peak(graph: Path) -> None:
    assert peak("float") > 1e8
    assert peak("int8") > 1e8
    for batch, frames in ((1, 32), (4, 64)):
        found = bound(graph, batch, frames, runs=5)
        assert 0 < found.share < 1
        assert found.operations == pytest.approx(found.share * peak())
        made = 2 * batch * multiply_adds(graph, frames) / found.seconds
        assert found.operations == pytest.approx(made)
        assert found.to_dict()["batch"] == batch


@pytest.mark.parametrize("kind", ["stored", "dynamic"])
def test_int8_has_the_same_arithmetic(graph: Path, kind: str) -> None:
    assert multiply_adds(graph.with_name(f"{kind}.onnx"), 32) == multiply_adds(graph, 32)


def test_the_profile_is_whole_and_in_order(graph: Path) -> None:
    shares = profile(graph, 2, 32, runs=5)
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert {"GRU", "Conv", "LayerNormalization"} <= shares.keys()


def test_every_level_loads(graph: Path) -> None:
    assert all(loading(graph, level, runs=1) > 0 for level in LEVELS)
    assert speed(graph, 1, 32, runs=3) > 0
