"""What compression costs and brings: int8 of every kind, pruning, and what bounds the runtime.

    python benchmarks/bench_compress.py graphs HOME/builds/NAME/train-* [--output results.json]
    python benchmarks/bench_compress.py prune PATH/commands20 [--clips 1000] [--home FOLDER]

``graphs`` takes trained members of builds: the error of each kind of graph on dev and test, its
size and speed beside float, the share of this machine's peak, and how long a graph takes to load.
Times are seconds of one thread, so that other work on the machine hardly counts.
``prune`` trains a model on a part of the data, prunes it, trains on, and compares that with models
of the same size that were trained from nothing, as long as either and as long as both together.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import load_file

from aimass.base.settings import Settings
from aimass.compression.bound import LEVELS, bound, loading, peak, profile, speed
from aimass.compression.export import WINDOW, export, trace
from aimass.compression.half import half
from aimass.compression.quantise import METHODS, dynamic, fed, static, stored
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.corpus import Clip
from aimass.data.sound import sound_of
from aimass.data.split import rotation
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract
from aimass.lifecycle.build import build
from aimass.lifecycle.compress import prune
from aimass.lifecycle.members import padded
from aimass.lifecycle.scenario import Scenario
from aimass.models.model import SpeechModel, parameters
from aimass.models.spec import ModelSpec
from aimass.runtime.bundled import decoder
from aimass.text.tokens import LabelSet, TokenSet

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("graphs")
    one.add_argument("trained", type=Path, nargs="+")
    one.add_argument("--splits", nargs="+", default=["dev", "test"])
    two = commands.add_parser("prune")
    two.add_argument("data", type=Path)
    two.add_argument("--clips", type=int, default=1000)
    two.add_argument("--epochs", type=int, default=12)
    two.add_argument("--home", type=Path, help="keep builds here, so that they resume")
    for command in (one, two):
        command.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = graphs(given) if given.command == "graphs" else pruning(given)
    print(json.dumps(result, indent=2))
    if given.output:
        given.output.write_text(json.dumps(result, indent=2) + "\n")


def graphs(given: argparse.Namespace) -> dict[str, Any]:
    rows: dict[str, Any] = {"peak": {"float": peak("float"), "int8": peak("int8")}}
    for folder in given.trained:
        with tempfile.TemporaryDirectory() as scratch:
            rows[folder.name] = member(folder, given.splits, Path(scratch))
            print(json.dumps(rows[folder.name]), flush=True)
    return rows


def member(folder: Path, splits: Sequence[str], scratch: Path) -> dict[str, Any]:
    """All figures of one trained member."""
    model = SpeechModel(ModelSpec.from_dict(json.loads((folder / "model.json").read_text())))
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    model.eval()
    prepared = folder.parent / json.loads((folder / "inputs.json").read_text())[0]
    features = FeatureSpec(**json.loads((folder / "features.json").read_text()))
    clips = {s: corpora.read(prepared / f"{s}.jsonl.gz").clips for s in ("train", *splits)}
    heard = [_frames(clip, features) for clip in clips["train"][:: len(clips["train"]) // 200]]
    paths = _written(model, heard, scratch)
    symbols = _symbols(model, prepared)
    sound = {s: [_frames(clip, features) for clip in clips[s]] for s in splits}
    times = _interleaved(paths)
    size = paths["float"].stat().st_size
    return {
        "family": model.spec.family,
        "parameters": parameters(model),
        "half": half(paths["float"], scratch / "half.onnx", heard),
        "graphs": {
            name: {
                "bytes": path.stat().st_size,
                "of float": path.stat().st_size / size,
                "speed": {b: times["float"][b] / t for b, t in times[name].items()},
                "error": {}
                if name == "before"
                else {s: _error(path, sound[s], clips[s], symbols, features) for s in splits},
            }
            for name, path in paths.items()
        },
        "bound": [
            bound(paths["float"], batch, length).to_dict()
            for batch in (1, 16, 32)
            for length in (WINDOW, 100, 400)
        ],
        "operators": {b: dict([*profile(paths["float"], b, WINDOW).items()][:8]) for b in (1, 16)},
        "loading": {level: loading(paths["float"], level) for level in LEVELS},
        "offline": _offline(paths["float"], scratch),
    }


def _written(model: SpeechModel, heard: Sequence[Frames], scratch: Path) -> dict[str, Path]:
    names = ("float", "before", "stored", "dynamic", *(f"static {m}" for m in METHODS))
    paths = {name: scratch / f"{name}.onnx" for name in names}
    export(model, paths["float"], heard[:20])
    trace(model, paths["before"])
    stored(paths["float"], paths["stored"])
    dynamic(paths["float"], paths["dynamic"])
    for method in METHODS:
        static(paths["float"], paths[f"static {method}"], heard, method)
    return paths


def _interleaved(paths: dict[str, Path]) -> dict[str, dict[int, float]]:
    """The least of several medians, all graphs in turn."""
    found: dict[str, dict[int, float]] = {name: {} for name in paths}
    for _ in range(ROUNDS):
        for name, path in paths.items():
            for batch in (1, 16):
                taken = speed(path, batch, WINDOW)
                found[name][batch] = min(taken, found[name].get(batch, taken))
    return found


def _offline(path: Path, scratch: Path) -> dict[str, float]:
    """What it would bring to keep graphs as ONNX Runtime has optimised them."""
    target = scratch / "offline.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(target)
    options.graph_optimization_level = LEVELS["extended"]
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return {
        "loading": loading(target),
        "run": speed(target, 1, WINDOW),
        "run of float": speed(path, 1, WINDOW),
        "bytes": target.stat().st_size,
    }


def _frames(clip: Clip, features: FeatureSpec) -> Frames:
    return extract(padded(sound_of(clip, features.sample_rate), features.sample_rate), features)


def _symbols(model: SpeechModel, prepared: Path) -> TokenSet | LabelSet:
    kind = TokenSet if model.spec.head == "ctc" else LabelSet
    return kind.load(prepared / "tokens.txt")


def _error(
    path: Path,
    sound: Sequence[Frames],
    clips: Sequence[Clip],
    symbols: TokenSet | LabelSet,
    features: FeatureSpec,
) -> float:
    """The share of clips that are not understood whole."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wrong = 0
    for frames, clip in zip(sound, clips, strict=True):
        search = decoder(symbols, 4 * features.frame_shift)
        whole = frames[: len(frames) - len(frames) % 4]
        search.accept(session.run(None, fed(session.get_inputs(), whole.T[None]))[0][0])
        wrong += search.text != clip.text
    return wrong / len(clips)


