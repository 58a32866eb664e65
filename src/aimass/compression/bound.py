"""What bounds a graph: its arithmetic against what this machine's products of matrices reach.

The peak is measured with ONNX Runtime's own product on one thread, the same kernels that run the
model. A graph far below it does not wait for multiplications but for everything around them; the
profile says for what.
"""

import json
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from aimass.compression.quantise import fed
from aimass.evaluation.cost import multiply_adds

Kind = Literal["float", "int8"]
Level = Literal["none", "basic", "extended", "all"]

SIDE = 512  # of the square matrices of the peak: larger ones gain nothing more
RUNS = 30
LEVELS: dict[Level, onnxruntime.GraphOptimizationLevel] = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """How fast a graph runs, and how near to the peak that is.

    Args:
        frames: of features in a chunk.
        seconds: of one thread for one run, the median.
        operations: achieved per second, a multiplication and an addition being two.
        share: of the peak of this machine.
    """

    batch: int
    frames: int
    seconds: float
    operations: float
    share: float

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return asdict(self)


@lru_cache(maxsize=2)
def peak(kind: Kind = "float") -> float:
    """Operations per second of one thread's best product of square matrices."""
    session = _session(_product(kind).SerializeToString())
    random = np.random.default_rng(0)
    given: npt.NDArray[Any] = (
        random.standard_normal((SIDE, SIDE)).astype(np.float32)
        if kind == "float"
        else random.integers(0, 255, (SIDE, SIDE), np.uint8)
    )
    return float(2 * SIDE**3 / min(_timed(session, {"a": given}, RUNS)))


def bound(path: Path, batch: int, frames: int, runs: int = RUNS) -> Bound:
    """Measure a streaming graph on chunks of so many frames from so many streams.

    Raises:
        BundleError: a graph whose arithmetic cannot be counted.
    """
    seconds = speed(path, batch, frames, runs)
    operations = 2 * batch * multiply_adds(path, frames) / seconds
    return Bound(batch, frames, seconds, operations, operations / peak())


def speed(path: Path, batch: int, frames: int, runs: int = RUNS) -> float:
    """Seconds of one thread for one run, the median of several."""
    session = _session(path)
    return float(np.median(_timed(session, _chunk(session, batch, frames), runs)))


def loading(path: Path, level: Level = "all", runs: int = 3) -> float:
    """Seconds of one thread until a graph is ready to run, the median of several."""
    taken = []
    for _ in range(runs):
        begun = time.thread_time()
        _session(path, level)
        taken.append(time.thread_time() - begun)
    return float(np.median(taken))


def profile(path: Path, batch: int, frames: int, runs: int = RUNS) -> dict[str, float]:
    """The share of each kind of operator in a run, the largest first.

    ONNX Runtime's profiler adds some 2 µs to each operator, so small ones look larger than they
    are in small batches.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = _session(path, profile=Path(folder) / "run")
        chunk = _chunk(session, batch, frames)
        for _ in range(runs):
            session.run(None, chunk)
        events = json.loads(Path(session.end_profiling()).read_text())
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            taken[event["args"]["op_name"], event["name"]].append(event["dur"])
    kinds: dict[str, float] = defaultdict(float)
    for (kind, _), times in taken.items():
        kinds[kind] += float(np.median(times))
    total = sum(kinds.values())
    return {kind: spent / total for kind, spent in sorted(kinds.items(), key=lambda one: -one[1])}


def _session(
    graph: Path | bytes, level: Level = "all", profile: Path | None = None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = LEVELS[level]
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _chunk(session: onnxruntime.InferenceSession, batch: int, frames: int) -> dict[str, Any]:
    columns = session.get_inputs()[0].shape[1]
    noise = np.random.default_rng(0).standard_normal((batch, columns, frames))
    return fed(session.get_inputs(), noise.astype(np.float32))


def _timed(session: onnxruntime.InferenceSession, given: Any, runs: int) -> list[float]:
    """Seconds of this thread for each run; other work on the machine does not count."""
    for _ in range(3):
        session.run(None, given)
    taken = []
    for _ in range(runs):
        begun = time.thread_time()
        session.run(None, given)
        taken.append(time.thread_time() - begun)
    return taken


def _product(kind: Kind) -> Any:
    """A graph of one product with a constant matrix."""
    random = np.random.default_rng(1)
    float_ = kind == "float"
    values: npt.NDArray[Any] = (
        random.standard_normal((SIDE, SIDE)).astype(np.float32)
        if float_
        else random.integers(-127, 127, (SIDE, SIDE), np.int8)
    )
    given, made = (
        (TensorProto.FLOAT, TensorProto.FLOAT) if float_ else (TensorProto.UINT8, TensorProto.INT32)
    )
    graph = helper.make_graph(
        [helper.make_node("MatMul" if float_ else "MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", given, [SIDE, SIDE])],
        [helper.make_tensor_value_info("c", made, [SIDE, SIDE])],
        [onnx.numpy_helper.from_array(values, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
