"""Rewritten graphs say what they said before."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from aimass.compression.export import trace
from aimass.compression.graphs import faster, smaller
from aimass.compression.quantise import fed
from aimass.models.spec import ModelSpec
from models.shapes import SPECS, model_of, named

from .speech import clips

FLOORED = ModelSpec("conv", "ctc", 20, 7, channels=16, blocks=2, dilations=(1, 4), floor=-6.5)


OPSET = [helper.make_opsetid("", 17)]


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def ran(path: Path, columns: int) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = clips(columns)[3]
    whole = frames[: len(frames) - len(frames) % 16]
    return np.asarray(session.run(None, fed(session.get_inputs(), whole.T[None]))[0])


@pytest.mark.parametrize(
    "spec", [*SPECS[::2], FLOORED], ids=lambda spec: f"{named(spec)}-{spec.floor}"
)
def test_the_same_outputs(tmp_path: Path, spec: ModelSpec) -> None:
    path = tmp_path / "graph.onnx"
    trace(model_of(spec), path)
    before = ran(path, spec.columns)
    faster(path)
    assert np.abs(ran(path, spec.columns) - before).max() < 1e-4
    smaller(path)
    assert np.abs(ran(path, spec.columns) - before).max() < 1e-4
    onnx.checker.check_model(onnx.load(path))


def test_what_is_slow_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    trace(model_of(FLOORED), path)
    assert "Softplus" in operators(path)
    faster(path)
    assert "Softplus" not in operators(path)
    shapes = {tensor.name: list(tensor.dims) for tensor in onnx.load(path).graph.initializer}
    weights = [n.input[1] for n in onnx.load(path).graph.node if n.op_type == "Conv"]
    assert [shapes[name] for name in weights] == [[16, 1, 1, 9]] * 2


def test_small_files_hold_no_names(tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    trace(model_of(FLOORED), path)
    size = path.stat().st_size
    smaller(path)
    graph = onnx.load(path).graph
    assert path.stat().st_size < size - 5000
    assert {node.name for node in graph.node} == {""}
    assert max(len(tensor.name) for tensor in graph.initializer) <= 3
    assert [one.name for one in graph.input][:2] == ["features", "length"]


@pytest.fixture(scope="module")
def softplus(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path = tmp_path_factory.mktemp("plus") / "graph.onnx"
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in "xy"]
    node = helper.make_node("Softplus", ["x"], ["y"])
    graph = helper.make_graph([node], "plus", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=OPSET, ir_version=8), path)
    faster(path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@settings(deadline=None)
@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-40, 40, width=32), min_size=1)
)
def test_softplus_of_any_number(
    softplus: onnxruntime.InferenceSession, values: list[float]
) -> None:
    x = np.array(values, np.float32)
    (found,) = softplus.run(None, {"x": x})
    wanted = np.logaddexp(0, x.astype(np.float64))
    assert np.abs(found - wanted).max() <= 2e-7 * max(1, np.abs(wanted).max())
