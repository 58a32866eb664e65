"""Stages export and pack: a trained member to graphs, scores and a bundle."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from safetensors.torch import load_file

from aimass import __version__
from aimass.base.contract import Progress, Task
from aimass.base.digests import of_file
from aimass.base.files import write_json
from aimass.compression.export import REVISION, cache, export, quantize
from aimass.data import corpus as corpora
from aimass.data.corpus import Corpus
from aimass.data.sound import sound_of
from aimass.evaluation.cost import second_of_sound
from aimass.evaluation.report import write_html
from aimass.evaluation.scorecard import Scorecard
from aimass.evaluation.scorecard import read as read_card
from aimass.evaluation.scorecard import write as write_card
from aimass.evaluation.units import UNSPACED, Metric
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract
from aimass.lifecycle.combine import score_of
from aimass.lifecycle.members import (
    FEATURES,
    MODEL,
    TAIL,
    WEIGHTS,
    Job,
    inputs_of,
    padded,
    symbols_of,
)
from aimass.lifecycle.prepare import CONTENT
from aimass.lifecycle.scenario import Scenario
from aimass.lifecycle.stages import Stages
from aimass.lifecycle.tracking import keep_scores
from aimass.models.model import SpeechModel, parameters
from aimass.models.spec import ModelSpec
from aimass.registry import bundle as bundles
from aimass.runtime.bundled import BundleEngine, golden
from aimass.runtime.evaluate import evaluate
from aimass.runtime.graph import StreamingGraph
from aimass.text.tokens import LabelSet, TokenSet
from aimass.training.start import save_weights

PROOFS = 8  # clips on which graph and model must agree
INT8_LOSS = 0.002  # the most that int8 may cost in error rate before float is packed instead
CARDS = ("dev", "test")
PRECISIONS = ("float", "int8")
REPORT = "report"


def export_member(weights: Path, dev: Corpus, stages: Stages) -> Path:
    """The folder with both graphs of a trained member.

    Args:
        dev: some of its clips prove that the graph is the model.

    Raises:
        TrainingError: ONNX Runtime disagrees with torch by more than 1e-4 in log-probability.
    """

    def work(folder: Path) -> None:
        spec = ModelSpec.from_dict(json.loads((weights / MODEL).read_text()))
        model = SpeechModel(spec)
        model.load_state_dict(load_file(weights / WEIGHTS))
        export(model.eval(), folder / "float.onnx", frames_of(dev, PROOFS, _features(weights)))
        quantize(folder / "float.onnx", folder / "int8.onnx")
        save_weights(model, folder / WEIGHTS)
        about = {
            "stack": spec.stack,
            "whole": spec.whole,
            "cache": cache(model),
            "parameters": parameters(model),
            "multiply_adds": second_of_sound(
                folder / "float.onnx", _features(weights).frame_shift * 1000, spec.stack
            ),
        }
        write_json(folder / MODEL, about)

    return stages.run("export", [weights.name, onnxruntime.__version__, TAIL, REVISION], work)


def frames_of(corpus: Corpus, count: int, features: FeatureSpec) -> list[Frames]:
    """Features of clips spread over a corpus, with the silence that follows them."""
    every, rate = max(1, len(corpus.clips) // count), features.sample_rate
    chosen = corpus.clips[::every][:count]
    return [extract(padded(sound_of(clip, rate), rate), features) for clip in chosen]


def _features(weights: Path) -> FeatureSpec:
    return FeatureSpec(**json.loads((weights / FEATURES).read_text()))


@dataclass(frozen=True, slots=True)
class Packing:
    """What a bundle is made of beside its graphs.

    Args:
        manifest: all of it but precision and scores.
        sets: ``dev`` and what else the graphs are measured on.
        title: of the scorecard's page.
    """

    manifest: dict[str, Any]
    symbols: TokenSet | LabelSet
    licence: str
    sets: Mapping[str, Corpus]
    title: str


def pack_member(job: Job, weights: Path, graphs: Path, stages: Stages, progress: Progress) -> Path:
    """Measure both graphs, keep int8 unless it costs too much, and write bundle and scorecards."""
    manifest = _manifest(job, weights, graphs)

    def work(folder: Path) -> None:
        packing = Packing(
            manifest,
            # Speakers' names do not travel with a model of voiceprints.
            LabelSet(()) if job.plan.task is Task.EMBED else symbols_of(job),
            (job.prepared / bundles.LICENCE).read_text(encoding="utf-8"),
            {name: corpora.read(job.prepared / f"{name}.jsonl.gz") for name in CARDS},
            f"{job.plan.name}: {job.name}",
        )
        cards = pack_graphs(packing, graphs, folder, progress)
        _keep_scores(job, weights, folder, cards)

    return stages.run("pack", [manifest, job.prepared.name, graphs.name], work)


def pack_graphs(
    packing: Packing, graphs: Path, folder: Path, progress: Progress
) -> dict[str, Scorecard]:
    """Write bundle, scorecards and their page into a folder; gives the scorecards by set."""
    features = FeatureSpec(**packing.manifest["features"])
    proof = sound_of(packing.sets["dev"].clips[0], features.sample_rate)

    def candidate(target: Path, precision: str, scores: dict[str, Any]) -> bundles.Bundle:
        target.mkdir()
        shutil.copy(graphs / f"{precision}.onnx", target / bundles.GRAPH)
        shutil.copy(graphs / WEIGHTS, target)
        if packing.symbols.symbols:
            packing.symbols.save(target / bundles.TOKENS)
        else:
            (target / bundles.TOKENS).touch()
        (target / bundles.LICENCE).write_text(packing.licence, encoding="utf-8")
        graph = packing.manifest["graph"] | {"precision": precision}
        runs = StreamingGraph(target / bundles.GRAPH, bundles.Graph(**graph), features)
        expected = golden(runs, proof[: 10 * features.sample_rate], packing.symbols)
        return bundles.write(
            target, packing.manifest | {"graph": graph, "scores": scores}, expected
        )

    common = {"multiply_adds": _about(graphs)["multiply_adds"]}
    cards = {
        precision: _measured(
            candidate(folder / precision, precision, common), packing.sets, progress
        )
        for precision in PRECISIONS
    }
    loss = cards["int8"]["dev"].error_rate - cards["float"]["dev"].error_rate
    chosen = "int8" if loss <= INT8_LOSS else "float"
    scores = {
        precision: {name: score_of(card) for name, card in own.items()}
        for precision, own in cards.items()
    }
    candidate(folder / "bundle", chosen, common | scores)
    for name, card in cards[chosen].items():
        write_card(card, folder / f"{name}.json")
    last = "test" if "test" in packing.sets else "dev"
    write_html(cards[chosen][last], folder / REPORT, title=packing.title)
    for precision in PRECISIONS:
        shutil.rmtree(folder / precision)
    return cards[chosen]


def _keep_scores(job: Job, weights: Path, folder: Path, cards: dict[str, Scorecard]) -> None:
    """Add the scorecards to the record of the member's training."""
    rates = {f"packed_{name}": card.error_rate for name, card in cards.items()}
    pages = [*(folder / f"{name}.json" for name in cards), folder / REPORT]
    keep_scores(job.tracking, weights, rates, pages)


