"""`aimass ensemble soup`: one model of the mean weights of several that share a start."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from aimass import __version__
from aimass.base.contract import Progress, Task, no_progress
from aimass.base.digests import of_file
from aimass.base.errors import RequestError
from aimass.base.files import write_json
from aimass.base.settings import Settings, settings
from aimass.data.corpus import Corpus
from aimass.data.sound import sound_of
from aimass.evaluation.scorecard import Scorecard
from aimass.features.stream import extract
from aimass.lifecycle.gather import DEV, Data, check_name, ensembles, models_of, published
from aimass.lifecycle.members import FEATURES, MODEL, TAIL, WEIGHTS, judged, padded
from aimass.lifecycle.pack import Packing, card_of, export_member, manifest_of_graphs, pack_graphs
from aimass.lifecycle.stages import fingerprint
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.registry.store import Published
from aimass.training.checkpoint import mean_of
from aimass.training.dev import DevSet
from aimass.training.soup import ingredients
from aimass.training.start import start_from

TAKEN = "ingredients.json"


@dataclass(frozen=True, slots=True)
class Soup:
    """A model that was published, whose weights are the mean of others.

    Args:
        taken: the models it is made of, in the order in which they joined.
        cards: its scorecards by split.
    """

    published: Published
    taken: tuple[str, ...]
    cards: dict[str, Scorecard]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.published.name,
            "version": self.published.version,
            "folder": str(self.published.folder),
            "digest": self.published.digest,
            "aliases": list(self.published.aliases),
            "ingredients": list(self.taken),
        } | {split: card.summary() for split, card in self.cards.items()}


def soup_models(
    name: str,
    references: Sequence[str],
    data: Data,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Soup:
    """Average the weights of models greedily on dev, and publish the mean.

    Raises:
        RequestError: models without weights of ours, or of other features or outputs.
        TrainingError: models of different shapes.
    """
    config = config or settings()
    check_name(name)
    bundled = _alike(models_of(references, config))
    first, sets = next(iter(bundled.values())), data.sets()
    with ensembles(config) as stages:
        digests = {own: bundle.digest for own, bundle in bundled.items()}
        about = [__version__, list(digests.items()), fingerprint(sets[DEV])]

        def cook(folder: Path) -> None:
            models = [_model(bundle) for bundle in bundled.values()]
            taken = ingredients(models, _dev(first, sets[DEV], progress))
            mean = mean_of([models[number].state_dict() for number in taken])
            shape = models[0].spec.to_dict()
            save_file(mean, folder / WEIGHTS, {"spec": json.dumps(shape)})
            write_json(folder / MODEL, shape)
            write_json(folder / FEATURES, first.features.to_dict())
            write_json(folder / TAKEN, [list(bundled)[number] for number in taken])

        cooked = stages.run("soup", about, cook)
        taken = json.loads((cooked / TAKEN).read_text())
        graphs = export_member(cooked, sets[DEV], stages)
        manifest = _manifest(name, first, cooked, graphs, {own: digests[own] for own in taken})
        licence = (first.folder / bundles.LICENCE).read_text(encoding="utf-8")

        def pack(folder: Path) -> None:
            packing = Packing(manifest, first.symbols(), licence, sets, name)
            pack_graphs(packing, graphs, folder, progress)

        every = [fingerprint(corpus) for corpus in sets.values()]
        packed = stages.run("pack", [manifest, graphs.name, every], pack)
        bundle = bundles.load(packed / "bundle")
        cards = {split: card_of(packed, split) for split in sets}
        return Soup(published(bundle, cards, sets, config), tuple(taken), cards)


def _alike(models: dict[str, Any]) -> dict[str, Bundle]:
    """Bundles that hear and answer alike."""
    found = {name: model for name, model in models.items() if isinstance(model, Bundle)}
    bare = [name for name, one in found.items() if not (one.folder / WEIGHTS).is_file()]
    if bare:
        raise RequestError(
            f"the bundle of '{bare[0]}', which holds no weights to average",
            expected="a model that a build of this version packed",
            fix="Build it again",
            param="models",
        )
    kinds = {(b.features.digest, b.symbols().symbols, b.manifest.task) for b in found.values()}
    if len(found) < len(models) or len(kinds) != 1:
        raise RequestError(
            f"{len(models)} models, {len(found)} of them our own, with {len(kinds)} different "
            "front ends or outputs",
            expected="models of our own that hear and answer alike",
            fix="Average members of one scenario that start from the same bundle",
            param="models",
        )
    return found


def _model(bundle: Bundle) -> SpeechModel:
    model = SpeechModel(ModelSpec.from_dict(bundle.manifest.lineage["model"]))
    start_from(model, bundle.folder)
    return model.eval()


def _dev(bundle: Bundle, corpus: Corpus, progress: Progress) -> DevSet:
    features, symbols, task = bundle.features, bundle.symbols(), bundle.manifest.task
    frames = []
    for number, clip in enumerate(corpus.clips, start=1):
        samples = sound_of(clip, features.sample_rate)
        frames.append(extract(padded(samples, features.sample_rate), features))
        progress("features", number, len(corpus.clips))
    if task is Task.EMBED:
        speakers = sorted({clip.speaker or "" for clip in corpus.clips})
        return DevSet(frames, [(speakers.index(clip.speaker or ""),) for clip in corpus.clips])
    language = bundle.manifest.languages[0]
    return DevSet(frames, [judged(clip, task, language, symbols) for clip in corpus.clips])


def _manifest(
    name: str, first: Bundle, cooked: Path, graphs: Path, taken: dict[str, str]
) -> dict[str, Any]:
    """That of the first model, but for what is new."""
    old = first.manifest.model_dump(mode="json", exclude={"format", "files", "scores", "massive"})
    own = {
        "aimass": __version__,
        "torch": torch.__version__,
        "trained": of_file(cooked / WEIGHTS),
        "soup": taken,
    }
    lineage = old["lineage"] | own
    return old | {"name": name, "lineage": lineage} | manifest_of_graphs(graphs, TAIL)
