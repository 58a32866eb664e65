"""The shipped digits model and the sample recordings, for the tests of the runtime."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aimass.audio.decode import load as load_audio
from aimass.base.contract import Samples
from aimass.compression.export import cache as cache_of
from aimass.compression.export import export
from aimass.data.corpus import Clip, read
from aimass.features.spec import FeatureSpec
from aimass.models.model import SpeechModel
from aimass.models.spec import Head, ModelSpec
from aimass.models.stem import Normalise
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import BundleEngine, golden
from aimass.runtime.graph import StreamingGraph
from aimass.runtime.load import shipped
from aimass.text.tokens import LabelSet, TokenSet

SAMPLES = Path(__file__).parents[2] / "samples"
DIGITS = SAMPLES / "digits"
RATE = 8000


@cache
def engine() -> BundleEngine:
    """The shipped digits model."""
    return BundleEngine(bundles.load(shipped()["digits"]))


@cache
def clips() -> tuple[Clip, ...]:
    """The test split of the sample digits."""
    return read(DIGITS).split("test").clips


@cache
def samples(path: Path) -> Samples:
    """A recording at 8 kHz."""
    return load_audio(path, rate=RATE).mono()


def babbling(folder: Path, seed: int = 4, rate: int = RATE) -> Bundle:
    """A bundle of random float weights, which says much, and another thing at the least change."""
    tokens = TokenSet(("▁a", "▁b", "c", "d", "▁"))
    return _random(folder, "transcribe", "ctc", tokens, tokens.size, seed, rate)


def guessing(folder: Path, seed: int = 4, rate: int = RATE) -> Bundle:
    """A bundle of random weights that gives one of three labels, and changes its mind."""
    labels = LabelSet(("left", "other thing", "右"))
    return _random(folder, "classify", "classify", labels, labels.size, seed, rate)


def voices(folder: Path) -> Bundle:
    """A bundle of random weights that gives voiceprints."""
    return _random(folder, "embed", "embed", LabelSet(()), 16)


def _random(
    folder: Path,
    task: str,
    head: Head,
    symbols: TokenSet | LabelSet,
    outputs: int,
    seed: int = 4,
    rate: int = RATE,
) -> Bundle:
    shape = ModelSpec("conv", head, 40, outputs, channels=24, blocks=3, kernel=7)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = SpeechModel(shape).eval()
        assert isinstance(model.front, Normalise)
        model.front.mean.fill_(-9)
        model.front.scale.fill_(0.4)
        model.get_parameter("head.output.weight").mul_(6)
    folder.mkdir()
    export(model, folder / bundles.GRAPH)
    symbols.save(folder / bundles.TOKENS)
    (folder / bundles.LICENCE).write_text("none\n")
    features = FeatureSpec(sample_rate=rate, bins=40)
    graph: dict[str, Any] = {
        "stack": shape.stack,
        "cache": list(cache_of(model)),
        "tail": 0.4,
        "precision": "float",
    }
    runs = StreamingGraph(folder / bundles.GRAPH, bundles.Graph.model_validate(graph), features)
    manifest = {
        "name": folder.name,
        "task": task,
        "language": "en",
        "metric": "wer",
        "parameters": 1,
        "features": features.to_dict(),
        "graph": graph,
        "scores": {},
        "lineage": {},
        "licences": {},
    }
    return bundles.write(folder, manifest, golden(runs, speech()[:RATE], symbols))


def speech() -> Samples:
    """Some seconds of real speech."""
    return samples(SAMPLES / "jfk.wav")[: 4 * RATE]


def copy_of(bundle: Bundle, folder: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(bundle.folder, folder))


def in_a_row(
    chosen: tuple[Clip, ...], pause: float, lead: float = 0.5
) -> tuple[Samples, list[float]]:
    """Clips with a pause after each, and where each begins, in seconds."""
    parts, starts, at = [np.zeros(round(lead * RATE), np.float32)], [], lead
    for clip in chosen:
        starts.append(at)
        sound = samples(clip.path)
        parts += [sound, np.zeros(round(pause * RATE), np.float32)]
        at += len(sound) / RATE + round(pause * RATE) / RATE
    return np.concatenate(parts), starts
