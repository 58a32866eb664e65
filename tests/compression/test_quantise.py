"""Int8 graphs: small, close, and where they are static, free of their neighbours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from aimass.base.errors import TrainingError
from aimass.compression.export import INPUTS, export
from aimass.compression.quantise import (
    CALIBRATION_FRAMES,
    METHODS,
    WINDOWS,
    Method,
    dynamic,
    fed,
    static,
    stored,
    windows_of,
)
from aimass.models.model import SpeechModel
from aimass.models.spec import Family, ModelSpec, Subsampling
from models.shapes import model_of

from .speech import clips

COLUMNS = 40
KINDS: dict[str, Callable[[Path, Path], None]] = {
    "stored": stored,
    "dynamic": dynamic,
    "static": lambda source, target: static(source, target, clips(COLUMNS)),
}
Array = npt.NDArray[np.float32]


def spec_of(family: Family) -> ModelSpec:
    subsampling: Subsampling = "conv" if family == "conv" else "stack"
    return ModelSpec(
        family, "ctc", COLUMNS, 11, channels=64, blocks=1, subsampling=subsampling, floor=-6.5
    )


@pytest.fixture(scope="module", params=["conv", "recurrent", "attention"])
def graphs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    export(SpeechModel(spec_of(request.param)).eval(), folder / "float.onnx", clips(COLUMNS))
    for name, quantise in KINDS.items():
        quantise(folder / "float.onnx", folder / f"{name}.onnx")
    return folder


def run(path: Path, features: Array) -> Array:
    """Rows of streams ``(batch, frames, columns)`` from their beginning."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, fed(session.get_inputs(), features.transpose(0, 2, 1)))[0])


def streams(count: int, frames: int = 96) -> Array:
    sound = np.concatenate(clips(COLUMNS))
    return np.stack([sound[n * frames : (n + 1) * frames] for n in range(count)])


@pytest.mark.parametrize("kind", KINDS)
def test_less_than_a_third_and_close(graphs: Path, kind: str) -> None:
    sizes = [(graphs / f"{name}.onnx").stat().st_size for name in (kind, "float")]
    assert sizes[0] < 0.36 * sizes[1]  # 0.3 from 200 thousand parameters on
    sound = streams(3)
    one, other = (np.exp(run(graphs / f"{name}.onnx", sound)) for name in (kind, "float"))
    assert 0 < np.abs(one - other).max() < 0.1
    assert np.abs(one - other).mean() < 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_every_large_weight_is_int8(graphs: Path, kind: str) -> None:
    graph = onnx.load(graphs / f"{kind}.onnx").graph
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        assert values.dtype != np.float32 or values.size < 1000, tensor.name
    kinds = {node.op_type for node in graph.node}
    assert ("MatMulInteger" in kinds) == (kind == "dynamic")
    assert ("QuantizeLinear" in kinds) == (kind == "static")
    assert not kinds & {"ConvInteger", "QLinearConv"}


def test_stored_weights_are_half_a_step_away_at_most(graphs: Path) -> None:
    found = onnx.load(graphs / "stored.onnx").graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in found.initializer}
    given_ = [numpy_helper.to_array(t) for t in onnx.load(graphs / "float.onnx").graph.initializer]
    products = [node for node in found.node if node.op_type == "Mul" and node.input[1] in tensors]
    casts = {node.output[0]: node.input[0] for node in found.node if node.op_type == "Cast"}
    checked = 0
    for node in products:
        if node.input[0] not in casts or casts[node.input[0]] not in tensors:
            continue
        scale = tensors[node.input[1]]
        weights = tensors[casts[node.input[0]]] * scale
        alike = [one for one in given_ if one.shape == weights.shape]
        nearest = min(np.abs(weights - one).max() / scale.max() for one in alike)
        assert nearest <= 0.5 + 1e-4
        checked += 1
    assert checked >= 4


@settings(
    deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(1, 23), rows=st.permutations(range(4)))
def test_static_streams_do_not_feel_each_other(graphs: Path, cut: int, rows: list[int]) -> None:
    session = onnxruntime.InferenceSession(
        graphs / "static.onnx", providers=["CPUExecutionProvider"]
    )
    sound = streams(4)
    alone = [run(graphs / "static.onnx", sound[n : n + 1])[0] for n in range(4)]
    state: list[Array] = []
    found = []
    for chunk in np.split(sound[rows], [4 * cut], axis=1):
        given_ = fed(session.get_inputs(), chunk.transpose(0, 2, 1))
        given_ |= dict(zip(INPUTS[2:], state, strict=False))
        log_probs, _, *state = session.run(None, given_)
        found.append(log_probs)
    together = np.concatenate(found, axis=1)
    for place, n in enumerate(rows):
        # A value on the edge between two steps may fall to either side.
        assert np.abs(np.exp(together[place]) - np.exp(alone[n])).mean() < 2e-3


def test_dynamic_streams_do(graphs: Path) -> None:
    sound = streams(2)
    loud = np.concatenate([sound[:1], sound[1:] + 30])
    alone = run(graphs / "dynamic.onnx", sound[:1])[0]
    both = run(graphs / "dynamic.onnx", loud)[0]
    still = run(graphs / "static.onnx", loud)[0] - run(graphs / "static.onnx", sound[:1])[0]
    assert np.abs(both - alone).mean() > np.abs(still).mean()


@pytest.mark.parametrize("method", METHODS)
def test_each_way_to_calibrate(graphs: Path, tmp_path: Path, method: Method) -> None:
    for name in ("one", "two"):
        static(graphs / "float.onnx", tmp_path / name, clips(COLUMNS), method)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    sound = streams(2)
    one, other = (np.exp(run(path, sound)) for path in (tmp_path / "one", graphs / "float.onnx"))
    assert np.abs(one - other).mean() < 0.01


def test_learned_spans_are_taken(tmp_path: Path) -> None:
    spec = spec_of("conv")
    export(model_of(spec), tmp_path / "float.onnx")
    span = (-1.0, 3.0)
    static(tmp_path / "float.onnx", tmp_path / "static.onnx", clips(COLUMNS), ranges={
        "encoder.layers.0.expand": span})  # fmt: skip
    scales = {
        round(float(numpy_helper.to_array(t)), 6)
        for t in onnx.load(tmp_path / "static.onnx").graph.initializer
        if not t.dims and t.data_type == onnx.TensorProto.FLOAT
    }
    assert round((span[1] - span[0]) / 255, 6) in scales


@pytest.mark.parametrize("given_", [(), (np.zeros((CALIBRATION_FRAMES - 1, COLUMNS), np.float32),)])
def test_too_little_sound_is_refused(graphs: Path, tmp_path: Path, given_: tuple[Array]) -> None:
    with pytest.raises(TrainingError, match="frames to calibrate with"):
        static(graphs / "float.onnx", tmp_path / "out.onnx", given_)


@given(lengths=st.lists(st.integers(0, 3000), max_size=30))
@settings(deadline=None, max_examples=30)
def test_windows_are_equal_and_few(lengths: list[int]) -> None:
    found = windows_of([np.zeros((length, 2), np.float32) for length in lengths])
    assert len(found) <= WINDOWS
    assert {len(window) for window in found} <= {CALIBRATION_FRAMES}
    assert bool(found) == (sum(lengths) >= CALIBRATION_FRAMES)
