"""What recognition costs: time, memory, and the arithmetic of a graph."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aimass.base.errors import BundleError, MissingExtra

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Cost:
    """What recognition took, where it was measured.

    Args:
        audio_seconds: sound recognised.
        compute_seconds: wall time spent on it.
        peak_memory_mb: largest resident size of the process, megabytes.
        rtf_median, rtf_p95: real-time factor of single utterances.
        multiply_adds: for one second of sound.
    """

    audio_seconds: float | None = None
    compute_seconds: float | None = None
    peak_memory_mb: float | None = None
    rtf_median: float | None = None
    rtf_p95: float | None = None
    multiply_adds: int | None = None

    @property
    def rtf(self) -> float | None:
        """Real-time factor: seconds of work for one second of sound."""
        if not self.audio_seconds or self.compute_seconds is None:
            return None
        return self.compute_seconds / self.audio_seconds


def measured(
    audio: Sequence[float], work: Sequence[float], peak_memory_mb: float, adds: int | None = None
) -> Cost:
    """The cost of a set from the seconds of sound and of work of each of its utterances."""
    factors = [spent / heard for heard, spent in zip(audio, work, strict=True) if heard > 0]
    median, p95 = np.quantile(factors, [0.5, 0.95]).tolist() if factors else (None, None)
    return Cost(sum(audio), sum(work), peak_memory_mb, median, p95, adds)


def multiply_adds(path: Path, frames: int = 100, sizes: Mapping[str, int] | None = None) -> int:
    """Multiply-add operations of one run of an ONNX graph, for a batch of one.

    Counted are the products of matrices, convolutions and recurrences, which are nearly all the
    arithmetic of our models; attention is made of products of matrices. With the `frames` of one
    second this is the cost of a second of sound.

    Args:
        frames: the size of every open dimension that is not the batch.
        sizes: the sizes of open dimensions by name, where they differ from that.

    Raises:
        MissingExtra: without onnx, which comes with the extra ``train``.
        BundleError: no graph, a loop, or shapes that depend on values.
    """
    onnx = _onnx()
    try:
        model = onnx.load(path, load_external_data=False)
        _close(model.graph, frames, sizes or {})
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # onnx raises many kinds; all mean the same here
        raise _uncounted(path, str(error)) from error
    try:
        return _graph(model.graph, {})
    except KeyError as error:
        raise _uncounted(path, f"the shape of {error} is open") from error


def second_of_sound(path: Path, frame_shift_ms: float, stack: int) -> int:
    """Multiply-adds for one second of sound, of a graph that takes any multiple of `stack` frames.

    Raises:
        MissingExtra, BundleError: as `multiply_adds`.
    """
    second = 1000 / frame_shift_ms
    frames = stack * math.ceil(second / stack)
    return round(multiply_adds(path, frames) * second / frames)


def _onnx() -> Any:
    try:
        import onnx
        import onnx.shape_inference
    except ImportError as error:
        raise MissingExtra(
            "the part that reads graphs is not installed",
            expected="onnx",
            fix="Type: pip install 'aimass[train]'",
        ) from error
    return onnx


def _close(graph: Any, frames: int, sizes: Mapping[str, int]) -> None:
    """Give every open dimension of the inputs a size; outputs follow from them."""
    for given in graph.input:
        for place, dim in enumerate(given.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                one = place == 0 or "batch" in dim.dim_param
                dim.dim_value = sizes.get(dim.dim_param, 1 if one else frames)
    for outcome in graph.output:
        outcome.type.tensor_type.ClearField("shape")
    del graph.value_info[:]  # shapes from before may name the old dimensions


def _graph(graph: Any, outside: Shapes) -> int:
    shapes = {**outside, **_shapes(graph)}
    total = 0
    for node in graph.node:
        if node.op_type in ("Loop", "Scan"):
            raise KeyError(f"the rounds of {node.name or node.op_type}")
        branches = [a.g for a in node.attribute if a.HasField("g")]
        if branches:  # of an If; only one of them runs
            total += max(_graph(branch, shapes) for branch in branches)
        elif node.op_type in _COUNTS:
            total += _COUNTS[node.op_type](node, shapes)
    return total


def _shapes(graph: Any) -> dict[str, Shape]:
    found: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        closed = all(dim.HasField("dim_value") for dim in kind.shape.dim)
        if kind.HasField("shape") and closed:
            found[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = tuple(attribute.t.dims)
    return found


def _matmul(node: Any, shapes: Shapes) -> int:
    """Each output element is a sum over the last dimension of the left factor."""
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm(node: Any, shapes: Shapes) -> int:
    turned = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-2 if turned else -1]


def _conv(node: Any, shapes: Shapes) -> int:
    """Each output element is a sum over one filter: ``(outputs, inputs / groups, *kernel)``."""
    return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])


def _conv_transpose(node: Any, shapes: Shapes) -> int:
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _recurrence(node: Any, shapes: Shapes) -> int:
    """Input weights ``(directions, gates * hidden, inputs)`` and recurrent ones, at every step."""
    steps_and_batch = math.prod(shapes[node.input[0]][:2])
    return steps_and_batch * sum(math.prod(shapes[name]) for name in node.input[1:3])


_COUNTS: dict[str, Callable[[Any, Shapes], int]] = {
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "GRU": _recurrence,
    "LSTM": _recurrence,
    "RNN": _recurrence,
    "DynamicQuantizeLSTM": _recurrence,
}


def _uncounted(path: Path, why: str) -> BundleError:
    return BundleError(
        f"the arithmetic of {path} cannot be counted: {why}",
        expected="an ONNX graph whose shapes follow from those of its inputs",
        fix="Export it again with fixed shapes and without loops",
    )
