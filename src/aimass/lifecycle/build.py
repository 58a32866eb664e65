"""`aimass build`: from raw recordings to a published model, stage by stage.

::

    prepare   recordings and labels -> Lhotse manifests, token set
    train     manifests -> averaged weights (checkpoints inside)
    export    weights -> streaming ONNX graphs, float and int8
    pack      graphs + scores -> bundle
    publish   bundle -> registry name@version, alias production
"""

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors.torch import load_file, save_file

from aimass import __version__
from aimass.audio.decode import load as load_audio
from aimass.audio.decode import probe
from aimass.base.contract import Progress, no_progress
from aimass.base.digests import of_file, of_value
from aimass.base.errors import DataError
from aimass.base.files import write_json
from aimass.base.randomness import torch_seed
from aimass.base.settings import Settings, settings
from aimass.compression.export import export, quantize
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.corpus import Clip, Corpus, naming
from aimass.data.split import Splits, hold_out, refuse_leaks
from aimass.evaluation.scorecard import Scorecard
from aimass.features.fbank import FeatureSpec
from aimass.lifecycle.scenario import Scenario, read
from aimass.lifecycle.stages import Stages, fingerprint
from aimass.models.causal_conv import CausalConv, CausalConvSpec, parameters
from aimass.registry import bundle as bundles
from aimass.registry.store import Published, Registry
from aimass.runtime.ctc import CtcEngine, StreamingGraph
from aimass.runtime.evaluate import UNSPACED, evaluate
from aimass.text.normalise import normalise
from aimass.text.tokens import TokenSet
from aimass.training.examples import AugmentSpec, Example, TrainingSet
from aimass.training.loop import TrainSpec, train

TAIL = 0.4  # seconds of silence in which the last word may still be decided
TOKEN_SECONDS = 0.04  # CTC gives one token a frame at most
INT8_LOSS = 0.002  # the most that int8 may cost in error rate before float is packed instead
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Built:
    """What a build gives.

    Args:
        scorecard: of the packed graph on the test data.
        reused: the stages that were taken from an earlier build.
    """

    published: Published
    bundle: bundles.Bundle
    scorecard: dict[str, Any]
    reused: tuple[str, ...]


