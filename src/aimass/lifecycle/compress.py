"""`aimass compress`: what a build trained, made smaller or faster, measured and published.

::

    quantize   a member -> int8 graphs of each kind -> the best of them by measurement
    prune      a member -> its most important channels -> trained on -> packed
    bound      a model  -> how near it runs to what this machine can do

What comes out is the next version of the scenario's model under an alias of its own; the one in
production stays there until somebody moves that alias.
"""

import copy
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from aimass.base.contract import Progress, no_progress
from aimass.base.errors import RequestError, TrainingError
from aimass.base.settings import Settings, settings
from aimass.compression import aware as awareness
from aimass.compression import bound as bounds
from aimass.compression.choose import BATCHES, FLOAT, Candidate, Choice, choose
from aimass.compression.export import WINDOW, export
from aimass.compression.prune import magnitudes, pruned, taylor
from aimass.compression.quantise import METHODS, Method, Ranges, dynamic, static, stored
from aimass.data import corpus as corpora
from aimass.data.corpus import Corpus
from aimass.evaluation.gates import select
from aimass.evaluation.scorecard import Scorecard
from aimass.features.spec import Frames
from aimass.lifecycle.build import jobs_of
from aimass.lifecycle.combine import score_of
from aimass.lifecycle.distil import jobs_of_students, teacher_of
from aimass.lifecycle.members import (
    MODEL,
    WEIGHTS,
    Job,
    Ready,
    features_of,
    inputs_of,
    keep,
    ready,
)
from aimass.lifecycle.pack import PROOFS, card_of, export_member, frames_of, pack_member
from aimass.lifecycle.prepare import prepare, spoken
from aimass.lifecycle.scenario import Scenario, read
from aimass.lifecycle.stages import Stages
from aimass.models.model import SpeechModel, parameters
from aimass.models.spec import ModelSpec
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.registry.store import Published, Registry
from aimass.runtime.bundled import BundleEngine, golden
from aimass.runtime.evaluate import evaluate
from aimass.runtime.graph import StreamingGraph
from aimass.runtime.load import resolve
from aimass.training.loop import TrainSpec, train

QUANTIZED, PRUNED = "quantized", "pruned"  # aliases
CALIBRATION = 200  # clips of the training data
BATCHES_SEEN = 40  # by the gradients that say what a channel counts
GENTLE = 0.3  # of the learning rate: what a trained model bears that goes on
AGAIN = 4  # a pruned model trains this part of the epochs that the whole one did
ROUNDS = 3  # of timing, all graphs in turn, so that a busy moment strikes none alone


@dataclass(frozen=True, slots=True)
class Quantized:
    """What quantisation gave: every graph as measured, and the one that was published."""

    candidates: tuple[Candidate, ...]
    choice: Choice
    published: Published

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "candidates": [one.to_dict() for one in self.candidates],
            "chosen": asdict(self.choice),
            "model": f"{self.published.name}@{self.published.version}",
        }


@dataclass(frozen=True, slots=True)
class Pruned:
    """A model before and after: parameters, scorecards on dev, and what was published."""

    before: int
    after: int
    given: Scorecard
    found: Scorecard
    published: Published

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "parameters": [self.before, self.after],
            "dev": [self.given.error_rate, self.found.error_rate],
            "model": f"{self.published.name}@{self.published.version}",
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """A trained member of a build, or a student."""

    job: Job
    weights: Path
    packed: Path
    stages: Stages

    def model(self) -> SpeechModel:
        """With the weights it was trained to."""
        model = SpeechModel(ModelSpec.from_dict(json.loads((self.weights / MODEL).read_text())))
        model.load_state_dict(load_file(self.weights / WEIGHTS))
        return model.eval()

    def corpus(self, split: str) -> Corpus:
        """Of one split, as the stage before left it."""
        return corpora.read(self.job.prepared / f"{split}.jsonl.gz")

    def publish(self, bundle: Bundle, alias: str, config: Settings) -> Published:
        """The next version of the scenario's model."""
        return Registry(config.home, config.registry_url).publish(bundle, alias)


