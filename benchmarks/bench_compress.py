"""What compression costs and brings: int8 of every kind, pruning, and what bounds the runtime.

    python benchmarks/bench_compress.py graphs HOME/builds/NAME/train-* [--output results.json]
    python benchmarks/bench_compress.py prune PATH/commands20 [--clips 1000] [--home FOLDER]

``graphs`` takes trained members of builds: the error of each kind of graph on dev and test, how far
that is from float with a paired 95 % interval over speakers, its size and speed beside float, the
share of this machine's peak, and how long a graph takes to load. An error is a clip that is not
understood whole. Times are seconds of one thread, so that other work on the machine hardly counts.
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
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file

from aimass.base.settings import Settings
from aimass.compression.bound import LEVELS, bound, loading, peak, profile, speed
from aimass.compression.export import WINDOW, cache, export, trace
from aimass.compression.half import half
from aimass.compression.quantise import METHODS, dynamic, static, stored
from aimass.compression.settle import depends_on_runs
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.corpus import Clip
from aimass.data.sound import sound_of
from aimass.data.split import rotation
from aimass.evaluation.compare import compare
from aimass.evaluation.scorecard import Scorecard, Scored, score
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract
from aimass.lifecycle.build import build
from aimass.lifecycle.compress import prune
from aimass.lifecycle.members import TAIL, padded
from aimass.lifecycle.scenario import Scenario
from aimass.models.model import SpeechModel, parameters
from aimass.models.spec import ModelSpec
from aimass.registry.bundle import Graph
from aimass.runtime.bundled import decoder
from aimass.runtime.graph import StreamingGraph
from aimass.text.normalise import normalise
from aimass.text.tokens import LabelSet, TokenSet
from aimass.training.graphs import run

ROUNDS = 5
CALIBRATION = 200  # clips, about
BATCHES = (1, 16)
WITHIN = 0.002  # of the error of float: as good


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
    if given.command == "graphs":
        table(result["members"], given.splits)


def graphs(given: argparse.Namespace) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for folder in given.trained:
        with tempfile.TemporaryDirectory() as scratch:
            members[folder.name] = member(folder, given.splits, Path(scratch))
            print(json.dumps(members[folder.name]), flush=True)
    return {"peak": {"float": peak("float"), "int8": peak("int8")}, "members": members}


def table(members: dict[str, Any], splits: Sequence[str]) -> None:
    """Print each kind of graph of each member in a line; differences from float in points."""
    heads = "".join(f"{f'{split} - float':>30}" for split in splits)
    print(
        f"{'family':12}{'graph':18}{'bytes':>6}"
        + "".join(f"{f'x {b}':>7}" for b in BATCHES)
        + heads
    )
    for own in members.values():
        for name, row in own["graphs"].items():
            line = f"{own['family']:12}{name:18}{row['of float']:>6.0%}"
            line += "".join(f"{row['speed'][b]:7.2f}" for b in BATCHES)
            for found in row["splits"].values():
                low, high = found["difference_interval"]
                line += f"{100 * found['difference']:+8.2f} ({100 * low:+.2f} to {100 * high:+.2f})"
                line += "      " if found["within"] else " wider"
            print(line.rstrip())


def member(folder: Path, splits: Sequence[str], scratch: Path) -> dict[str, Any]:
    """All figures of one trained member."""
    model = SpeechModel(ModelSpec.from_dict(json.loads((folder / "model.json").read_text())))
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    model.eval()
    prepared = folder.parent / json.loads((folder / "inputs.json").read_text())[0]
    features = FeatureSpec(**json.loads((folder / "features.json").read_text()))
    clips = {s: corpora.read(prepared / f"{s}.jsonl.gz").clips for s in ("train", *splits)}
    every = max(1, len(clips["train"]) // CALIBRATION)
    heard = [_frames(clip, features) for clip in clips["train"][::every]]
    paths = _written(model, heard, scratch)
    symbols = _symbols(model, prepared)
    form = Graph(
        stack=model.spec.stack,
        cache=cache(model),
        tail=TAIL,
        precision="float",
        whole=model.spec.whole,
    )
    sound = {s: [_frames(clip, features) for clip in clips[s]] for s in splits}
    cards = {
        name: {
            s: _scored(StreamingGraph(path, form, features), path, sound[s], clips[s], symbols)
            for s in splits
        }
        for name, path in paths.items()
        if name != "before"
    }
    window, second, long = (n - n % form.stack for n in (WINDOW, 100, 400))
    times = _interleaved(paths, window)
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
                "splits": {
                    s: _apart(card, cards["float"][s]) for s, card in cards.get(name, {}).items()
                },
            }
            for name, path in paths.items()
        },
        "bound": [
            bound(paths["float"], batch, length).to_dict()
            for batch in (1, 16, 32)
            for length in (window, second, long)
        ],
        "operators": {b: dict([*profile(paths["float"], b, window).items()][:8]) for b in BATCHES},
        "loading": {level: loading(paths["float"], level) for level in LEVELS},
        "offline": _offline(paths["float"], scratch, window),
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


def _interleaved(paths: dict[str, Path], window: int) -> dict[str, dict[int, float]]:
    """The least of several medians, all graphs in turn."""
    found: dict[str, dict[int, float]] = {name: {} for name in paths}
    for _ in range(ROUNDS):
        for name, path in paths.items():
            for batch in BATCHES:
                taken = speed(path, batch, window)
                found[name][batch] = min(taken, found[name].get(batch, taken))
    return found


def _offline(path: Path, scratch: Path, window: int) -> dict[str, float]:
    """What it would bring to keep graphs as ONNX Runtime has optimised them."""
    target = scratch / "offline.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(target)
    options.graph_optimization_level = LEVELS["extended"]
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return {
        "loading": loading(target),
        "run": speed(target, 1, window),
        "run of float": speed(path, 1, window),
        "bytes": target.stat().st_size,
    }


def _frames(clip: Clip, features: FeatureSpec) -> Frames:
    return extract(padded(sound_of(clip, features.sample_rate), features.sample_rate), features)


def _symbols(model: SpeechModel, prepared: Path) -> TokenSet | LabelSet:
    kind = TokenSet if model.spec.head == "ctc" else LabelSet
    return kind.load(prepared / "tokens.txt")


def _scored(
    graph: StreamingGraph,
    path: Path,
    sound: Sequence[Frames],
    clips: Sequence[Clip],
    symbols: TokenSet | LabelSet,
) -> Scorecard:
    """Which clips are understood whole; they run in batches where that changes nothing."""
    labels = isinstance(symbols, LabelSet)
    groups = [[one] for one in sound] if depends_on_runs(onnx.load(path)) else [sound]
    results = []
    for clip, rows in zip(
        clips, (rows for group in groups for rows in run(graph, group, last=labels)), strict=True
    ):
        search = decoder(symbols, graph.frame_seconds)
        search.accept(rows)
        spoken, heard = clip.text, search.text
        if not labels:
            spoken, heard = (normalise(one, clip.language or "en") for one in (spoken, heard))
        results.append(Scored(clip.id, clip.speaker, spoken, heard))
    return score(results, "classification_error")


def _apart(card: Scorecard, of_float: Scorecard) -> dict[str, Any]:
    """The error of a graph, and how far it is from that of float."""
    found = compare(card, of_float)
    return {
        "error_rate": card.error_rate,
        "interval": card.interval,
        "difference": found.difference,
        "difference_interval": found.interval,
        "within": abs(found.difference) <= WITHIN + 1e-9,
    }


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
