"""Digit models of different skill, and a massive model of them whose dial is worth turning."""

import shutil
from pathlib import Path

import numpy as np
import onnx

from aimass.base.randomness import generator
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import golden
from aimass.runtime.graph import StreamingGraph
from aimass.runtime.load import shipped

from .massives import massive

SKILLS = {"hasty": (0.4, 1_000_000), "fair": (0.1, 3_000_000), "good": (0.0, 5_000_000)}
"""How much each one's weights are shaken, and what it says that it costs."""


def shaken(folder: Path, noise: float, adds: int, name: str = "digits") -> Bundle:
    """The shipped digits model with weights that are somewhat off."""
    source = bundles.load(shipped()["digits"])
    shutil.copytree(source.folder, folder)
    model = onnx.load(source.graph)
    random = generator(1, "shaken")
    for tensor in model.graph.initializer:
        weights = onnx.numpy_helper.to_array(tensor)
        if weights.dtype == np.float32 and weights.size > 1:
            off = weights * (1 + noise * random.normal(size=weights.shape))
            tensor.CopyFrom(onnx.numpy_helper.from_array(off.astype(np.float32), tensor.name))
    onnx.save(model, folder / bundles.GRAPH)
    graph = StreamingGraph(folder / bundles.GRAPH, source.form, source.features)
    content = source.manifest.model_dump(mode="json", exclude={"format", "files"})
    changed = {"name": name, "scores": {"multiply_adds": adds}}
    proof = golden(graph, source.golden().samples, source.symbols())
    return bundles.write(folder, content | changed, proof)


def of_skill(folder: Path) -> Bundle:
    """``many``: three models of `SKILLS`, of whom the better ones weigh more."""
    members = {name: shaken(folder / name, noise, adds) for name, (noise, adds) in SKILLS.items()}
    samples = members["good"].golden().samples
    return massive(folder / "many", "geometric", members, (0.1, 0.3, 0.6), samples)