def pruning(given: argparse.Namespace) -> dict[str, Any]:
    """A large model pruned to a small one, beside small ones from nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        home = (given.home or Path(scratch)).resolve()
        config, again = Settings(home=home), max(1, given.epochs // 4)
        large = _scenario(given, home, 150_000, given.epochs)
        whole = build(large, config=config)
        found: dict[str, Any] = {"large": _told(whole.members["member"])}
        wanted = 0
        for by in ("taylor", "magnitude"):
            done = prune(large, 60_000, epochs=again, by=by, config=config)
            wanted = done.after
            found[f"pruned by {by}"] = {
                "parameters": done.after,
                "dev": done.found.error_rate,
                "model": done.to_dict()["model"],
            }
            print(json.dumps(found), flush=True)
        for epochs in (given.epochs, given.epochs + again):
            small = build(_scenario(given, home, wanted, epochs), config=config)
            row = _told(small.members["member"])
            found[f"from nothing, {epochs} epochs"] = row | {
                "parameters": small.bundle.manifest.parameters
            }
            print(json.dumps(found), flush=True)
    return found


def _scenario(given: argparse.Namespace, home: Path, wanted: int, epochs: int) -> Scenario:
    source = home / "part.jsonl.gz"
    if not source.exists():
        home.mkdir(parents=True, exist_ok=True)
        corpus = corpora.read(given.data.resolve())
        splits = rotation(corpus.clips, 6, 0)
        parts = {"train": splits.train, "dev": splits.dev, "test": splits.test}
        chosen = [
            replace(clip, split=name)
            for name, clips in parts.items()
            for clip in _spread(clips, given.clips if name == "train" else given.clips // 2)
        ]
        manifest.write(chosen, source, licence=corpus.licence)
    return Scenario.model_validate(
        {
            "name": f"part-{wanted}",
            "task": "classify",
            "language": "zh+en",
            "data": {"train": source, "exclude": ["silent"]},
            "augment": {"policy": "light", "passes": 2},
            "training": {"epochs": epochs},
            "members": [{"name": "member", "family": "conv", "parameters": wanted}],
        }
    )


def _spread(clips: Sequence[Clip], count: int) -> list[Clip]:
    return [clips[index] for index in np.linspace(0, len(clips) - 1, count).astype(int)]


def _told(cards: Any) -> dict[str, float]:
    return {name: card.error_rate for name, card in cards.items()}


if __name__ == "__main__":
    main()