def quantize(
    scenario: str | Path | Scenario,
    *,
    member: str | None = None,
    epochs: int = 0,
    largest: int | None = None,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Quantized:
    """Quantise a trained member in every way, measure all on dev and here, and publish the best.

    Args:
        member: its name; the best on dev when None.
        epochs: of training that is aware of int8; 0 does without.
        largest: bytes of the graph at most; None asks for speed alone.

    Raises:
        RequestError: no such member, or one that was not built.
        TrainingError: no graph is small enough and good enough.
    """
    config = config or settings()
    found = _find(scenario, member, config, progress)
    with found.stages.lock(), tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        graphs = _quantized(found, epochs, folder, progress)
        cards = {
            name: _card(found, _candidate(found, name, path, folder / f"try-{name}"), progress)
            for name, path in graphs.items()
        }
        times = _timed(graphs)
        candidates = tuple(
            Candidate(name, cards[name].error_rate, path.stat().st_size, times[name])
            for name, path in graphs.items()
        )
        choice = choose(candidates, largest)
        told = {name: {"dev": score_of(card)} for name, card in cards.items()}
        bundle = _candidate(found, choice.name, graphs[choice.name], folder / "bundle", told)
        published = found.publish(bundle, QUANTIZED, config)
    return Quantized(candidates, choice, published)


def prune(
    scenario: str | Path | Scenario,
    wanted: int,
    *,
    member: str | None = None,
    epochs: int | None = None,
    by: str = "taylor",
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Pruned:
    """Prune a trained member, train what is left, and publish it.

    Args:
        wanted: parameters at most.
        epochs: of training afterwards; a quarter of the member's own when None.
        by: what channels are judged by, ``taylor`` or ``magnitude``.

    Raises:
        RequestError: no such member, or one that was not built.
        TrainingError: a number of parameters that no width gives.
    """
    config = config or settings()
    found = _find(scenario, member, config, progress)
    job = replace(found.job, tracking=None)
    own = [*inputs_of(job), {"pruned": wanted, "epochs": epochs, "by": by}]
    with found.stages.lock():
        target = found.stages.target("train", own)
        if not target.is_dir():
            scratch = found.stages.scratch("train", own)
            whole = ready(job, progress)
            small = pruned(found.model(), wanted, _scores(found.model(), whole, by))
            small = small.to(_device(whole))
            spec = _gently(whole.spec, epochs)
            left = replace(whole, shape=small.spec, spec=spec, model=small, trained=small)
            best = train(small, left.aim, left.data, left.dev, spec, scratch, progress=progress)
            keep(left, best.cpu(), scratch, target)
            shutil.rmtree(scratch, ignore_errors=True)
        packed = pack_member(
            job,
            target,
            export_member(target, found.corpus("dev"), found.stages),
            found.stages,
            progress,
        )
    bundle = bundles.load(packed / "bundle")
    return Pruned(
        parameters(found.model()),
        bundle.manifest.parameters,
        card_of(found.packed, "dev"),
        card_of(packed, "dev"),
        found.publish(bundle, PRUNED, config),
    )


def bound(
    model: str,
    *,
    batches: Sequence[int] = (1, 16, 32),
    frames: Sequence[int] = (WINDOW, 100),
    config: Settings | None = None,
) -> dict[str, Any]:
    """How near a model runs to the peak of this machine, and what its time goes to.

    Args:
        model: its name, or the path of an ONNX graph.
        batches: numbers of streams.
        frames: lengths of a chunk.

    Raises:
        RequestError: no graph at that path, or a massive model, which has none of its own.
    """
    path = Path(model)
    if path.suffix != ".onnx":
        path = bundles.load(resolve(model, config or settings()).folder).graph
    if not path.is_file():
        raise RequestError(
            f"'{model}', which holds no graph of its own",
            expected="an ONNX graph, or a model of one graph",
            fix="Correct the path, or name a member or a student instead of a massive model",
            param="model",
        )
    rows = [bounds.bound(path, batch, length) for batch in batches for length in frames]
    return {
        "peak": {"float": bounds.peak("float"), "int8": bounds.peak("int8")},
        "points": [row.to_dict() for row in rows],
        "loading": {level: bounds.loading(path, level) for level in bounds.LEVELS},
        "operators": {str(batch): bounds.profile(path, batch, frames[0]) for batch in batches},
    }


def _find(
    scenario: str | Path | Scenario, member: str | None, config: Settings, progress: Progress
) -> _Found:
    """A member that a build trained and packed, or a student of it."""
    plan = spoken(scenario if isinstance(scenario, Scenario) else read(Path(scenario)))
    stages = Stages(config.home / "builds" / plan.name)
    with stages.lock():
        prepared = prepare(plan, config, stages, progress)
        jobs = {job.name: job for job in jobs_of(plan, prepared, stages, config)}
        learning = [str(one.name) for one in plan.students()] if plan.distil else []
        known = [*jobs, *learning]
        if member in learning and member not in jobs:
            teacher = teacher_of(plan, config)
            learners = jobs_of_students(plan, teacher, prepared, stages, config, progress)
            jobs = {job.name: job for job in learners}
        trained = {name: stages.target("train", inputs_of(job)) for name, job in jobs.items()}
        there = {name: folder for name, folder in trained.items() if folder.is_dir()}
        if not there or (member is not None and member not in there):
            raise RequestError(
                f"{plan.name} has no trained member" + (f" '{member}'" if member else ""),
                expected=f"one of {', '.join(there or known)}, trained by a build of this scenario",
                fix="Name one of these, or type: aimass build SCENARIO",
                param="member",
            )
        dev = corpora.read(prepared / "dev.jsonl.gz")
        packed = {
            name: pack_member(
                jobs[name], folder, export_member(folder, dev, stages), stages, progress
            )
            for name, folder in there.items()
            if member in (None, name)
        }
    best = select({name: card_of(folder, "dev") for name, folder in packed.items()})
    return _Found(jobs[best], there[best], packed[best], stages)


def _quantized(found: _Found, epochs: int, folder: Path, progress: Progress) -> dict[str, Path]:
    """The graph of each way to quantise a member, by its name."""
    features = features_of(found.job)
    clips = frames_of(found.corpus("train"), CALIBRATION, features)
    given = folder / "float.onnx"
    export(found.model(), given, frames_of(found.corpus("dev"), PROOFS, features))
    made = {FLOAT: given, "stored": folder / "stored.onnx", "dynamic": folder / "dynamic.onnx"}
    stored(given, made["stored"])
    dynamic(given, made["dynamic"])
    for method in METHODS:
        made[f"static-{method}"] = _static(given, clips, method)
    if epochs:
        model, spans = _aware(found, clips, epochs, progress)
        export(model, folder / "learned.onnx")
        made["aware"] = _static(folder / "learned.onnx", clips, "percentile", spans)
    return made


def _static(
    given: Path, clips: Sequence[Frames], method: Method, spans: Ranges | None = None
) -> Path:
    target = given.with_name(f"{given.stem}-{method}.onnx")
    static(given, target, clips, method, spans)
    return target


def _aware(
    found: _Found, clips: Sequence[Frames], epochs: int, progress: Progress
) -> tuple[SpeechModel, Ranges]:
    """A member that went on training with int8 in its ears, and the spans that it learned."""
    job = replace(found.job, tracking=None)
    member = ready(job, progress)
    if member.trained is not member.model:
        raise TrainingError(
            "training that is aware of int8 behind a frozen front",
            expected="a member whose layers are all trained",
            fix="Leave --epochs out",
        )
    model = awareness.aware(found.model(), clips).to(_device(member))
    own = [*inputs_of(job), {"aware": epochs}]
    scratch = found.stages.scratch("train", own)
    spec = _gently(member.spec, epochs)
    best = train(model, member.aim, member.data, member.dev, spec, scratch, progress=progress)
    shutil.rmtree(scratch, ignore_errors=True)
    return awareness.plain(best.cpu()), awareness.spans(best)


def _gently(spec: TrainSpec, epochs: int | None) -> TrainSpec:
    """The training of a member that knows its task already."""
    return replace(
        spec,
        epochs=max(1, spec.epochs // AGAIN) if epochs is None else epochs,
        learning_rate=GENTLE * spec.learning_rate,
        matrix_rate=GENTLE * spec.matrix_rate,
        cycles=1,
    )


def _scores(model: SpeechModel, member: Ready, by: str) -> dict[str, Tensor]:
    """What each weight counts."""
    if by == "magnitude":
        return dict(magnitudes(model))
    return dict(taylor(model, islice(_losses(model, member), BATCHES_SEEN)))


def _losses(model: SpeechModel, member: Ready) -> Iterator[Tensor]:
    """The loss of each batch of the last pass, in which nothing is random but the sound."""
    last, aim = member.spec.epochs - 1, copy.deepcopy(member.aim).cpu()
    member.data.prepare(last)
    for utterances in member.data.plan(last):
        batch = member.data.batch(last, utterances)
        outputs, _ = model(torch.from_numpy(batch.features), model.start(len(batch.lengths)))
        yield aim(outputs, batch).mean()


def _device(member: Ready) -> torch.device:
    return next(member.trained.parameters()).device


def _candidate(
    found: _Found,
    name: str,
    graph: Path,
    target: Path,
    scores: Mapping[str, Any] = MappingProxyType({}),
) -> Bundle:
    """The member's bundle with another graph, written into a new folder."""
    packed = bundles.load(found.packed / "bundle")
    shutil.copytree(packed.folder, target)
    shutil.copy(graph, target / bundles.GRAPH)
    form = packed.form.model_copy(update={"precision": "float" if name == FLOAT else "int8"})
    runs = StreamingGraph(target / bundles.GRAPH, form, packed.features)
    expected = golden(runs, packed.golden().samples, packed.symbols())
    told = packed.manifest.model_dump(mode="json", exclude_none=True)
    told |= {
        "graph": form.model_dump(mode="json"),
        "lineage": told["lineage"] | {"quantised": name},
        "scores": {"multiply_adds": told["scores"].get("multiply_adds", 0)} | dict(scores),
    }
    for stale in ("points", "dial"):  # they were measured of the graph before
        told.pop(stale, None)
    return bundles.write(target, told, expected)


def _card(found: _Found, bundle: Bundle, progress: Progress) -> Scorecard:
    """What a bundle makes of dev."""
    return evaluate(BundleEngine(bundle), found.corpus("dev"), progress=progress)


def _timed(graphs: dict[str, Path]) -> dict[str, dict[int, float]]:
    """Seconds of a run by graph and batch."""
    found: dict[str, dict[int, float]] = {name: {} for name in graphs}
    for _ in range(ROUNDS):
        for name, path in graphs.items():
            for batch in BATCHES:
                taken = bounds.speed(path, batch, WINDOW)
                found[name][batch] = min(taken, found[name].get(batch, taken))
    return found