def card_of(packed: Path, name: str) -> Scorecard:
    """The scorecard of a packed member on dev or test."""
    return read_card(packed / f"{name}.json")


def metric_of(plan: Scenario) -> Metric:
    """What the scenario's errors count."""
    if plan.task is not Task.TRANSCRIBE:
        return "classification_error" if plan.task is Task.CLASSIFY else "eer"
    unspaced = {language in UNSPACED for language in plan.languages}
    if len(unspaced) == 2:
        return "mer"
    return "cer" if unspaced == {True} else "wer"


def _measured(
    bundle: bundles.Bundle, sets: Mapping[str, Corpus], progress: Progress
) -> dict[str, Scorecard]:
    engine = BundleEngine(bundle)
    return {name: evaluate(engine, corpus, progress=progress) for name, corpus in sets.items()}


def _about(graphs: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((graphs / MODEL).read_text())
    return found


def _manifest(job: Job, weights: Path, graphs: Path) -> dict[str, Any]:
    """All of a bundle's manifest but precision and scores."""
    licence = (job.prepared / bundles.LICENCE).read_text(encoding="utf-8").strip()
    return {
        "name": job.plan.name,
        "task": job.plan.task.value,
        "language": job.plan.language,
        "metric": metric_of(job.plan),
        "features": json.loads((weights / FEATURES).read_text()),
        "lineage": {
            "aimass": __version__,
            "torch": torch.__version__,
            "python": ".".join(map(str, sys.version_info[:2])),
            # Digests of content: the same data and settings give the same bundle anywhere.
            "prepared": json.loads((job.prepared / CONTENT).read_text()),
            "trained": of_file(weights / WEIGHTS),
            "model": json.loads((weights / MODEL).read_text()),
            "augment": inputs_of(job)[3],
            "training": inputs_of(job)[4],
        },
        "licences": {"data": licence, "weights": licence}
        | ({} if job.terms is None else {"start": job.terms}),
    } | manifest_of_graphs(graphs, TAIL)


def manifest_of_graphs(graphs: Path, tail: float) -> dict[str, Any]:
    """What a manifest says of the graphs of a model."""
    about = _about(graphs)
    graph = {key: about[key] for key in ("stack", "cache", "whole")} | {"tail": tail}
    return {"parameters": about["parameters"], "graph": graph}
