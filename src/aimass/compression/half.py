"""Half precision: a graph of 16-bit floats for processors that compute in them.

Inputs and outputs stay 32 bits wide, so that a runtime feeds it as any other. On most CPUs ONNX
Runtime computes in float all the same and only adds casts, so this is for GPUs; the CPU is where
its numbers are checked. The range of half precision ends at 65504 and its steps are a thousandth,
so what sums over a whole stream stays in float: the statistics of `aimass.models.heads.Pool`, and
the logarithms of energies before they are normalised.
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from aimass.base.errors import TrainingError
from aimass.compression.quantise import fed, windows_of
from aimass.features.spec import Frames

CLOSE = 0.05  # of probabilities; rounding alone gives a tenth of it
_FLOAT = ("/model/front/", "/model/head/")  # nodes of energies, and of sums that never end


def half(source: Path, target: Path, clips: Sequence[Frames]) -> float:
    """Write a copy in half precision; gives the largest difference of a probability.

    Args:
        source: a graph in float, with the names of its nodes.
        clips: features of real sound ``(frames, columns)`` that it is checked on.

    Raises:
        TrainingError: a difference that rounding does not explain.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(source)
    kept = [node.name for node in model.graph.node if node.name.startswith(_FLOAT)]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights too small for half precision
            smaller = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    finally:
        logging.disable(before)
    onnx.save(smaller, target)
    difference = _difference(source, target, clips)
    if not difference <= CLOSE:
        raise TrainingError(
            f"in half precision a probability differs by {difference:.2g}",
            expected=f"at most {CLOSE:g}",
            fix="Use the graph in float for this model",
        )
    return difference


def _difference(one: Path, other: Path, clips: Sequence[Frames]) -> float:
    worst = 0.0
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it warns of every constant that it cannot fold in half
    sessions = [
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for path in (one, other)
    ]
    for window in windows_of(clips):
        rows = [run.run(None, fed(run.get_inputs(), window.T[None]))[0] for run in sessions]
        probabilities = [np.exp(np.minimum(row, 0)) for row in rows]
        worst = max(worst, float(np.abs(probabilities[0] - probabilities[1]).max()))
    return worst
