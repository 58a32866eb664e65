"""Small bundles for the tests: a graph of four weights, complete and genuine otherwise."""

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tomli_w
from onnx import TensorProto, helper

from aimass.base.digests import of_file
from aimass.features.spec import FeatureSpec
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import golden
from aimass.runtime.graph import StreamingGraph
from aimass.text.tokens import TokenSet

FEATURES = FeatureSpec(sample_rate=8000, bins=20)
TOKENS = TokenSet(("▁low", "▁high"))
GRAPH = {
    "stack": 2,
    "cache": [1, 1, 1],
    "tail": 0.2,
    "precision": "float",
    "whole": False,
}


def manifest(name: str = "tiny", **changes: Any) -> dict[str, Any]:
    """What `bundle.write` is given."""
    return {
        "name": name,
        "task": "transcribe",
        "language": "en",
        "metric": "wer",
        "parameters": 4,
        "features": FEATURES.to_dict(),
        "graph": GRAPH,
        "scores": {"float": {"test": {"error_rate": 0.5, "interval": [0.25, 0.75]}}},
        "lineage": {"made": "by hand", "nested": {"numbers": [1, 2.5], "flag": True}},
        "licences": {"data": "none — 無", "weights": "none"},
    } | changes


def write_graph(path: Path, bias: float = -9.0) -> None:
    """Says "low" or "high" where the energy of two stacked frames lies, nothing in silence."""
    weights = np.zeros((40, 3), np.float32)
    for frame in (0, 20):
        weights[frame : frame + 10, 0] = weights[frame + 10 : frame + 20, 1] = 1 / 20
    constants = {
        "weights": weights,
        "bias": np.array([0, 0, bias], np.float32),
        "shape": np.array([0, -1, 40], np.int64),
        "two": np.array(2, np.int64),
    }
    nodes = [
        helper.make_node("Transpose", ["features"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("Reshape", ["frames", "shape"], ["stacked"]),
        helper.make_node("MatMul", ["stacked", "weights"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["biased"]),
        helper.make_node("LogSoftmax", ["biased"], ["log_probs"], axis=-1),
        helper.make_node("Div", ["length", "two"], ["out_length"]),
        helper.make_node("Identity", ["cache_1"], ["next_cache_1"]),
        helper.make_node("Identity", ["cache_2"], ["next_cache_2"]),
        helper.make_node("Add", ["cache_length", "length"], ["next_cache_length"]),
    ]
    single, count = TensorProto.FLOAT, TensorProto.INT64
    cache = ["batch", 1, 1, 1]

    def value(name: str, kind: int, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            value("features", single, ["batch", 20, "frames"]),
            value("length", count, ["batch"]),
            value("cache_1", single, cache),
            value("cache_2", single, cache),
            value("cache_length", count, ["batch"]),
        ],
        [
            value("log_probs", single, ["batch", "steps", 3]),
            value("out_length", count, ["batch"]),
            value("next_cache_1", single, cache),
            value("next_cache_2", single, cache),
            value("next_cache_length", count, ["batch"]),
        ],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


def tones() -> Any:
    """A second: low tone, pause, high tone."""
    time = np.arange(2400) / 8000
    low, high = (np.sin(2 * np.pi * f * time) * 0.5 for f in (300, 2500))
    return np.concatenate([low, np.zeros(2400), high, np.zeros(800)]).astype(np.float32)


def make(folder: Path, name: str = "tiny", bias: float = -9.0, **changes: Any) -> Bundle:
    """Write a whole bundle; another bias gives another graph."""
    folder.mkdir(parents=True)
    write_graph(folder / bundles.GRAPH, bias)
    TOKENS.save(folder / bundles.TOKENS)
    (folder / bundles.LICENCE).write_text("none\n", encoding="utf-8")
    runs = StreamingGraph(folder / bundles.GRAPH, bundles.Graph.model_validate(GRAPH), FEATURES)
    return bundles.write(folder, manifest(name, **changes), golden(runs, tones(), TOKENS))


def sign(folder: Path, change: Callable[[dict[str, Any]], object] | None = None) -> None:
    """Write a manifest that fits the files as they are now, as somebody malicious would."""
    path = folder / bundles.MANIFEST
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    content["files"] = {
        p.name: of_file(p) for p in sorted(folder.iterdir()) if p.name != bundles.MANIFEST
    }
    if change is not None:
        change(content)
    path.write_bytes(tomli_w.dumps(content).encode())


def copy_of(bundle: Bundle, folder: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(bundle.folder, folder))
