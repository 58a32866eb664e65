"""Arithmetic counted by hand, and times."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aimass.base.errors import BundleError
from aimass.evaluation.cost import measured, multiply_adds, second_of_sound

DIGITS = Path(__file__).parents[2] / "src/aimass/bundles/digits/model.onnx"
Shape = Sequence[int | str]


def graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    weights: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, list[int]] | None = None,
) -> Path:
    """A graph of nodes whose last output is ``y``."""
    whole = {name: np.array(value, np.int64) for name, value in (constants or {}).items()}
    arrays = {name: np.zeros(shape, np.float32) for name, shape in weights.items()}
    body = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in (arrays | whole).items()],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, path)
    return path


def test_the_shipped_digits_model() -> None:
    # 100 frames of 40 bins, stacked by 4: 25 steps. Stem 160 x 112; five blocks of a depthwise
    # convolution over 9 steps and two products 112 x 224; head 112 x 11.
    by_hand = 25 * (160 * 112 + 5 * (112 * 9 + 2 * 112 * 224) + 112 * 11)
    assert by_hand == 6_876_800
    assert multiply_adds(DIGITS) == by_hand
    assert second_of_sound(DIGITS, frame_shift_ms=10, stack=4) == by_hand
    assert multiply_adds(DIGITS, 200) == 2 * by_hand
    assert multiply_adds(DIGITS, sizes={"batch": 3}) == 3 * by_hand
    # A second of 12.5 ms frames is 80: the same steps for each frame.
    assert second_of_sound(DIGITS, frame_shift_ms=12.5, stack=4) == by_hand * 80 // 100
    assert second_of_sound(DIGITS, frame_shift_ms=10, stack=16) == pytest.approx(by_hand, rel=0.01)


def test_convolutions(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], group=2, strides=[2], pads=[1, 1]),
        helper.make_node("ConvTranspose", ["h", "v"], ["y"], strides=[2]),
    ]
    path = graph(
        tmp_path / "a.onnx", nodes, {"x": ["batch", 8, "t"]}, {"w": (6, 4, 3), "v": (6, 5, 2)}
    )
    # 50 outputs of 6 channels, each over 4 inputs and 3 taps; then 50 x 6 inputs into 5 x 2.
    assert multiply_adds(path) == 50 * 6 * 4 * 3 + 50 * 6 * 5 * 2


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("LSTM", 4), ("RNN", 1)])
def test_recurrences(tmp_path: Path, kind: str, gates: int) -> None:
    node = helper.make_node(kind, ["x", "w", "r"], ["y"], hidden_size=5, direction="bidirectional")
    path = graph(
        tmp_path / "a.onnx",
        [node],
        {"x": ["t", 1, 7]},
        {"w": (2, 5 * gates, 7), "r": (2, 5 * gates, 5)},
    )
    assert multiply_adds(path, sizes={"t": 100}) == 100 * 2 * gates * 5 * (7 + 5)


def test_attention_with_heads_folded_at_run_time(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"]),
        helper.make_node("Shape", ["q"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["frames"]),
        helper.make_node("Concat", ["first", "frames", "heads"], ["folded"], axis=0),
        helper.make_node("Reshape", ["q", "folded"], ["q4"]),
        helper.make_node("Transpose", ["q4"], ["a"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["q4"], ["b"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["a", "b"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["shares"]),
        helper.make_node("MatMul", ["shares", "a"], ["y"]),
    ]
    path = graph(
        tmp_path / "a.onnx",
        nodes,
        {"x": ["batch", "frames", 6]},
        {"wq": (6, 8)},
        {"one": [1], "first": [1], "heads": [2, 4]},
    )
    assert multiply_adds(path, 10) == 10 * 6 * 8 + 2 * (2 * 10 * 10 * 4)


def test_products_of_a_turned_matrix(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["x", "w"], ["y"], transA=1, transB=1)
    path = graph(tmp_path / "a.onnx", [node], {"x": [3, 10]}, {"w": (4, 3)})
    assert multiply_adds(path) == 10 * 3 * 4


def test_one_branch_of_two_runs(tmp_path: Path) -> None:
    def branch(weight: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
        node = helper.make_node("MatMul", ["x", weight], ["o"])
        return helper.make_graph([node], weight, [], [out])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["yes"], to=TensorProto.BOOL),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch("w"), else_branch=branch("v")),
    ]
    path = graph(tmp_path / "a.onnx", nodes, {"x": [2, 3]}, {"w": (3, 4), "v": (3, 9)})
    assert multiply_adds(path) == 2 * 3 * 9


def test_what_cannot_be_counted(tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(BundleError, match="cannot be counted"):
        multiply_adds(tmp_path / "junk.onnx")
    with pytest.raises(BundleError, match="cannot be counted"):
        multiply_adds(tmp_path / "gone.onnx")
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Cast", ["places"], ["p"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["p"], ["q"]),
        helper.make_node("MatMul", ["p", "q"], ["y"]),
    ]
    path = graph(tmp_path / "a.onnx", nodes, {"x": [4, 4]}, {})
    with pytest.raises(BundleError, match="is open"):
        multiply_adds(path)


def test_times() -> None:
    cost = measured([1.0] * 19 + [2.0], [0.1] * 19 + [1.0], 50.0, 7)
    assert cost.audio_seconds == 21
    assert cost.rtf == pytest.approx(2.9 / 21)
    assert cost.rtf_median == pytest.approx(0.1)
    assert cost.rtf_p95 == pytest.approx(0.1 + 0.05 * 0.4)  # between the 19th and the 20th
    assert (cost.peak_memory_mb, cost.multiply_adds) == (50, 7)
    empty = measured([], [], 50.0)
    assert (empty.rtf, empty.rtf_median, empty.rtf_p95) == (None, None, None)