def build(
    scenario: str | Path | Scenario,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Built:
    """Build and publish a scenario's model, going on where an earlier build stopped.

    Raises:
        ScenarioError, DataError, AudioError: what is wrong with the file, labels or sound.
        TrainingError: training or export failed.
    """
    plan = scenario if isinstance(scenario, Scenario) else read(Path(scenario))
    config = config or settings()
    stages = Stages(config.home / "builds" / plan.name)
    with stages.lock():
        prepared = _prepare(plan, stages, progress)
        weights = _train(plan, prepared, stages, progress)
        graphs = _export(weights, stages)
        packed = _pack(plan, prepared, weights, graphs, stages, progress)
        bundle = bundles.load(packed / "bundle")
        published = Registry(config.home, config.registry_url).publish(bundle)
    scorecard = json.loads((packed / "scorecard.json").read_text())
    return Built(published, bundle, scorecard, tuple(stages.reused))


def split(plan: Scenario) -> tuple[Splits, str]:
    """The clips of a scenario's data, and the licences they carry."""
    source = corpora.read(plan.data.train)
    given = {"train": source.split("train")}
    for name in ("dev", "test"):
        path = getattr(plan.data, name)
        if path is not None:
            given[name] = corpora.read(path).split(name)
        elif any(clip.split == name for clip in source.clips):
            given[name] = source.split(name)
    kept: list[Clip] = list(given["train"].clips)
    for name in ("test", "dev"):
        if name not in given:
            kept, held = hold_out(kept, salt="" if name == "dev" else name)
            given[name] = Corpus(tuple(held), source.licence, source.source)
    splits = Splits(tuple(kept), given["dev"].clips, given["test"].clips)
    refuse_leaks(splits)
    return splits, "\n\n".join(dict.fromkeys(corpus.licence for corpus in given.values()))


def _prepare(plan: Scenario, stages: Stages, progress: Progress) -> Path:
    splits, licence = split(plan)
    sets = {name: Corpus(getattr(splits, name), licence, plan.data.train) for name in SPLITS}

    def work(folder: Path) -> None:
        _refuse_wordless(splits, plan.language)
        content = _content(splits)
        for name, corpus in sets.items():
            path = folder / f"{name}.jsonl.gz"
            manifest.write(corpus.clips, path, licence=licence, progress=progress)
        texts = [normalise(clip.text, plan.language) for clip in splits.train]
        TokenSet.from_texts(texts).save(folder / bundles.TOKENS)
        (folder / bundles.LICENCE).write_text(licence + "\n", encoding="utf-8")
        write_json(folder / "features.json", _features(splits.train).to_dict())
        write_json(folder / "content.json", content)

    inputs = [plan.language, {name: fingerprint(corpus) for name, corpus in sets.items()}]
    return stages.run("prepare", inputs, work)


def _refuse_wordless(splits: Splits, language: str) -> None:
    for clip in (*splits.train, *splits.dev, *splits.test):
        if not normalise(clip.text, language):
            raise DataError(
                f"{clip.path} has the label '{clip.text}', which holds no word",
                expected="at least one word",
                fix="Correct the label, or remove the line",
            )


def _content(splits: Splits) -> str:
    """The digest of all sound and labels, wherever they stand; refuses copies in two sets."""
    of_recording = cache(of_file)
    refuse_leaks(splits, of_recording)
    rows = {
        name: [
            [
                of_recording(clip.path.resolve()),
                clip.text,
                clip.speaker,
                clip.language,
                clip.start,
                clip.duration,
            ]
            for clip in getattr(splits, name)
        ]
        for name in SPLITS
    }
    return of_value(rows)


def _features(clips: tuple[Clip, ...]) -> FeatureSpec:
    """The front end for the rate that most recordings have: 8 kHz telephone, else 16 kHz."""
    rates = [probe(clip.path).rate for clip in clips[:: max(1, len(clips) // 200)]]
    if np.median(rates) <= 8000:
        return FeatureSpec(sample_rate=8000, bins=40)
    return FeatureSpec(sample_rate=16000, bins=80)


def _train(plan: Scenario, prepared: Path, stages: Stages, progress: Progress) -> Path:
    spec = TrainSpec(**plan.training.model_dump())
    augment = AugmentSpec()
    inputs = [prepared.name, spec.to_dict(), asdict(augment), TAIL, torch.__version__]

    def work(folder: Path) -> None:
        tokens = TokenSet.load(prepared / bundles.TOKENS)
        features = FeatureSpec(**json.loads((prepared / "features.json").read_text()))
        shape = CausalConvSpec(features.bins, tokens.size)
        clips = corpora.read(prepared / "train.jsonl.gz").clips
        data = TrainingSet(
            _examples(clips, features.sample_rate, tokens, plan.language, progress),
            features,
            augment,
            batch_size=spec.batch_size,
            stack=shape.stack,
            tail=TAIL,
            seed=spec.seed,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(spec.seed, "weights"))
            model = CausalConv(shape)
        scratch = stages.scratch("train", inputs)
        model = train(model, data, spec, scratch, progress)
        save_file(model.state_dict(), folder / "model.safetensors")
        write_json(folder / "model.json", shape.to_dict())
        shutil.copy(scratch / "log.jsonl", folder)

    folder = stages.run("train", inputs, work)
    shutil.rmtree(stages.scratch("train", inputs))
    return folder


def _examples(
    clips: tuple[Clip, ...], rate: int, tokens: TokenSet, language: str, progress: Progress
) -> list[Example]:
    examples = []
    for number, clip in enumerate(clips, start=1):
        with naming(clip):
            samples = load_audio(clip.path, rate=rate).mono()
        if clip.duration is not None:
            first = round(clip.start * rate)
            samples = samples[first : first + round(clip.duration * rate)]
        text = normalise(clip.text, language)
        ids = tuple(tokens.encode(text))
        room = len(samples) / rate + TAIL
        if not ids or not len(samples) or room < len(ids) * TOKEN_SECONDS:
            raise DataError(
                f"{clip.path} has the label '{clip.text}' and {len(samples) / rate:.2f} s of sound",
                expected="words, and sound that is long enough for them",
                fix="Correct the label, or remove the line",
            )
        examples.append(Example(samples, ids, clip.speaker))
        progress("load", number, len(clips))
    return examples


def _export(weights: Path, stages: Stages) -> Path:
    def work(folder: Path) -> None:
        shape = CausalConvSpec(**json.loads((weights / "model.json").read_text()))
        model = CausalConv(shape)
        model.load_state_dict(load_file(weights / "model.safetensors"))
        export(model.eval(), folder / "float.onnx")
        quantize(folder / "float.onnx", folder / "int8.onnx")
        write_json(folder / "shape.json", shape.to_dict() | {"parameters": parameters(model)})

    return stages.run("export", [weights.name, onnxruntime.__version__, TAIL], work)


def _pack(
    plan: Scenario,
    prepared: Path,
    weights: Path,
    graphs: Path,
    stages: Stages,
    progress: Progress,
) -> Path:
    """Measure both graphs, keep int8 unless it costs too much, and write the bundle."""
    shape = json.loads((graphs / "shape.json").read_text())
    licence = (prepared / bundles.LICENCE).read_text(encoding="utf-8").strip()
    manifest_of: dict[str, Any] = {
        "name": plan.name,
        "task": plan.task.value,
        "language": plan.language,
        "metric": "cer" if plan.language in UNSPACED else "wer",
        "parameters": shape["parameters"],
        "features": json.loads((prepared / "features.json").read_text()),
        "graph": {
            "stack": shape["stack"],
            "cache": [shape["blocks"], shape["channels"], shape["kernel"] - 1],
            "tail": TAIL,
        },
        "lineage": {
            "aimass": __version__,
            "torch": torch.__version__,
            "python": ".".join(map(str, sys.version_info[:2])),
            # Digests of content: the same data and settings give the same bundle anywhere.
            "prepared": json.loads((prepared / "content.json").read_text()),
            "trained": of_file(weights / "model.safetensors"),
            "training": plan.training.model_dump(),
        },
        "licences": {"data": licence, "weights": licence},
    }

    features = FeatureSpec(**manifest_of["features"])
    first = corpora.read(prepared / "dev.jsonl.gz").clips[0]
    heard = load_audio(first.path, rate=features.sample_rate).mono()[: 10 * features.sample_rate]

    def candidate(folder: Path, precision: str, scores: dict[str, Any]) -> bundles.Bundle:
        folder.mkdir()
        shutil.copy(graphs / f"{precision}.onnx", folder / bundles.GRAPH)
        shutil.copy(prepared / bundles.TOKENS, folder)
        shutil.copy(prepared / bundles.LICENCE, folder)
        graph = manifest_of["graph"] | {"precision": precision}
        runs = StreamingGraph(folder / bundles.GRAPH, bundles.Graph(**graph), features)
        golden = runs.golden(heard, TokenSet.load(folder / bundles.TOKENS))
        return bundles.write(folder, manifest_of | {"graph": graph, "scores": scores}, golden)

    def work(folder: Path) -> None:
        cards: dict[str, dict[str, Scorecard]] = {}
        for precision in ("float", "int8"):
            engine = CtcEngine(candidate(folder / precision, precision, {}))
            cards[precision] = {
                name: evaluate(
                    engine, corpora.read(prepared / f"{name}.jsonl.gz"), progress=progress
                )
                for name in ("dev", "test")
            }
        loss = cards["int8"]["dev"].error_rate - cards["float"]["dev"].error_rate
        chosen = "int8" if loss <= INT8_LOSS else "float"
        scores = {
            precision: {name: _score(card) for name, card in own.items()}
            for precision, own in cards.items()
        }
        candidate(folder / "bundle", chosen, scores)
        write_json(folder / "scorecard.json", cards[chosen]["test"].to_dict())
        for precision in cards:
            shutil.rmtree(folder / precision)

    inputs = [manifest_of, prepared.name, graphs.name]
    return stages.run("pack", inputs, work)


def _score(card: Scorecard) -> dict[str, Any]:
    """What of a scorecard a bundle keeps; times depend on the machine and stay out."""
    return {
        "error_rate": card.error_rate,
        "interval": list(card.interval),
        "utterances": card.utterances,
        "speakers": card.speakers,
    }
