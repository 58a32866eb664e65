"""Int8 copies of a graph: smaller always, faster where the machine and the model allow.

=============  ==========================================================================
``stored``     weights in int8, arithmetic in float: the speed of float
``dynamic``    products of matrices in int8, activations scaled as they come
``static``     the same, activations scaled by what calibration saw
=============  ==========================================================================

Every kind stores all weights in int8, one scale for each output channel (Jacob et al. 2018,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference").
What the dynamic kind gives for one stream depends a little on the others in its batch and on the
chunk, which share a scale; the static kind has no such ties.

Convolutions and recurrences compute in float in all of them: ONNX Runtime has no int8 GRU, and
its int8 convolutions are slower and less exact than its float ones on our shapes (LOG.md).
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from aimass.base.errors import TrainingError
from aimass.compression.graphs import smaller
from aimass.features.spec import Frames

Method = Literal["minmax", "percentile", "entropy"]
Ranges = Mapping[str, tuple[float, float]]
"""The lowest and highest input of layers, by the layer's name in torch."""

KINDS = ("stored", "dynamic", "static")
METHODS: dict[Method, CalibrationMethod] = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
CALIBRATION_FRAMES = 128  # in a window: the calibrators want all of one length
WINDOWS = 200  # the most: more changed no range by a tenth
_SMALLEST = 256  # numbers in a tensor that is worth a scale of its own
_PRODUCTS = ("MatMul",)


def stored(source: Path, target: Path) -> None:
    """Write a copy whose weights are int8 on disk and float in memory.

    ONNX Runtime turns them back once, when it loads the graph.
    """
    _finish(onnx.load(source), target)


def dynamic(source: Path, target: Path) -> None:
    """Write a copy that multiplies in int8, with activations scaled at run time."""
    _prepare(source, target)
    quantize_dynamic(
        target,
        target,
        op_types_to_quantize=list(_PRODUCTS),
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    _finish(onnx.load(target), target)


def static(
    source: Path,
    target: Path,
    clips: Sequence[Frames],
    method: Method = "percentile",
    ranges: Ranges | None = None,
) -> None:
    """Write a copy that multiplies in int8, with activations scaled by calibration.

    Args:
        clips: features to calibrate with, each ``(frames, columns)``.
        method: what becomes of the values seen: the whole span, all but the outermost of a
            hundred thousand, or the span that loses least information (Migacz 2017).
        ranges: of layers whose spans were learned (`aimass.compression.aware`); calibration finds
            the others.

    Raises:
        TrainingError: less sound than one window.
    """
    windows = windows_of(clips)
    if not windows:
        raise TrainingError(
            f"{sum(map(len, clips))} frames to calibrate with",
            expected=f"at least {CALIBRATION_FRAMES}",
            fix="Give more clips",
        )
    _prepare(source, target)
    graph = onnx.load(target)
    with _quiet():
        quantize_static(
            target,
            target,
            _Reader(target, windows),
            op_types_to_quantize=list(_PRODUCTS),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[method],
            extra_options={
                "MatMulConstBOnly": True,  # not the products within attention
                "OpTypesToExcludeOutputQuantization": list(_PRODUCTS),
                "TensorQuantOverrides": _overrides(graph, ranges or {}),
            },
        )
    _finish(onnx.load(target), target)


def windows_of(clips: Sequence[Frames]) -> list[Frames]:
    """Calibration windows of equal length cut from all clips in a row, spread over them."""
    if not clips:
        return []
    frames = np.concatenate(clips)
    count = len(frames) // CALIBRATION_FRAMES
    every = max(1, -(-count // WINDOWS))
    size = CALIBRATION_FRAMES
    return [frames[n * size : (n + 1) * size] for n in range(0, count, every)]


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Gives the calibrator window after window, each a stream of its own."""

    def __init__(self, path: Path, windows: Sequence[Frames]) -> None:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._given = session.get_inputs()
        self._windows: Iterator[Frames] = iter(windows)

    def get_next(self) -> dict[str, npt.NDArray[np.generic]] | None:
        """The inputs of the next run; None after the last."""
        window = next(self._windows, None)
        return None if window is None else fed(self._given, window.T[None])


def fed(
    inputs: Sequence[Any], features: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.generic]]:
    """What a graph is given for the first chunk of streams.

    Args:
        inputs: of its session; an input that nothing reads may be missing.
        features: ``(batch, columns, frames)``.
    """
    batch, _, frames = features.shape
    shape = next(tuple(one.shape[1:]) for one in inputs if one.name == "cache_1")
    every: dict[str, npt.NDArray[np.generic]] = {
        "features": np.ascontiguousarray(features, np.float32),
        "length": np.full(batch, frames, np.int64),
        "cache_1": np.zeros((batch, *shape), np.float32),
        "cache_2": np.zeros((batch, 1, 1, 1), np.float32),
        "cache_length": np.zeros(batch, np.int64),
    }
    return {one.name: every[one.name] for one in inputs}


def _prepare(source: Path, target: Path) -> None:
    """Write the shapes into the graph, as the quantisers ask for."""
    quant_pre_process(source, target, skip_optimization=True, skip_symbolic_shape=True)


def _overrides(graph: Any, ranges: Ranges) -> dict[str, list[dict[str, Any]]]:
    """The learned spans by the name of the tensor that goes into a layer's product."""
    found: dict[str, list[dict[str, Any]]] = {}
    for node in graph.graph.node:
        layer = node.name.replace("/", ".").removeprefix(".model.").removesuffix(".MatMul")
        if node.op_type in _PRODUCTS and layer in ranges:
            low, high = ranges[layer]
            found[node.input[0]] = [{"rmin": np.float32(low), "rmax": np.float32(high)}]
    return found


def _finish(model: Any, target: Path) -> None:
    """Store what is float yet, in the same bytes at every run."""
    _store(model.graph)
    # The quantiser leaves them in an order that is another one in some processes.
    properties = sorted(model.metadata_props, key=lambda entry: entry.key)
    del model.metadata_props[:]
    model.metadata_props.extend(properties)
    onnx.save(model, target)
    smaller(target)


def _store(graph: Any) -> None:
    """Replace float weights by int8 ones and what turns them back: a cast and a product.

    ONNX Runtime folds these two when it loads a graph, unlike ``DequantizeLinear``.
    """
    axes = {name: _AXES[node.op_type] for node in graph.node if node.op_type in _AXES
            for name in node.input[1:3]}  # fmt: skip
    kept, made = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _SMALLEST or values.ndim < 2:
            kept.append(tensor)
            continue
        name = tensor.name
        whole, scale = _rounded(values, axes.get(name, values.ndim - 1))
        kept.append(numpy_helper.from_array(whole, f"{name}_int8"))
        kept.append(numpy_helper.from_array(scale, f"{name}_scale"))
        made += [
            helper.make_node("Cast", [f"{name}_int8"], [f"{name}_cast"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name]),
        ]
    nodes = [*made, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)


_AXES = {"Conv": 0, "ConvTranspose": 1, "GRU": 1, "LSTM": 1, "RNN": 1}
"""The axis of output channels in weights; in those of a product of matrices it is the last."""


def _rounded(
    values: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Whole numbers and the scale of each channel, which is as wide as its largest weight."""
    others = tuple(number for number in range(values.ndim) if number != axis)
    largest = np.abs(values).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.round(values / scale).astype(np.int8), scale


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the calibrator prints and logs on its way."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logging.disable(before)
