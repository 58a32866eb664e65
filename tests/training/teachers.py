"""Real teachers of a few thousand weights: bundles of labels, of one model or of several."""

from pathlib import Path
from typing import Any

import torch

from aimass.audio.decode import load
from aimass.base.contract import Samples
from aimass.compression.export import cache, export
from aimass.decoding.combine import Combination
from aimass.features.spec import FeatureSpec
from aimass.models.model import SpeechModel, parameters
from aimass.models.spec import ModelSpec
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import golden
from aimass.runtime.graph import StreamingGraph
from aimass.runtime.massive import pack
from aimass.text.tokens import LabelSet

from . import tiny

LABELS = LabelSet(tuple(sorted(tiny.WORDS)))
TAIL = 0.4


def about(**changes: Any) -> dict[str, Any]:
    """What a manifest of labels says."""
    return {
        "name": "teacher",
        "task": "classify",
        "language": "en",
        "metric": "classification_error",
        "parameters": 1,
        "scores": {},
        "lineage": {"made": "for a test"},
        "licences": {"data": "none"},
    } | changes


def single(
    folder: Path, features: FeatureSpec = tiny.FEATURES, family: Any = "conv", seed: int = 3
) -> Bundle:
    """A bundle of one model of labels, whose weights nobody trained."""
    folder.mkdir(parents=True)
    shape = ModelSpec(family, "classify", features.columns, 3, channels=8, blocks=1, kernel=5)
    model = tiny.fresh_model(shape, seed).eval()
    with torch.no_grad():
        model.get_parameter("head.output.weight").mul_(20)  # sure of something
    export(model, folder / bundles.GRAPH)
    LABELS.save(folder / bundles.TOKENS)
    (folder / bundles.LICENCE).write_text("none\n", encoding="utf-8")
    graph = {"stack": shape.stack, "cache": list(cache(model)), "tail": TAIL, "precision": "float"}
    runs = StreamingGraph(folder / bundles.GRAPH, bundles.Graph.model_validate(graph), features)
    whole = about(features=features.to_dict(), graph=graph, parameters=parameters(model))
    return bundles.write(folder, whole, golden(runs, proof(features.sample_rate), LABELS))


def massive(folder: Path, method: Any = "geometric") -> Bundle:
    """A massive model of two, which hear differently."""
    members = {
        "fine": single(folder / "fine"),
        "coarse": single(folder / "coarse", FeatureSpec(16000, 30), "recurrent", 4),
    }
    combination = Combination(method, (0.6, 0.4), (1.0, 1.5), 0.8)
    (folder / "whole").mkdir()
    return pack(folder / "whole", about(name="many"), combination, members, proof(16000))


def proof(rate: int) -> Samples:
    """A real clip at a rate."""
    return load(next(tiny.DIGITS.glob("audio/*.flac")), rate=rate).mono()


def fresh_student(seed: int = 1) -> SpeechModel:
    """A student of labels."""
    shape = ModelSpec("conv", "classify", 40, 3, channels=12, blocks=2, kernel=5)
    return tiny.fresh_model(shape, seed)
